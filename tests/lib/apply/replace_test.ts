// lib/apply/rejection.ts: which objects may be named, before anything is asked.
import assert from "node:assert/strict";
import { configMap, type Manifest, secret } from "../../../lib/core/object.ts";
import { chosenToReplace } from "../../../lib/apply/rejection.ts";

const claim: Manifest = {
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name: "data", namespace: "n" },
};
const volume: Manifest = {
  apiVersion: "longhorn.io/v1beta2",
  kind: "Volume",
  metadata: { name: "data", namespace: "n" },
};
const set: Manifest = {
  apiVersion: "apps/v1",
  kind: "StatefulSet",
  metadata: { name: "s", namespace: "n" },
};
const wanted = [configMap("a", "n", {}), secret("s", "n", {}), claim, volume, set];

Deno.test("REPLACE: several objects are named at once, as make plan names them", () => {
  const ids = chosenToReplace(" ConfigMap/n/a\n", wanted);
  assert.deepEqual([...ids], ["ConfigMap/n/a"]);
});

Deno.test("A36: REPLACE of what no step wants is refused (2) with the nearest name", () => {
  assert.throws(() => chosenToReplace("ConfigMap/n/b", wanted), {
    exitCode: 2,
    fix: "did you mean ConfigMap/n/a?",
  });
});

for (const { kind, metadata: { name } } of [claim, volume, set, secret("s", "n", {})]) {
  Deno.test(`A36: REPLACE of a ${kind} is refused (4): it is more than its manifest`, () => {
    assert.throws(() => chosenToReplace(`${kind}/n/${name}`, wanted), { exitCode: 4 });
  });
}

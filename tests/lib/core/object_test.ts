import assert from "node:assert/strict";
import { configMap, idOf, inWaves, secret, signed } from "../../../lib/core/object.ts";

Deno.test("idOf() leaves the namespace out for cluster-scoped objects", () => {
  assert.equal(
    idOf({ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "d", namespace: "n" } }),
    "Deployment/n/d",
  );
  assert.equal(
    idOf({ apiVersion: "v1", kind: "Namespace", metadata: { name: "n" } }),
    "Namespace/n",
  );
});

Deno.test("A9: secret() carries any text byte for byte", () => {
  for (const nasty of ["'\"$`\\\n#", " leading", "비밀", "x".repeat(1024)]) {
    const { data } = secret("s", "n", { key: nasty });
    assert.equal(new TextDecoder().decode(Uint8Array.fromBase64(data.key)), nasty);
  }
});

Deno.test("inWaves() puts definitions first and accounts before workloads before routes", () => {
  const kinds = [
    "Ingress",
    "Deployment",
    "Namespace",
    "ServiceAccount",
    "CustomResourceDefinition",
  ];
  const [first, rest] = inWaves(
    kinds.map((kind) => ({ apiVersion: "v1", kind, metadata: { name: "x" } })),
  );
  assert.deepEqual(first.map(({ kind }) => kind), ["Namespace", "CustomResourceDefinition"]);
  assert.equal(rest[0]!.kind, "ServiceAccount");
});

Deno.test("signed() names manager and step and keeps other labels", () => {
  const [object] = signed([configMap("c", "n", {}, { labels: { a: "b" } })], "30-thanos");
  assert.deepEqual(object!.metadata.labels, {
    a: "b",
    "app.kubernetes.io/managed-by": "thanos-multi-cluster",
    "deploy.miribit.lab/step": "30-thanos",
  });
});

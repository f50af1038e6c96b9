import assert from "node:assert/strict";
import { withChecksums } from "../../../lib/render/render.ts";
import { configMap, type Manifest, secret } from "../../../lib/core/object.ts";

function deployment(volumes: unknown[]): Manifest {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", namespace: "n" },
    spec: { template: { metadata: {}, spec: { volumes } } },
  };
}

function checksum(objects: Manifest[]): string | undefined {
  return withChecksums(objects)[0]!.spec.template.metadata.annotations
    ?.["deploy.miribit.lab/config-checksum"];
}

Deno.test("withChecksums() restarts pods for a changed ConfigMap or Secret they use, and only then", () => {
  const uses = deployment([{ configMap: { name: "c" } }, { secret: { secretName: "s" } }]);
  const first = checksum([uses, configMap("c", "n", { a: "1" }), secret("s", "n", { k: "1" })]);
  const config = checksum([uses, configMap("c", "n", { a: "2" }), secret("s", "n", { k: "1" })]);
  const secrets = checksum([uses, configMap("c", "n", { a: "1" }), secret("s", "n", { k: "2" })]);
  const others = checksum([
    uses,
    configMap("c", "n", { a: "1" }),
    secret("s", "n", { k: "1" }),
    configMap("z", "n", { a: "9" }),
  ]);
  assert.ok(first && config && secrets);
  assert.equal(new Set([first, config, secrets]).size, 3);
  assert.equal(first, others);
});

Deno.test("withChecksums() leaves out what programs re-read by themselves", () => {
  const live = configMap("c", "n", { a: "1" }, {
    annotations: { "deploy.miribit.lab/reload": "live" },
  });
  assert.equal(checksum([deployment([{ configMap: { name: "c" } }]), live]), undefined);
});

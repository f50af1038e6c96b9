import assert from "node:assert/strict";
import {
  configMap,
  idOf,
  inWaves,
  type Manifest,
  secret,
  signed,
  withChecksums,
} from "../../../lib/core/object.ts";

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

Deno.test("idOf() leaves the namespace out for cluster-scoped objects", () => {
  assert.equal(idOf(deployment([])), "Deployment/n/d");
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

Deno.test("signed() names manager and step and keeps other labels", () => {
  const [object] = signed([configMap("c", "n", {}, { labels: { a: "b" } })], "30-thanos");
  assert.deepEqual(object!.metadata.labels, {
    a: "b",
    "app.kubernetes.io/managed-by": "thanos-multi-cluster",
    "deploy.miribit.lab/step": "30-thanos",
  });
});

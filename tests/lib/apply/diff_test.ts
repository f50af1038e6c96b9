// lib/apply/diff.ts: what need not be sent.
import assert from "node:assert/strict";
import { HASH_LABEL, isUpToDate, withHash } from "../../../lib/apply/diff.ts";
import { hashOf } from "../../../lib/core/hash.ts";
import { configMap, type Manifest } from "../../../lib/core/object.ts";

const wanted = withHash({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "d", namespace: "n", labels: { app: "d" } },
  spec: {
    replicas: 0,
    paused: false,
    template: {
      spec: {
        volumes: [],
        containers: [{
          name: "c",
          args: ["--a"],
          resources: { requests: { cpu: 0.5, memory: "1024Mi" }, limits: {} },
        }],
      },
    },
  },
});

/** As the API server stores it: zero values left out, quantities rewritten, defaults added. */
function stored(change: (live: Manifest) => void = () => {}): Manifest {
  const live = structuredClone(wanted);
  delete live.spec.paused;
  delete live.spec.template.spec.volumes;
  live.spec.strategy = { type: "RollingUpdate" };
  live.metadata.annotations = { "deployment.kubernetes.io/revision": "3" };
  const [container] = live.spec.template.spec.containers;
  container.resources = { requests: { cpu: "500m", memory: "1Gi" } };
  container.imagePullPolicy = "IfNotPresent";
  live.status = { replicas: 0 };
  change(live);
  return live;
}

Deno.test("isUpToDate() knows an object again that the API server has completed and rewritten", () => {
  assert.equal(isUpToDate(stored(), wanted), true);
});

const DRIFTS: Record<string, (live: Manifest) => void> = {
  "another value": (live) => live.spec.template.spec.containers[0].args[0] = "--b",
  "a value that is gone": (live) => delete live.spec.template.spec.containers[0].args,
  "one more item of a list": (live) => live.spec.template.spec.containers[0].args.push("--b"),
  "a value instead of none": (live) => live.spec.replicas = 2,
  "another amount": (live) =>
    live.spec.template.spec.containers[0].resources.requests.memory = "1G",
  "a label that is gone": (live) => delete live.metadata.labels!.app,
  "a hash that is gone": (live) => delete live.metadata.labels![HASH_LABEL],
};

for (const [what, change] of Object.entries(DRIFTS)) {
  Deno.test(`isUpToDate() finds ${what}`, () => {
    assert.equal(isUpToDate(stored(change), wanted), false);
  });
}

Deno.test("isUpToDate() finds what is no longer wanted, though the object has all that is", () => {
  const before = withHash(configMap("a", "n", { x: "1", gone: "2" }));
  assert.equal(isUpToDate(before, withHash(configMap("a", "n", { x: "1" }))), false);
  assert.equal(isUpToDate(undefined, before), false);
});

Deno.test("isUpToDate() takes the hash of a definition for its content, which is not listed", () => {
  const definition = (version: string) =>
    withHash({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "x" },
      spec: { version },
    });
  const listed = (of: Manifest) => ({ ...of, spec: undefined });
  assert.equal(isUpToDate(listed(definition("v1")), definition("v1")), true);
  assert.equal(isUpToDate(listed(definition("v1")), definition("v2")), false);
});

Deno.test("hashOf() is the same for any order of keys, and fits a label", () => {
  assert.equal(hashOf({ a: [1, { b: 2, c: 3 }], d: 4 }), hashOf({ d: 4, a: [1, { c: 3, b: 2 }] }));
  assert.notEqual(hashOf([1, 2]), hashOf([2, 1]));
  assert.match(hashOf({}), /^[0-9a-f]{32}$/);
});

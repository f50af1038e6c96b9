// lib/apply/diff.ts and managers.ts: what is as wanted. tests/apiserver/drift_test.ts asks a real API server.
import assert from "node:assert/strict";
import { HASH_LABEL, judge, withHash } from "../../../lib/apply/diff.ts";
import { type Fields, withPeoplesFields } from "../../../lib/apply/managers.ts";
import { hashOf } from "../../../lib/core/hash.ts";
import { configMap, type Manifest, OWNED_LABELS } from "../../../lib/core/object.ts";
import { applied } from "../../support/applied.ts";

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

/** As the API server stores it: quantities rewritten, defaults added; the fields are ours. */
function stored(change: (live: Manifest, fields: Fields) => void = () => {}): Manifest {
  const live = structuredClone(applied(wanted));
  live.spec.strategy = { type: "RollingUpdate" };
  live.metadata.annotations = { "deployment.kubernetes.io/revision": "3" };
  const [container] = live.spec.template.spec.containers;
  container.resources.requests = { cpu: "500m", memory: "1Gi" };
  container.imagePullPolicy = "IfNotPresent";
  live.status = { replicas: 0 };
  change(live, live.metadata.managedFields[0].fieldsV1);
  return live;
}

/** Fields of the pod's spec, and of its container, in a tree of ours. */
const podOf = (fields: Fields) => fields["f:spec"]!["f:template"]!["f:spec"]!;
const containerOf = (fields: Fields) => podOf(fields)["f:containers"]!['k:{"name":"c"}']!;

Deno.test("judge() knows an object again that the API server has completed and rewritten", () => {
  assert.deepEqual(judge(stored(), wanted), { state: "current", astray: [], others: [] });
});

const at = { operation: "Update" as const, time: "2026-11-29T00:00:00Z" };
const UNSIGNED = ", and the API server keeps no name of who did";

type Drift = [change: (live: Manifest, fields: Fields) => void, astray: string | string[]];
const DRIFTS: Record<string, Drift> = {
  "a value that another has written": [
    (live, fields) => {
      delete containerOf(fields)["f:args"];
      const taken = { 'k:{"name":"c"}': { "f:args": {} } };
      const fieldsV1 = { "f:spec": { "f:template": { "f:spec": { "f:containers": taken } } } };
      live.metadata.managedFields.push({ manager: "x", ...at, fieldsV1 });
    },
    "spec.template.spec.containers[name=c].args: taken by another",
  ],
  "what is scaled to 0, which leaves no name": [
    (_, fields) => delete fields["f:spec"]!["f:replicas"],
    `spec.replicas: scaled to 0 (kubectl scale, an autoscaler)${UNSIGNED}`,
  ],
  "a zero value that is gone": [
    (live, fields) => {
      delete live.spec.paused;
      delete fields["f:spec"]!["f:paused"];
    },
    `spec.paused: removed${UNSIGNED}`,
  ],
  "another value, whoever wrote it": [
    (live) => live.spec.replicas = 2,
    "spec.replicas: another value",
  ],
  "another amount": [
    (live) => live.spec.template.spec.containers[0].resources.requests.memory = "1G",
    "spec.template.spec.containers[name=c].resources.requests.memory: another value",
  ],
  "an item that is gone": [
    (live, fields) => {
      delete live.spec.template.spec.containers;
      delete podOf(fields)["f:containers"];
    },
    `spec.template.spec.containers: removed${UNSIGNED}`,
  ],
  "a field that is ours and not wanted: a take-over that was cut short": [
    (_, fields) => podOf(fields)["f:hostPID"] = {},
    "spec.template.spec.hostPID: not wanted any more",
  ],
  "a label that is gone": [
    (live, fields) => {
      delete live.metadata.labels!.app;
      delete fields["f:metadata"]!["f:labels"]!["f:app"];
    },
    `metadata.labels.app: removed${UNSIGNED}`,
  ],
  "the last of ours in a map in which another has something": [
    (live, fields) => {
      delete fields["f:metadata"]!["f:labels"];
      delete live.metadata.labels!.app;
      const fieldsV1 = { "f:metadata": { "f:labels": { "f:deploy.miribit.lab/hash": {} } } };
      live.metadata.managedFields.push({ manager: "x", ...at, fieldsV1 });
    },
    [`metadata.labels.app: removed${UNSIGNED}`, `metadata.labels.${HASH_LABEL}: taken by another`],
  ],
};

for (const [what, [change, astray]] of Object.entries(DRIFTS)) {
  Deno.test(`E1: judge() finds ${what}`, () => {
    const delta = judge(stored(change), wanted);
    assert.deepEqual([delta.state, delta.astray], ["drifted", [astray].flat()]);
  });
}

Deno.test("E1: judge() takes no text for an amount where there is none", () => {
  const map = (version: string) => withHash(configMap("a", "n", { version }));
  const live = applied(map("1.10"));
  live.data.version = "1.1";
  assert.deepEqual(judge(live, map("1.10")).astray, ["data.version: another value"]);
});

Deno.test("judge() finds what is no longer wanted, and what is not there, or on its way out", () => {
  const before = withHash(configMap("a", "n", { x: "1", gone: "2" }));
  assert.equal(judge(applied(before), withHash(configMap("a", "n", { x: "1" }))).state, "stale");
  assert.equal(judge(undefined, before).state, "missing");
  const live = applied(before);
  live.metadata.deletionTimestamp = "2026-11-29T00:00:00Z";
  assert.equal(judge(live, before).state, "deleting");
});

Deno.test("E1: judge() does not believe a label: without an entry of ours somebody else has made it", () => {
  const { state, astray } = judge(wanted, wanted);
  assert.deepEqual([state, astray], ["drifted", ["made by somebody else"]]);
});

Deno.test("E1: judge() sees what was scaled to 0 also where another object is wanted by now", () => {
  const now = withHash({ ...wanted, spec: { ...wanted.spec, replicas: 2, minReadySeconds: 1 } });
  const live = stored((_, fields) => delete fields["f:spec"]!["f:replicas"]);
  const { state, astray } = judge(live, now);
  assert.equal(state, "stale");
  assert.match(astray.join(), /^spec\.replicas: scaled to 0 [^,]*, [^,]*, and [^,]*no name[^,]*$/);
  assert.deepEqual(judge(stored(), now).astray, []);
});

Deno.test("E1: judge() tells who has written beside us: people are drift, a controller is not", () => {
  const fieldsV1 = { "f:spec": { "f:paused": {}, "f:hold": { "f:x": {} } } };
  const of = (manager: string, more = {}) => {
    const live = applied(wanted, { manager, ...at, fieldsV1, ...more });
    const { state, others } = judge({ ...live, spec: { ...live.spec, hold: { x: 1 } } }, wanted);
    return [state, ...others.map(({ path, value, manager }) => `${path} ${value} ${manager}`)];
  };
  assert.deepEqual(of("kubectl-edit"), ["drifted", "spec.hold.x 1 kubectl-edit"]);
  assert.deepEqual(of("autoscaler"), ["current", "spec.hold.x 1 autoscaler"]);
  assert.deepEqual(of("kube-controller-manager"), ["current"]);
  assert.deepEqual(of("kubectl", { subresource: "scale" }), ["current"]);
});

Deno.test("judge() takes the hash of a definition for its content, which is not listed", () => {
  const definition = (version: string) =>
    withHash({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { labels: OWNED_LABELS, name: "x" },
      spec: { version },
    });
  const listed = (of: Manifest) => ({ ...of, spec: undefined });
  assert.equal(judge(listed(definition("v1")), definition("v1")).state, "current");
  assert.equal(judge(listed(definition("v1")), definition("v2")).state, "stale");
});

Deno.test("A35: withPeoplesFields() adds what people have written to ours, and leaves the rest alone", () => {
  const annotations = (name: string) => ({ "f:metadata": { "f:annotations": { [name]: {} } } });
  const restart = annotations("f:kubectl.kubernetes.io/restartedAt");
  const live = applied(
    configMap("a", "n", { x: "1" }),
    { manager: "kubectl-edit", ...at, fieldsV1: { "f:data": { "f:y": {} } } },
    {
      manager: "kubectl-rollout",
      ...at,
      fieldsV1: { "f:spec": { "f:template": restart }, "f:data": { "f:z": {} } },
    },
    { manager: "kube-controller-manager", ...at, fieldsV1: { "f:data": { "f:w": {} } } },
  );
  const [own, rollout, controller] = withPeoplesFields(live);
  assert.deepEqual(own!.fieldsV1!["f:data"], { "f:x": {}, "f:y": {}, "f:z": {} });
  assert.deepEqual(rollout!.fieldsV1, { "f:spec": { "f:template": restart } });
  assert.equal(controller!.manager, "kube-controller-manager");
});

Deno.test("hashOf() is the same for any order of keys, and fits a label", () => {
  assert.equal(hashOf({ a: [1, { b: 2, c: 3 }], d: 4 }), hashOf({ d: 4, a: [1, { c: 3, b: 2 }] }));
  assert.notEqual(hashOf([1, 2]), hashOf([2, 1]));
  assert.match(hashOf({}), /^[0-9a-f]{32}$/);
});

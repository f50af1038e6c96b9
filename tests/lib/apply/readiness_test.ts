import assert from "node:assert/strict";
import type { DeployError } from "../../../lib/core/error.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { notReady, unready, waitReady } from "../../../lib/apply/readiness.ts";
import { diagnosePod } from "../../../lib/apply/diagnose.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";
import { inventoryOf } from "../../support/inventory.ts";

function live(kind: string, spec: unknown, status: unknown, generation = 2): Manifest {
  return {
    apiVersion: "v1",
    kind,
    metadata: { name: "x", namespace: "n", generation },
    spec,
    status,
  };
}

function stateOf(object: Manifest): string {
  const trouble = notReady(object);
  if (!trouble) return "ready";
  return trouble.final ? "failed" : "waiting";
}

const cases: [title: string, object: Manifest, state: string][] = [
  [
    "a Deployment with every replica updated and available",
    live("Deployment", { replicas: 2 }, {
      observedGeneration: 2,
      replicas: 2,
      updatedReplicas: 2,
      availableReplicas: 2,
    }),
    "ready",
  ],
  [
    "a Deployment whose last change is not observed",
    live("Deployment", { replicas: 1 }, {
      observedGeneration: 1,
      replicas: 1,
      updatedReplicas: 1,
      availableReplicas: 1,
    }),
    "waiting",
  ],
  [
    "a Deployment with an old replica still there",
    live("Deployment", { replicas: 1 }, {
      observedGeneration: 2,
      replicas: 2,
      updatedReplicas: 1,
      availableReplicas: 1,
    }),
    "waiting",
  ],
  [
    "a Deployment past its progress deadline",
    live("Deployment", { replicas: 1 }, {
      observedGeneration: 2,
      conditions: [{
        type: "Progressing",
        status: "False",
        reason: "ProgressDeadlineExceeded",
        message: "timed out",
      }],
    }),
    "failed",
  ],
  ["a Deployment without a status", live("Deployment", { replicas: 1 }, undefined), "waiting"],
  [
    "a StatefulSet with all pods ready and one revision",
    live("StatefulSet", { replicas: 1 }, {
      observedGeneration: 2,
      readyReplicas: 1,
      currentRevision: "a",
      updateRevision: "a",
    }),
    "ready",
  ],
  [
    "a StatefulSet in the middle of a rollout",
    live("StatefulSet", { replicas: 2 }, {
      observedGeneration: 2,
      readyReplicas: 2,
      updatedReplicas: 1,
      currentRevision: "a",
      updateRevision: "b",
    }),
    "waiting",
  ],
  [
    "a StatefulSet held by a partition",
    live("StatefulSet", { replicas: 2, updateStrategy: { rollingUpdate: { partition: 1 } } }, {
      observedGeneration: 2,
      readyReplicas: 2,
      updatedReplicas: 1,
      currentRevision: "a",
      updateRevision: "b",
    }),
    "ready",
  ],
  [
    "a DaemonSet available on every node",
    live("DaemonSet", {}, {
      observedGeneration: 2,
      desiredNumberScheduled: 1,
      updatedNumberScheduled: 1,
      numberAvailable: 1,
    }),
    "ready",
  ],
  [
    "a DaemonSet that misses a node",
    live("DaemonSet", {}, {
      observedGeneration: 2,
      desiredNumberScheduled: 2,
      updatedNumberScheduled: 2,
      numberAvailable: 1,
    }),
    "waiting",
  ],
  [
    "a complete Job",
    live("Job", {}, { conditions: [{ type: "Complete", status: "True" }] }),
    "ready",
  ],
  [
    "a failed Job",
    live("Job", {}, {
      conditions: [{ type: "Failed", status: "True", message: "BackoffLimitExceeded" }],
    }),
    "failed",
  ],
  ["a Bound claim", live("PersistentVolumeClaim", {}, { phase: "Bound" }), "ready"],
  ["a Pending claim", live("PersistentVolumeClaim", {}, { phase: "Pending" }), "waiting"],
  [
    "a Prometheus that the operator calls Available",
    live("Prometheus", {}, {
      conditions: [{ type: "Reconciled", status: "True", observedGeneration: 2 }, {
        type: "Available",
        status: "True",
        observedGeneration: 2,
      }],
    }),
    "ready",
  ],
  [
    "a Prometheus whose change the operator refused",
    live("Prometheus", {}, {
      conditions: [{
        type: "Reconciled",
        status: "False",
        observedGeneration: 2,
        reason: "R",
        message: "m",
      }],
    }),
    "waiting",
  ],
  [
    "a Prometheus with an old verdict",
    live("Prometheus", {}, {
      conditions: [{ type: "Reconciled", status: "True", observedGeneration: 1 }, {
        type: "Available",
        status: "True",
        observedGeneration: 1,
      }],
    }),
    "waiting",
  ],
  [
    "a Prometheus that is held",
    live("Prometheus", { paused: true }, {
      conditions: [{ type: "Reconciled", status: "True", observedGeneration: 2 }, {
        type: "Available",
        status: "True",
        observedGeneration: 2,
      }],
    }),
    "waiting",
  ],
  ["a kind without a rule", live("ConfigMap", undefined, undefined), "ready"],
];

for (const [title, object, state] of cases) {
  Deno.test(`notReady() calls ${title} ${state}`, () => assert.equal(stateOf(object), state));
}

function pod(status: unknown): Manifest {
  return { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, status };
}

Deno.test("A51: diagnosePod() names container, exit code and restarts, and gives up after three", () => {
  const crashing = (restartCount: number) =>
    pod({
      containerStatuses: [{
        name: "c",
        restartCount,
        state: { waiting: { reason: "CrashLoopBackOff" } },
        lastState: { terminated: { exitCode: 137 } },
      }],
    });
  assert.deepEqual(diagnosePod(crashing(2)), {
    reason: "pod p, container c: CrashLoopBackOff last exit code 137, 2 restarts",
    final: false,
  });
  assert.equal(diagnosePod(crashing(3))?.final, true);
  // What the run has changed since may have mended it, once kubelet has told the pod.
  const at = (text: string) => Date.parse(`2026-11-30T${text}Z`);
  const old = crashing(3);
  old.status.startTime = "2026-11-30T12:00:00Z";
  old.status.containerStatuses[0].lastState.terminated.finishedAt = "2026-11-30T12:05:00Z";
  assert.equal(diagnosePod(old, at("12:02:59"))?.final, true);
  assert.equal(diagnosePod(old, at("12:03:01"))?.final, false);
  assert.equal(diagnosePod(old, at("12:00:01"))?.final, true, "it began with what was changed");
});

Deno.test("A50: unready() names the claim that has no volume, its class and what was last said", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const set: Manifest = {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "store", namespace: "monitoring", generation: 1 },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: "store" } },
      volumeClaimTemplates: [{ metadata: { name: "data" } }],
    },
    status: { observedGeneration: 1 },
  };
  const message = "pod has unbound immediate PersistentVolumeClaims";
  const waiting = pod({ conditions: [{ type: "PodScheduled", status: "False", message }] });
  const claim = {
    kind: "PersistentVolumeClaim",
    metadata: { name: "data-store-0", namespace: "monitoring", uid: "now" },
    spec: { storageClassName: "longhorn" },
    status: { phase: "Pending" },
  };
  const event = (lastTimestamp: string, message: string, uid = "now") => ({
    kind: "Event",
    metadata: { name: message },
    reason: "ProvisioningFailed",
    message,
    lastTimestamp,
    involvedObject: { kind: "PersistentVolumeClaim", name: "data-store-0", uid },
  });
  const items = [
    claim,
    event("2026-11-23T10:00:02Z", "insufficient storage"),
    event("2026-11-23T10:00:01Z", "waiting"),
    event("2026-11-23T10:00:03Z", "of an earlier claim of that name", "before"),
  ];
  await fakeKubectl([
    { on: "get statefulset", stdout: JSON.stringify({ items: [set] }) },
    { on: "get pods", stdout: JSON.stringify({ items: [waiting] }) },
    { on: "get persistentvolumeclaims,events", stdout: JSON.stringify({ items }) },
  ]);
  assert.deepEqual(await unready(cluster, [set]), [
    "StatefulSet/monitoring/store: claim data-store-0 (longhorn) has no volume: " +
    "ProvisioningFailed: insufficient storage",
  ]);
});

Deno.test("A49: diagnosePod() shows an image that cannot be pulled, and gives up on one that is not there", () => {
  const pulling = (reason: string, message: string, age = 70) =>
    diagnosePod(
      pod({
        startTime: new Date(Date.now() - age * 1000).toISOString(),
        containerStatuses: [{
          name: "c",
          restartCount: 0,
          state: { waiting: { reason, message } },
        }],
      }),
    )!;
  const why = 'failed to pull and unpack image "quay.io/a:1": failed to resolve image: ';
  assert.deepEqual(pulling("ErrImagePull", `${why}quay.io/a:1: not found`), {
    reason: `pod p, container c: ErrImagePull ${why}quay.io/a:1: not found`,
    final: true,
  });
  assert.ok(pulling("ErrImagePull", "reading manifest 1 in quay.io/a: manifest unknown").final);
  assert.equal(pulling("ErrImagePull", `${why}quay.io/a:1: not found`, 10).final, false);
  const old = `Back-off pulling image "quay.io/a:1": ErrImagePull: ${why}quay.io/a:1: not found`;
  assert.equal(pulling("ImagePullBackOff", old).final, false);
  for (const words of ["dial tcp: lookup quay.io: no such host", "unexpected status: 503"]) {
    assert.equal(pulling("ErrImagePull", why + words).final, false);
  }
  // The image is there, a part of it is not, or not yet.
  for (
    const words of [
      "failed to copy: httpReadSeeker: failed open: content at https://quay.io/v2/a/blobs/1 not found: not found",
      "failed to extract layer: failed to get reader from content store: content digest sha256:1: not found",
    ]
  ) {
    const message = `failed to pull and unpack image "quay.io/a:1": ${words}`;
    assert.equal(pulling("ErrImagePull", message).final, false);
  }
});

Deno.test("diagnosePod() shows why a pod is not scheduled, and nothing for one that just starts", () => {
  assert.match(
    diagnosePod(
      pod({ conditions: [{ type: "PodScheduled", status: "False", message: "0/1 nodes" }] }),
    )!.reason,
    /not scheduled: 0\/1 nodes/,
  );
  assert.equal(
    diagnosePod(
      pod({
        containerStatuses: [{ name: "c", state: { waiting: { reason: "ContainerCreating" } } }],
      }),
    ),
    undefined,
  );
});

Deno.test("A57: waitReady() waits for objects that do not exist yet, then exit 7 with their names", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  await fakeKubectl([{ on: " get ", stdout: '{"items":[]}' }]);
  const wanted = [live("Deployment", {}, {})];
  const error = await waitReady(inventoryOf(cluster, wanted), wanted, { seconds: 0 })
    .catch((error) => error);
  assert.equal(error.exitCode, 7);
  assert.deepEqual(error.where, ["Deployment/n/x: does not exist"]);
});

Deno.test("A48: notReady() repeats what keeps a Deployment from making pods", () => {
  const message = 'pods "d-1" is forbidden: exceeded quota: q, used: cpu=1, limited: cpu=1';
  const conditions = [{ type: "ReplicaFailure", status: "True", reason: "FailedCreate", message }];
  const object = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", namespace: "n", generation: 1 },
    spec: { replicas: 1 },
    status: { observedGeneration: 1, conditions },
  };
  assert.deepEqual(notReady(object), { reason: `FailedCreate: ${message}` });
});

Deno.test("E6: notReady() tells nothing of the revision before, whatever its conditions say", () => {
  const condition = (type: string, status: string, reason: string) =>
    live("Deployment", { replicas: 1 }, {
      observedGeneration: 1,
      conditions: [{ type, status, reason, message: "of the revision before" }],
    });
  for (
    const object of [
      condition("ReplicaFailure", "True", "FailedCreate"),
      condition("Progressing", "False", "ProgressDeadlineExceeded"),
    ]
  ) {
    const reason = "the controller has not seen the last change yet";
    assert.deepEqual(notReady(object), { reason });
  }
});

Deno.test("A48: unready() says why a StatefulSet has no pods", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const set = {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "store", namespace: "n", generation: 1, uid: "now" },
    spec: { replicas: 1, selector: { matchLabels: { app: "store" } } },
    status: { observedGeneration: 1 },
  };
  const event = (uid: string, message: string) => (
    { reason: "FailedCreate", message, involvedObject: { kind: "StatefulSet", name: "store", uid } }
  );
  const events = [event("now", "exceeded quota: q"), event("before", "of an earlier one")];
  await fakeKubectl([
    { on: "get statefulset", stdout: JSON.stringify({ items: [set] }) },
    { on: "get pods", stdout: JSON.stringify({ items: [] }) },
    { on: "get events", stdout: JSON.stringify({ items: events }) },
  ]);
  assert.deepEqual(await unready(cluster, [set]), [
    "StatefulSet/n/store: FailedCreate: exceeded quota: q",
  ]);
});

/** A Deployment in the middle of a roll-out, and its two ReplicaSets. */
const ROLLING = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "query", namespace: "n", generation: 2 },
  spec: { replicas: 1, selector: { matchLabels: { app: "query" } } },
  status: { observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 0 },
};
const SETS = ["1", "2"].map((revision) => ({
  kind: "ReplicaSet",
  metadata: {
    name: `query-${revision}`,
    labels: { "pod-template-hash": `hash-${revision}` },
    annotations: { "deployment.kubernetes.io/revision": revision },
  },
}));

/** What the controller of pods says when it may not make one. */
function refusedTo(uid: string, message: string, lastTimestamp?: string) {
  return { kind: "Event", reason: "FailedCreate", message, lastTimestamp, involvedObject: { uid } };
}

Deno.test("E6: unready() tells of a Deployment what its present ReplicaSet may not make, and of no other", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const sets = SETS.map((set, at) => ({
    ...set,
    metadata: { ...set.metadata, uid: `set-${at + 1}` },
  }));
  const ask = async (...events: unknown[]) => {
    await fakeKubectl([
      { on: "get deployment", stdout: JSON.stringify({ items: [ROLLING] }) },
      { on: "get pods,replicasets", stdout: JSON.stringify({ items: sets }) },
      { on: "get events", stdout: JSON.stringify({ items: events }) },
    ]);
    return (await unready(cluster, [ROLLING])).join();
  };
  const old = refusedTo("set-1", "quota of old", "2026-11-29T12:00:09Z");
  const now = refusedTo("set-2", "quota of now", "2026-11-29T12:00:05Z");
  assert.equal(await ask(old, now), "Deployment/n/query: FailedCreate: quota of now");
  assert.equal(await ask(old), "Deployment/n/query: 0 of 1 available");
});

Deno.test("E6: unready() tells nothing that was said before a StatefulSet was changed", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const managed = (time: string, subresource?: string) => ({ manager: "m", time, subresource });
  const set = {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: {
      ...{ name: "store", namespace: "n", generation: 2, uid: "now" },
      managedFields: [
        managed("2026-11-29T12:00:00Z"),
        managed("2026-11-29T13:00:00Z", "status"),
      ],
    },
    spec: { replicas: 1, selector: { matchLabels: { app: "store" } } },
    status: { observedGeneration: 2, updateRevision: "store-2" },
  };
  const ask = async (at: string) => {
    await fakeKubectl([
      { on: "get statefulset", stdout: JSON.stringify({ items: [set] }) },
      { on: "get pods", stdout: JSON.stringify({ items: [] }) },
      { on: "get events", stdout: JSON.stringify({ items: [refusedTo("now", "quota", at)] }) },
    ]);
    return (await unready(cluster, [set])).join();
  };
  assert.equal(await ask("2026-11-29T12:00:00Z"), "StatefulSet/n/store: FailedCreate: quota");
  assert.equal(await ask("2026-11-29T11:59:59Z"), "StatefulSet/n/store: 0 of 1 ready");
});

/** A pod of that revision that crashes. */
function crashing(revision: string, restartCount: number, message?: string) {
  return {
    kind: "Pod",
    metadata: { name: `query-${revision}-x`, labels: { "pod-template-hash": `hash-${revision}` } },
    status: {
      containerStatuses: [{
        name: "query",
        restartCount,
        state: { waiting: { reason: "CrashLoopBackOff" } },
        lastState: { terminated: { exitCode: 1, message } },
      }],
    },
  };
}

Deno.test("E6: unready() gives nothing up for pods of an older revision, or that are being deleted", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const starting = {
    ...crashing("2", 0),
    status: {
      containerStatuses: [{ name: "query", state: { waiting: { reason: "PodInitializing" } } }],
    },
  };
  const gone = crashing("2", 57);
  Object.assign(gone.metadata, { deletionTimestamp: "2026-11-29T00:00:00Z" });
  await fakeKubectl([
    { on: "get deployment", stdout: JSON.stringify({ items: [ROLLING] }) },
    {
      on: "get pods,replicasets",
      stdout: JSON.stringify({ items: [crashing("1", 57), gone, starting, ...SETS] }),
    },
  ]);
  assert.deepEqual(await unready(cluster, [ROLLING]), [
    "Deployment/n/query: pod query-1-x, container query: CrashLoopBackOff last exit code 1, 57 restarts",
  ]);
  await fakeKubectl([
    { on: "get deployment", stdout: JSON.stringify({ items: [ROLLING] }) },
    { on: "get pods,replicasets", stdout: JSON.stringify({ items: [crashing("2", 3), ...SETS] }) },
  ]);
  await assert.rejects(unready(cluster, [ROLLING]), { exitCode: 7 });
  // They may be those that the change mends: its controller has not made others yet.
  const unseen = { ...ROLLING, status: { ...ROLLING.status, observedGeneration: 1 } };
  await fakeKubectl([
    { on: "get deployment", stdout: JSON.stringify({ items: [unseen] }) },
    { on: "get pods,replicasets", stdout: JSON.stringify({ items: [crashing("2", 3), ...SETS] }) },
  ]);
  assert.deepEqual(await unready(cluster, [unseen]), [
    "Deployment/n/query: the controller has not seen the last change yet",
  ]);
});

Deno.test("E6: notReady() does not go by what was said of the generation before", () => {
  const late = { type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" };
  const status = { ...ROLLING.status, observedGeneration: 1, conditions: [late] };
  assert.equal(stateOf({ ...ROLLING, status }), "waiting");
  assert.equal(
    stateOf({ ...ROLLING, status: { ...status, observedGeneration: 2 } }),
    "failed",
  );
});

Deno.test("E24: unready() reads in the log what the status has no room for, and quotes no stack", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  // As a Store with a wrong key ends; kubelet keeps the last 2048 bytes.
  const stack = "\\ngithub.com/thanos-io/thanos/pkg/block.fetch\\n\\tfetcher.go:593".repeat(40) +
    '"';
  const error = 'level=error err="The request signature does not match. Check your key.';
  await fakeKubectl([
    { on: "get deployment", stdout: JSON.stringify({ items: [ROLLING] }) },
    {
      on: "get pods,replicasets",
      stdout: JSON.stringify({ items: [crashing("2", 3, stack.slice(-2048)), ...SETS] }),
    },
    {
      on: "logs query-2-x --container=query --namespace n --previous --tail=1",
      stdout: `${error}${stack}\n`,
    },
  ]);
  const where =
    `pod query-2-x, container query: CrashLoopBackOff last exit code 1, 3 restarts: ${error}`;
  await assert.rejects(unready(cluster, [ROLLING]), (failure: DeployError) => {
    assert.deepEqual(failure.where, [`Deployment/n/query: ${where}`]);
    return true;
  });
});

Deno.test("E24: diagnosePod() quotes the last words of a program that has ended, and what killed it", () => {
  const words = "starting\nerror: flag --objstore.config: yaml: line 3: mapping values\n";
  assert.equal(
    diagnosePod(crashing("2", 1, words) as unknown as Manifest)!.reason,
    "pod query-2-x, container query: CrashLoopBackOff last exit code 1, 1 restarts: " +
      "error: flag --objstore.config: yaml: line 3: mapping values",
  );
  const killed = crashing("2", 1);
  Object.assign(killed.status.containerStatuses[0]!.lastState.terminated, { reason: "OOMKilled" });
  assert.match(diagnosePod(killed as unknown as Manifest)!.reason, /1 restarts: OOMKilled$/);
});

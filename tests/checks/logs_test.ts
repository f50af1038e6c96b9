// The verdicts of 50-verify on log lines, over answers in the shape that OpenSearch gives them.
import assert from "node:assert/strict";
import { type Finding, findingsOf } from "../../lib/core/check.ts";
import { archive, headroom, lifecycle } from "../../scripts/checks/opensearch.ts";
import { marker, missingProblem, type StoredLine } from "../../scripts/checks/logs.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { answering, found, subjectWith } from "../support/subject.ts";
import { fakeKubectl, listOf } from "../support/fake_kubectl.ts";

const GIB = 2 ** 30;
const EDGE = await fixtureCluster("197"); // 14 days

function whats(problems: Finding[]): string[] {
  for (const { what, cause, fix } of problems) assert.ok(what && cause && fix);
  return problems.map(({ what }) => what);
}

function daysAgo(days: number): number {
  return Date.now() - days * 86_400_000;
}

/** An index made so many days ago. */
function index(days: number, bytes = 0) {
  const day = new Date(daysAgo(days)).toISOString().slice(0, 10).replaceAll("-", ".");
  return {
    index: `logs-k8s-${day}`,
    "creation.date": String(daysAgo(days)),
    "store.size": String(bytes),
  };
}

function snapshot(days: number, state = "SUCCESS") {
  return { snapshot: `of-${days}`, state, start_time_in_millis: daysAgo(days) };
}

function disk(total_in_bytes: number, available_in_bytes: number) {
  return { name: "opensearch-0", fs: { total: { total_in_bytes, available_in_bytes } } };
}

const POD = "opensearch-exporter-dc8ffbb8c-p88r2";

const LINE: StoredLine = {
  "@timestamp": "2026-11-23T12:00:01.123456789Z",
  cluster: "cluster-197-edge",
  kubernetes: { namespace_name: "logging", pod_name: POD, container_name: "keeper" },
};

/** What marker() finds where the line is stored so, what OpenSearch was asked, and kubectl. */
async function markerOf(line: Partial<StoredLine> = {}) {
  const calls = await fakeKubectl([{ on: " exec deploy/opensearch-exporter", stdout: `${POD}\n` }]);
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const asked: string[] = [];
  const _source = { ...LINE, "@timestamp": new Date().toISOString(), ...line };
  const proxy = answering({ "/logs-k8s-*/_search": { hits: { hits: [{ _source }] } } }, asked);
  const findings = findingsOf(await marker(subjectWith(cluster, { proxy })));
  return { findings, asked, calls: await calls() };
}

Deno.test("marker() has the keeper write one new word, finds it and tells the delay", async () => {
  const { findings, asked, calls } = await markerOf();
  assert.deepEqual(findings.map(({ state }) => state), ["ok"]);
  assert.match(findings[0]!.what, /^a line was found \d+ s after it was written$/);
  const { args } = calls[0]!;
  const [, word] = /echo "verify-marker ([0-9a-f]{32})" >\/proc\/1\/fd\/1/.exec(args) ?? [];
  assert.ok(word, args);
  assert.deepEqual(asked, [`/logs-k8s-*/_search?q=log%3A${word}`]);
});

Deno.test("marker() names a wrong origin field by field, and a wrong time", async () => {
  const problems = async (line: Partial<StoredLine>) =>
    (await markerOf(line)).findings.filter(({ state }) => state !== "ok");
  assert.deepEqual(await problems({}), []);
  const bare = await problems({ kubernetes: undefined });
  assert.deepEqual(whats(bare), [
    "a line of a pod is stored under another origin: namespace_name (none), wanted logging; " +
    `pod_name (none), wanted ${POD}; container_name (none), wanted keeper`,
  ]);
  assert.match(bare[0]!.cause!, /API server/);
  const foreign = await problems({ cluster: "cluster-196-central" });
  assert.deepEqual(whats(foreign), [
    "a line of a pod is stored under another origin: " +
    "cluster cluster-196-central, wanted cluster-197-edge",
  ]);
  assert.match(foreign[0]!.cause!, /CLUSTER_NAME/);
  const later = new Date(Date.now() + 9 * 3_600_000).toISOString();
  const [off, ...rest] = whats(await problems({ "@timestamp": later }));
  assert.match(off!, /^a line written now is stored with a time 32(400|39\d) s off$/);
  assert.deepEqual(rest, []);
});

Deno.test("missingProblem() tells a Fluent Bit that is not ready from one that waits or does not read", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const collector = (numberAvailable: number) => ({
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "fluent-bit", namespace: "node-agents", generation: 1 },
    status: {
      observedGeneration: 1,
      desiredNumberScheduled: 1,
      updatedNumberScheduled: 1,
      numberAvailable,
    },
  });
  const cases: [available: number, retries: number, cause: RegExp][] = [
    [0, 3, /not ready: DaemonSet.* 0 of 1 available/],
    [1, 2.1, /lines wait on the node.* 3 times/],
    [1, 0, /does not read this pod's file/],
  ];
  for (const [available, retries, cause] of cases) {
    const live = collector(available);
    await fakeKubectl([
      { on: "get daemonset", stdout: listOf(live) },
      { on: "get (pods|events)", stdout: listOf() },
    ]);
    const result = [{ metric: {}, value: [1, `${retries}`] }];
    const proxy = answering({ "/api/v1/query": { data: { result } } });
    const problems = findingsOf(
      await missingProblem(subjectWith(cluster, { objects: [live], proxy })),
    );
    assert.deepEqual(whats(problems), ["a line written by a pod was not found within 90 s"]);
    assert.match(problems[0]!.cause!, cause);
  }
});

/** As ISM 3.8 explains an index that it looks at and that is too young for its next state. */
const HOT = {
  "index.plugins.index_state_management.policy_id": "logs-retention",
  action: { name: "transition", failed: false },
  step: { name: "attempt_transition_step", step_status: "condition_not_met" },
  retry_info: { failed: false, consumed_retries: 0 },
  info: { message: "Evaluating transition conditions [index=logs-k8s-2026.11.23]" },
  enabled: true,
};

/** What the check Log lifecycle finds where ISM explains the indices so. */
function lifecycleOf(explain: Record<string, unknown>): Promise<Finding[]> {
  return found(lifecycle, EDGE, {
    "/_plugins/_ism/policies/logs-retention": {},
    "/_cat/indices/logs-k8s-*,logs-host-*,logs-events-*": Object.keys(explain)
      .map((index) => ({ index, "creation.date": "0" })),
    ...Object.keys(explain).length > 0 ? { "/_plugins/_ism/explain": explain } : {},
    "/_plugins/_sm/policies/*/_explain": { policies: [{ name: "logs-snapshots", deletion: {} }] },
  });
}

Deno.test("lifecycle() says where an index is stuck, and when that needs a person", async () => {
  const stuck = {
    ...HOT,
    action: { name: "snapshot", failed: true },
    step: { name: "wait_for_snapshot" },
    info: { message: "Snapshot failed", cause: "IOException[refused]" },
    enabled: false,
  };
  const explain = { "logs-k8s-2026.11.23": HOT, "logs-k8s-2026.11.08": stuck };
  const problems = await lifecycleOf({ ...explain, total_managed_indices: 2 });
  assert.deepEqual(whats(problems), [
    "index logs-k8s-2026.11.08 is stuck at snapshot (wait_for_snapshot): " +
    "Snapshot failed: IOException[refused]",
  ]);
  assert.match(problems[0]!.fix!, /keeper .* five minutes\. .* half an hour, it needs a person/);
});

Deno.test("lifecycle() names indices that ISM or our policy has let go", async () => {
  const id = "index.plugins.index_state_management.policy_id";
  const explain = {
    "logs-a": { [id]: null, enabled: null },
    "logs-b": { ...HOT, [id]: "by-hand" },
    "logs-c": { ...HOT, enabled: false, info: { message: "Fail to load policy: logs-retention" } },
  };
  const problems = await lifecycleOf(explain);
  assert.deepEqual(whats(problems), [
    "index logs-a is under no policy and is never deleted",
    "index logs-b is under the policy by-hand, wanted logs-retention",
    "index logs-c is left alone by ISM and is never deleted: Fail to load policy: logs-retention",
  ]);
  assert.match(problems[2]!.fix!, /_ism\/remove\/logs-c; make 40-logging CLUSTER=197/);
});

Deno.test("lifecycle() does not ask ISM to explain while there is no log index: it answers 400", async () => {
  assert.deepEqual(await lifecycleOf({}), []);
});

/** What the check Room for logs finds. */
function headroomOf(indices: unknown[], ...disks: unknown[]): Promise<Finding[]> {
  return found(headroom, EDGE, { "/_nodes/stats/fs": { nodes: disks }, "/_cat/indices": indices });
}

Deno.test("headroom() names the volumes that are more than 85 % full", async () => {
  assert.deepEqual(await headroomOf([], disk(30 * GIB, 5 * GIB)), []);
  const problems = await headroomOf([], disk(30 * GIB, 5 * GIB), disk(30 * GIB, 3 * GIB));
  assert.deepEqual(whats(problems), ["the volume of opensearch-0 is 90 % full"]);
});

Deno.test("V4: headroom(): the last whole days tell what all will take; today, the first and old ones do not", async () => {
  const of = (...indices: unknown[]) => headroomOf(indices, disk(30 * GIB, 20 * GIB));
  assert.deepEqual(await of(index(0, GIB)), []);
  const fits = await of(index(0, 9 * GIB), index(1, GIB), index(2, 2 * GIB), index(3, 9 * GIB));
  const what = "1.5 GiB a day, so 24.0 GiB of 30.0 GiB for LOG_RETENTION=14d";
  assert.deepEqual(fits, [{ state: "ok", what }]);
  assert.deepEqual(await of(index(1, 3 * GIB)), []);
  const grown = [9, 8, 7, 6, 5, 4].map((days) => index(days, GIB / 100));
  const full = await of(...grown, ...[3, 2, 1].map((days) => index(days, 3 * GIB)));
  assert.equal(full.length, 1);
  assert.match(full[0]!.fix!, /^LOG_RETENTION=7d /);
});

/** What is wrong with log lines on S3, under policies that nobody has changed for long. */
async function archiveOf(snapshots: unknown[], indices: unknown[]): Promise<string[]> {
  const changed = { last_updated_time: 0 };
  const findings = await found(archive, EDGE, {
    "/_snapshot/opensearch-logs/logs-*": { snapshots },
    "/_cat/indices": indices,
    "/_plugins/_ism": { policy: changed },
    "/_plugins/_sm": { sm_policy: changed },
  });
  return whats(findings.filter(({ state }) => state !== "ok"));
}

Deno.test("archive(): a young cluster and a healthy one have no problem", async () => {
  assert.deepEqual(await archiveOf([], [index(0), index(14)]), []);
  const snapshots = [snapshot(181), snapshot(0, "IN_PROGRESS"), snapshot(1)];
  assert.deepEqual(await archiveOf(snapshots, [index(3)]), []);
});

Deno.test("archive() names what should be on S3, what failed, and what should be gone", async () => {
  const snapshots = [snapshot(190), snapshot(1, "PARTIAL"), snapshot(2)];
  assert.deepEqual(await archiveOf(snapshots, [index(16), index(2)]), [
    `${index(16).index} should be on S3 and gone`,
    "the newest snapshot, of-1, is PARTIAL",
    "1 snapshot(s) five days older than LOG_SNAPSHOT_RETENTION",
  ]);
});

// The verdicts of 50-verify on log lines, over answers in the shape that OpenSearch gives them.
import assert from "node:assert/strict";
import type { ClusterProxy, Finding } from "../../lib/core/check.ts";
import {
  archiveProblems,
  diskProblems,
  type Index,
  type ListedSnapshot,
  type NodeDisk,
  outlookOf,
} from "../../scripts/checks/archive.ts";
import {
  marker,
  markerProblems,
  missingProblems,
  type StoredLine,
} from "../../scripts/checks/logs.ts";
import { lifecycle, lifecycleProblems } from "../../scripts/checks/opensearch.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { subjectWith } from "../support/subject.ts";
import { fakeKubectl } from "../support/fake_kubectl.ts";

const NOW = Date.parse("2026-11-23T12:00:00Z");
const GIB = 2 ** 30;

function whats(problems: Finding[]): string[] {
  for (const { what, cause, fix } of problems) assert.ok(what && cause && fix);
  return problems.map(({ what }) => what);
}

function daysAgo(days: number): number {
  return NOW - days * 86_400_000;
}

/** An index made so many days ago. */
function index(days: number, bytes = 0): Index {
  const day = new Date(daysAgo(days)).toISOString().slice(0, 10).replaceAll("-", ".");
  return {
    index: `logs-k8s-${day}`,
    "creation.date": String(daysAgo(days)),
    "store.size": String(bytes),
  };
}

function snapshot(days: number, state = "SUCCESS"): ListedSnapshot {
  return { snapshot: `of-${days}`, state, start_time_in_millis: daysAgo(days) };
}

function disk(total: number, available: number): NodeDisk {
  return {
    name: "opensearch-0",
    fs: { total: { total_in_bytes: total, available_in_bytes: available } },
  };
}

const POD = "opensearch-exporter-dc8ffbb8c-p88r2";

const LINE: StoredLine = {
  "@timestamp": "2026-11-23T12:00:01.123456789Z",
  cluster: "cluster-197-edge",
  kubernetes: { namespace_name: "logging", pod_name: POD, container_name: "keeper" },
};

/** OpenSearch with these answers by the beginning of a path; what it was asked is in `asked`. */
function openSearch(answers: Record<string, unknown>, asked: string[] = []): ClusterProxy {
  return {
    fetch(_, path) {
      asked.push(path);
      const found = Object.keys(answers).find((start) => path.startsWith(start));
      return Promise.resolve(
        found ? Response.json(answers[found]) : new Response("", { status: 400 }),
      );
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

Deno.test("marker() has the keeper write one new word, finds it and tells the delay", async () => {
  const calls = await fakeKubectl([{ on: " exec deploy/opensearch-exporter", stdout: `${POD}\n` }]);
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const line = { ...LINE, "@timestamp": new Date().toISOString() };
  const asked: string[] = [];
  const proxy = openSearch(
    { "/logs-k8s-*/_search": { hits: { hits: [{ _source: line }] } } },
    asked,
  );
  const findings = await marker(subjectWith(cluster, { proxy }));
  assert.deepEqual(findings.map(({ state }) => state), ["ok"]);
  assert.match(findings[0]!.what, /^a line was found \d+ s after it was written$/);
  const { args } = (await calls())[0]!;
  const [, word] = /echo "verify-marker ([0-9a-f]{32})" >\/proc\/1\/fd\/1/.exec(args) ?? [];
  assert.ok(word, args);
  assert.deepEqual(asked, [`/logs-k8s-*/_search?q=log%3A${word}`]);
});

Deno.test("markerProblems() names a wrong origin field by field, and a wrong time", async () => {
  const cluster = await fixtureCluster("197");
  const written = { pod: POD, written: NOW };
  assert.deepEqual(markerProblems(LINE, written, cluster), []);
  const bare = markerProblems({ ...LINE, kubernetes: undefined }, written, cluster);
  assert.deepEqual(whats(bare), [
    "a line of a pod is stored under another origin: namespace_name (none), wanted logging; " +
    `pod_name (none), wanted ${POD}; container_name (none), wanted keeper`,
  ]);
  assert.match(bare[0]!.cause!, /API server/);
  const foreign = markerProblems({ ...LINE, cluster: "cluster-196-central" }, written, cluster);
  assert.deepEqual(whats(foreign), [
    "a line of a pod is stored under another origin: " +
    "cluster cluster-196-central, wanted cluster-197-edge",
  ]);
  assert.match(foreign[0]!.cause!, /CLUSTER_NAME/);
  const late = { ...LINE, "@timestamp": "2026-11-23T21:00:00Z" };
  assert.deepEqual(whats(markerProblems(late, written, cluster)), [
    "a line written now is stored with a time 32400 s off",
  ]);
});

Deno.test("missingProblems() tells a Fluent Bit that is not ready from one that waits or does not read", () => {
  const waiting = ["DaemonSet/node-agents/fluent-bit: 0 of 1 available"];
  const cases: [Finding[], RegExp][] = [
    [missingProblems({ waiting, retries: 3 }), /not ready: DaemonSet.* 0 of 1 available/],
    [missingProblems({ waiting: [], retries: 2.1 }), /lines wait on the node.* 3 times/],
    [missingProblems({ waiting: [], retries: 0 }), /does not read this pod's file/],
  ];
  for (const [problems, cause] of cases) {
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
const SM = { policies: [{ name: "logs-snapshots", deletion: {} }] };

Deno.test("lifecycleProblems() says where an index is stuck, and when that needs a person", () => {
  const stuck = {
    ...HOT,
    action: { name: "snapshot", failed: true },
    step: { name: "wait_for_snapshot" },
    info: { message: "Snapshot failed", cause: "IOException[refused]" },
    enabled: false,
  };
  const explain = { "logs-k8s-2026.11.23": HOT, "logs-k8s-2026.11.08": stuck };
  const problems = lifecycleProblems({ ...explain, total_managed_indices: 2 }, SM, "197");
  assert.deepEqual(whats(problems), [
    "index logs-k8s-2026.11.08 is stuck at snapshot (wait_for_snapshot): " +
    "Snapshot failed: IOException[refused]",
  ]);
  assert.match(problems[0]!.fix!, /keeper .* five minutes\. .* half an hour, it needs a person/);
});

Deno.test("lifecycleProblems() names indices that ISM or our policy has let go", () => {
  const id = "index.plugins.index_state_management.policy_id";
  const explain = {
    "logs-a": { [id]: null, enabled: null },
    "logs-b": { ...HOT, [id]: "by-hand" },
    "logs-c": { ...HOT, enabled: false, info: { message: "Fail to load policy: logs-retention" } },
  };
  const problems = lifecycleProblems(explain, SM, "197");
  assert.deepEqual(whats(problems), [
    "index logs-a is under no policy and is never deleted",
    "index logs-b is under the policy by-hand, wanted logs-retention",
    "index logs-c is left alone by ISM and is never deleted: Fail to load policy: logs-retention",
  ]);
  assert.match(problems[2]!.fix!, /_ism\/remove\/logs-c; make 40-logging CLUSTER=197/);
});

Deno.test("lifecycle() does not ask ISM to explain while there is no log index: it answers 400", async () => {
  const proxy = openSearch({
    "/_plugins/_ism/policies/logs-retention": {},
    "/_cat/indices/logs-k8s-*,logs-host-*": [],
    "/_plugins/_sm/policies/*/_explain": SM,
  });
  const cluster = await fixtureCluster("197");
  assert.deepEqual(await lifecycle(subjectWith(cluster, { proxy })), []);
});

Deno.test("diskProblems() names the volumes that are more than 85 % full", () => {
  assert.deepEqual(diskProblems([disk(30 * GIB, 5 * GIB)]), []);
  assert.deepEqual(whats(diskProblems([disk(30 * GIB, 5 * GIB), disk(30 * GIB, 3 * GIB)])), [
    "the volume of opensearch-0 is 90 % full",
  ]);
});

Deno.test("V4: outlookOf(): the last whole days tell what all will take; today, the first and old ones do not", async () => {
  const cluster = await fixtureCluster("197"); // 14 days
  const disks = [disk(30 * GIB, 20 * GIB)];
  assert.deepEqual(outlookOf([index(0, GIB)], disks, cluster, NOW), []);
  const fits = outlookOf(
    [index(0, 9 * GIB), index(1, GIB), index(2, 2 * GIB), index(3, 9 * GIB)],
    disks,
    cluster,
    NOW,
  );
  const what = "1.5 GiB a day, so 24.0 GiB of 30.0 GiB for LOG_RETENTION=14d";
  assert.deepEqual(fits, [{ state: "ok", what }]);
  assert.deepEqual(outlookOf([index(1, 3 * GIB)], disks, cluster, NOW), []);
  const grown = [9, 8, 7, 6, 5, 4].map((days) => index(days, GIB / 100));
  const full = outlookOf(
    [...grown, index(3, 3 * GIB), index(2, 3 * GIB), index(1, 3 * GIB)],
    disks,
    cluster,
    NOW,
  );
  assert.equal(full.length, 1);
  assert.match(full[0]!.fix!, /^LOG_RETENTION=7d /);
});

const LONG_AGO = { indices: 0, snapshots: 0 };

Deno.test("archiveProblems(): a young cluster and a healthy one have none", async () => {
  const cluster = await fixtureCluster("197");
  assert.deepEqual(archiveProblems([], [index(0), index(14)], cluster, LONG_AGO, NOW), []);
  const snapshots = [snapshot(181), snapshot(0, "IN_PROGRESS"), snapshot(1)];
  assert.deepEqual(archiveProblems(snapshots, [index(3)], cluster, LONG_AGO, NOW), []);
});

Deno.test("archiveProblems() names what should be on S3, what failed, and what should be gone", async () => {
  const cluster = await fixtureCluster("197");
  const snapshots = [snapshot(190), snapshot(1, "PARTIAL"), snapshot(2)];
  assert.deepEqual(
    whats(archiveProblems(snapshots, [index(16), index(2)], cluster, LONG_AGO, NOW)),
    [
      "logs-k8s-2026.11.07 should be on S3 and gone",
      "the newest snapshot, of-1, is PARTIAL",
      "1 snapshot(s) five days older than LOG_SNAPSHOT_RETENTION",
    ],
  );
});

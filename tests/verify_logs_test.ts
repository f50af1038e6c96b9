// The verdicts of 50-verify on log lines, over answers in the shape that OpenSearch gives them.
import assert from "node:assert/strict";
import type { Problem } from "../lib/check.ts";
import {
  archiveProblems,
  type Disk,
  diskProblems,
  type Index,
  outlookOf,
  type Snapshot,
} from "../scripts/verify/archive.ts";
import { type Line, markerProblems } from "../scripts/verify/logs.ts";
import { fixtureCluster } from "./cluster_fixture.ts";

const NOW = Date.parse("2026-11-23T12:00:00Z");
const GIB = 2 ** 30;

function whats(problems: Problem[]): string[] {
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

function snapshot(days: number, state = "SUCCESS"): Snapshot {
  return { snapshot: `of-${days}`, state, start_time_in_millis: daysAgo(days) };
}

function disk(total: number, available: number): Disk {
  return {
    name: "opensearch-0",
    fs: { total: { total_in_bytes: total, available_in_bytes: available } },
  };
}

const LINE: Line = {
  "@timestamp": "2026-11-23T12:00:01.123456789Z",
  cluster: "cluster-197-edge",
  kubernetes: { namespace_name: "logging", container_name: "keeper" },
};

Deno.test("markerProblems(): a line with its origin and time is well; none, or another, is told", async () => {
  const cluster = await fixtureCluster("197");
  assert.deepEqual(markerProblems(LINE, cluster, NOW), []);
  assert.deepEqual(whats(markerProblems(undefined, cluster, NOW)), [
    "a line written by a pod was not found within 60 s",
  ]);
  assert.deepEqual(whats(markerProblems({ ...LINE, kubernetes: undefined }, cluster, NOW)), [
    "a line of cluster-197-edge, logging, keeper is stored as of cluster-197-edge, , ",
  ]);
  assert.deepEqual(
    whats(markerProblems({ ...LINE, "@timestamp": "2026-11-23T21:00:00Z" }, cluster, NOW)),
    ["a line written now is stored with a time 32400 s off"],
  );
});

Deno.test("diskProblems() names the volumes that are more than 85 % full", () => {
  assert.deepEqual(diskProblems([disk(30 * GIB, 5 * GIB)]), []);
  assert.deepEqual(whats(diskProblems([disk(30 * GIB, 5 * GIB), disk(30 * GIB, 3 * GIB)])), [
    "the volume of opensearch-0 is 90 % full",
  ]);
});

Deno.test("outlookOf(): days that are over tell what all of them will take; today does not", async () => {
  const cluster = await fixtureCluster("197"); // 14 days
  const disks = [disk(30 * GIB, 20 * GIB)];
  assert.equal(outlookOf([index(0, GIB)], disks, cluster, NOW), undefined);
  const fits = outlookOf(
    [index(0, 9 * GIB), index(1, GIB), index(2, 2 * GIB)],
    disks,
    cluster,
    NOW,
  );
  assert.deepEqual(fits, {
    told: "1.5 GiB a day, so 24.0 GiB of 30.0 GiB for LOG_RETENTION=14d",
    problems: [],
  });
  const full = outlookOf([index(1, 3 * GIB)], disks, cluster, NOW)!;
  assert.equal(full.problems.length, 1);
  assert.match(full.problems[0]!.fix, /^LOG_RETENTION=7d /);
});

Deno.test("archiveProblems(): a young cluster and a healthy one have none", async () => {
  const cluster = await fixtureCluster("197");
  assert.deepEqual(archiveProblems([], [index(0), index(14)], cluster, NOW), []);
  const snapshots = [snapshot(181), snapshot(0, "IN_PROGRESS"), snapshot(1)];
  assert.deepEqual(archiveProblems(snapshots, [index(3)], cluster, NOW), []);
});

Deno.test("archiveProblems() names what should be on S3, what failed, and what should be gone", async () => {
  const cluster = await fixtureCluster("197");
  const snapshots = [snapshot(190), snapshot(1, "PARTIAL"), snapshot(2)];
  assert.deepEqual(whats(archiveProblems(snapshots, [index(16), index(2)], cluster, NOW)), [
    "logs-k8s-2026.11.07 should be on S3 and gone",
    "the newest snapshot, of-1, is PARTIAL",
    "1 snapshot(s) five days older than LOG_SNAPSHOT_RETENTION",
  ]);
});

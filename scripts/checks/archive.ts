// Checks of log lines at rest: the days fit the disk, and those that are over are on S3.
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { POLICY, REPOSITORY, SNAPSHOT_POLICY } from "../components/logging/documents.ts";

const DAY = 86_400;

/** An index as `_cat/indices` lists it; sizes in bytes, times in ms, both as text. */
export interface Index {
  index: string;
  "creation.date": string;
  "store.size": string | null;
}

export interface NodeDisk {
  name: string;
  fs: { total: { total_in_bytes: number; available_in_bytes: number } };
}

/** The disks have room, and will have it when every day that is to be kept is there. */
export async function headroom({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const stats = await readJson<{ nodes: Record<string, NodeDisk> }>(
    way,
    OPENSEARCH,
    "/_nodes/stats/fs",
  );
  const disks = Object.values(stats.nodes);
  return [...diskProblems(disks), ...outlookOf(await indicesOf(way), disks, cluster, Date.now())];
}

async function indicesOf(way: ClusterProxy): Promise<Index[]> {
  const path = "/_cat/indices/logs-*?format=json&bytes=b&h=index,creation.date,store.size";
  return await readJson<Index[]>(way, OPENSEARCH, path);
}

/** Disks above 85 %: OpenSearch gives no new index a place there, so tomorrow's would be red. */
export function diskProblems(disks: NodeDisk[]): Finding[] {
  return disks.filter(({ fs: { total } }) => total.available_in_bytes < 0.15 * total.total_in_bytes)
    .map(({ name, fs: { total } }) => ({
      what: `the volume of ${name} is ` +
        `${(100 * (1 - total.available_in_bytes / total.total_in_bytes)).toFixed(0)} % full`,
      cause: "more is logged in LOG_RETENTION than the volume holds; above 85 % no new index is " +
        "placed, at 95 % every line is refused",
      fix: "a larger OPENSEARCH_STORAGE or a shorter LOG_RETENTION, then make 40-logging",
    }));
}

/** Whole days that tell how much is logged now. */
const RECENT = 3;

/**
 * What all days of LOG_RETENTION will take, from the bytes of the last whole days; nothing while there is
 * none. `now` in ms.
 */
export function outlookOf(
  indices: Index[],
  disks: NodeDisk[],
  cluster: Cluster,
  now: number,
): Finding[] {
  const today = new Date(now).toISOString().slice(0, 10).replaceAll("-", ".");
  const days = new Map<string, number>();
  for (const { index, "store.size": size } of indices) {
    const [day] = /\d{4}\.\d{2}\.\d{2}$/.exec(index) ?? [];
    if (day && day < today) days.set(day, (days.get(day) ?? 0) + Number(size ?? 0));
  }
  // The first began in the middle of its day, and a day without a line has no index.
  const whole = [...days.keys()].sort().slice(1).slice(-RECENT);
  if (whole.length === 0) return [];
  const daily = whole.reduce((sum, day) => sum + days.get(day)!, 0) / whole.length;
  const disk = disks.reduce((sum, { fs: { total } }) => sum + total.total_in_bytes, 0);
  // The day that is being written, and the day on its way to S3, are there, too.
  const kept = durationSeconds(text(cluster, "LOG_RETENTION")) / DAY + 2;
  const told = `${gib(daily)} a day, so ${gib(daily * kept)} of ${gib(disk)} ` +
    `for LOG_RETENTION=${text(cluster, "LOG_RETENTION")}`;
  if (daily * kept <= 0.9 * disk) return [ok(told)];
  const fits = Math.max(1, Math.floor(0.9 * disk / daily) - 2);
  return [{
    what: `the logs will not fit: ${told}`,
    cause: "more is logged than the volume was made for",
    fix: `LOG_RETENTION=${fits}d or a larger OPENSEARCH_STORAGE, then make 40-logging ` +
      `CLUSTER=${cluster.id}`,
  }];
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** A snapshot as a repository lists it; times in ms. */
export interface ListedSnapshot {
  snapshot: string;
  state: string;
  start_time_in_millis: number;
}

/** When the policies of indices and of snapshots were last changed, in ms: what is older is not done yet. */
export interface PolicyTimes {
  indices: number;
  snapshots: number;
}

async function policyTimes(way: ClusterProxy): Promise<PolicyTimes> {
  const read = <T>(path: string) => readJson<T>(way, OPENSEARCH, `/_plugins/${path}`);
  const [{ policy }, { sm_policy }] = await Promise.all([
    read<{ policy: { last_updated_time: number } }>(`_ism/policies/${POLICY}`),
    read<{ sm_policy: { last_updated_time: number } }>(`_sm/policies/${SNAPSHOT_POLICY}`),
  ]);
  return { indices: policy.last_updated_time, snapshots: sm_policy.last_updated_time };
}

/** Days that are over are on S3, and go from there when they are old. */
export async function archive({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const path = `/_snapshot/${REPOSITORY}/logs-*?ignore_unavailable=true`;
  const { snapshots } = await readJson<{ snapshots: ListedSnapshot[] }>(way, OPENSEARCH, path);
  const now = Date.now();
  const whole = snapshots.filter(({ state }) => state === "SUCCESS");
  const ages = whole.map(({ start_time_in_millis: start }) => (now - start) / 1000 / DAY);
  const [newest, oldest] = [Math.min(...ages), Math.max(...ages)].map((days) => days.toFixed(1));
  const seen = `${ages.length} whole snapshots on S3, the newest ${newest} and the oldest ` +
    `${oldest} days old`;
  return [
    ok(ages.length > 0 ? seen : "no snapshot yet"),
    ...archiveProblems(snapshots, await indicesOf(way), cluster, await policyTimes(way), now),
  ];
}

/**
 * Indices that should be gone, a newest snapshot that failed, and snapshots that should be gone; under a policy
 * that was changed a moment ago nothing is late yet.
 */
export function archiveProblems(
  snapshots: ListedSnapshot[],
  indices: Index[],
  cluster: Cluster,
  changed: PolicyTimes,
  now: number,
): Finding[] {
  const problems: Finding[] = [];
  const age = (ms: number) => (now - ms) / 1000 / DAY;
  const older = (ms: number, setting: string, days: number) =>
    age(ms) > durationSeconds(text(cluster, setting)) / DAY + days;
  const late = indices.filter((index) => older(Number(index["creation.date"]), "LOG_RETENTION", 1));
  if (late.length > 0 && age(changed.indices) > 1) {
    problems.push({
      what: `${late.map(({ index }) => index).join(", ")} should be on S3 and gone`,
      cause: "the snapshot fails, or the index is under no policy: see the check Log lifecycle",
      fix: "kubectl -n logging logs deploy/opensearch-exporter -c keeper",
    });
  }
  const newest = [...snapshots].sort((a, b) => b.start_time_in_millis - a.start_time_in_millis)
    .find(({ state }) => state !== "IN_PROGRESS");
  if (newest && newest.state !== "SUCCESS") {
    problems.push({
      what: `the newest snapshot, ${newest.snapshot}, is ${newest.state}`,
      cause: "S3 was away or full while it was taken; its index is kept",
      fix: "mend what the check Log snapshots names; the keeper has it tried again by itself",
    });
  }
  const expired = snapshots.filter(({ start_time_in_millis: start }) =>
    older(start, "LOG_SNAPSHOT_RETENTION", 5)
  );
  // They are deleted once a day.
  if (expired.length > 0 && age(changed.snapshots) > 2) {
    problems.push({
      what: `${expired.length} snapshot(s) five days older than LOG_SNAPSHOT_RETENTION`,
      cause: "the policy logs-snapshots does not delete them, or its key may not",
      fix:
        "GET _plugins/_sm/policies/logs-snapshots/_explain, by kubectl -n logging exec opensearch-0 " +
        "-- curl -s localhost:9200/…",
    });
  }
  return problems;
}

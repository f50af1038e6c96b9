// Checks of log lines at rest: the days fit the disk, and those that are over are on S3.
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Findings, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { POLICY, REPOSITORY, SNAPSHOT_POLICY } from "../components/logging/documents.ts";

const DAY = 86_400_000;

function daysOf(cluster: Cluster, setting: string): number {
  return durationSeconds(text(cluster, setting)) * 1000 / DAY;
}

/** An index as `_cat/indices` lists it; sizes in bytes, times in ms, both as text. */
type Index = { index: string; "creation.date": string; "store.size": string | null };

async function indicesOf(proxy: ClusterProxy): Promise<Index[]> {
  const path = "/_cat/indices/logs-*?format=json&bytes=b&h=index,creation.date,store.size";
  return await readJson<Index[]>(proxy, OPENSEARCH, path);
}

/**
 * The disks have room, and will have it when every day that is to be kept is there. At 95 % OpenSearch takes
 * no line.
 */
export async function headroom({ cluster, proxy }: Subject): Promise<Findings> {
  type Space = { total_in_bytes: number; available_in_bytes: number };
  type Stats = { nodes: Record<string, { name: string; fs: { total: Space } }> };
  const { nodes } = await readJson<Stats>(proxy, OPENSEARCH, "/_nodes/stats/fs");
  const disks = Object.values(nodes).map(({ name, fs: { total } }) => (
    { name, bytes: total.total_in_bytes, used: 1 - total.available_in_bytes / total.total_in_bytes }
  ));
  const bytes = disks.reduce((sum, disk) => sum + disk.bytes, 0);
  return [
    disks.filter(({ used }) => used > 0.85).map(({ name, used }) => ({
      what: `the volume of ${name} is ${(100 * used).toFixed(0)} % full`,
      cause:
        "more is logged in LOG_RETENTION than the volume holds; at 95 % no line is taken any more, " +
        "and index management stands still",
      fix: "a larger OPENSEARCH_STORAGE or a shorter LOG_RETENTION, then make 40-logging",
    })),
    outlookOf(await indicesOf(proxy), bytes, cluster),
  ];
}

/** Whole days that tell how much is logged now. */
const RECENT = 3;

/** What all days of LOG_RETENTION will take of so many bytes, by the last whole days; nothing while there is none. */
function outlookOf(indices: Index[], disk: number, cluster: Cluster): Findings {
  const today = new Date().toISOString().slice(0, 10).replaceAll("-", ".");
  const days = new Map<string, number>();
  for (const { index, "store.size": size } of indices) {
    const [day] = /\d{4}\.\d{2}\.\d{2}$/.exec(index) ?? [];
    if (day && day < today) days.set(day, (days.get(day) ?? 0) + Number(size ?? 0));
  }
  // The first began in the middle of its day, and a day without a line has no index.
  const whole = [...days.keys()].sort().slice(1).slice(-RECENT);
  if (whole.length === 0) return undefined;
  const daily = whole.reduce((sum, day) => sum + days.get(day)!, 0) / whole.length;
  // The day that is being written, and the day on its way to S3, are there, too.
  const all = daily * (daysOf(cluster, "LOG_RETENTION") + 2);
  const told = `${gib(daily)} a day, so ${gib(all)} of ${gib(disk)} ` +
    `for LOG_RETENTION=${text(cluster, "LOG_RETENTION")}`;
  if (all <= 0.9 * disk) return ok(told);
  const fits = Math.max(1, Math.floor(0.9 * disk / daily) - 2);
  return {
    what: `the logs will not fit: ${told}`,
    cause: "more is logged than the volume was made for",
    fix: `LOG_RETENTION=${fits}d or a larger OPENSEARCH_STORAGE, then make 40-logging ` +
      `CLUSTER=${cluster.id}`,
  };
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** A snapshot as a repository lists it; times in ms. */
type ListedSnapshot = { snapshot: string; state: string; start_time_in_millis: number };

/**
 * Days that are over are on S3, and go from there when they are old; under a policy that was changed a moment ago
 * nothing is late yet.
 */
export async function archive({ cluster, proxy }: Subject): Promise<Findings> {
  type Changed = { last_updated_time: number };
  const read = <T>(path: string) => readJson<T>(proxy, OPENSEARCH, path);
  const list = `/_snapshot/${REPOSITORY}/logs-*?ignore_unavailable=true`;
  const { snapshots } = await read<{ snapshots: ListedSnapshot[] }>(list);
  const indices = await indicesOf(proxy);
  const { policy } = await read<{ policy: Changed }>(`/_plugins/_ism/policies/${POLICY}`);
  const sm = `/_plugins/_sm/policies/${SNAPSHOT_POLICY}`;
  const { sm_policy } = await read<{ sm_policy: Changed }>(sm);

  const now = Date.now();
  const age = (ms: number) => (now - ms) / DAY;
  const ageOf = ({ start_time_in_millis: start }: ListedSnapshot) => age(start);
  const ages = snapshots.filter(({ state }) => state === "SUCCESS").map(ageOf);
  const [youngest, oldest] = [Math.min(...ages), Math.max(...ages)].map((days) => days.toFixed(1));
  const newest = snapshots.toSorted((a, b) => ageOf(a) - ageOf(b))
    .find(({ state }) => state !== "IN_PROGRESS");
  const late = indices.filter((index) =>
    age(Number(index["creation.date"])) > daysOf(cluster, "LOG_RETENTION") + 1
  );
  const expired = snapshots.filter((snapshot) =>
    ageOf(snapshot) > daysOf(cluster, "LOG_SNAPSHOT_RETENTION") + 5
  );
  return [
    ok(
      ages.length === 0
        ? "no snapshot yet"
        : `${ages.length} whole snapshots on S3, the newest ${youngest} and the oldest ${oldest} days old`,
    ),
    late.length > 0 && age(policy.last_updated_time) > 1 && {
      what: `${late.map(({ index }) => index).join(", ")} should be on S3 and gone`,
      cause: "the snapshot fails, or the index is under no policy: see the check Log lifecycle",
      fix: "kubectl -n logging logs deploy/opensearch-exporter -c keeper",
    },
    newest && newest.state !== "SUCCESS" && {
      what: `the newest snapshot, ${newest.snapshot}, is ${newest.state}`,
      cause: "S3 was away or full while it was taken; its index is kept",
      fix: "mend what the check Log snapshots names; the keeper has it tried again by itself",
    },
    // They are deleted once a day.
    expired.length > 0 && age(sm_policy.last_updated_time) > 2 && {
      what: `${expired.length} snapshot(s) five days older than LOG_SNAPSHOT_RETENTION`,
      cause: "the policy logs-snapshots does not delete them, or its key may not",
      fix:
        "GET _plugins/_sm/policies/logs-snapshots/_explain, by kubectl -n logging exec opensearch-0 " +
        "-- curl -s localhost:9200/…",
    },
  ];
}

// Checks of OpenSearch: itself, its way to the bucket, and its log lines: the days fit the disk, go to S3, and from there.
import { type ClusterProxy, type Findings, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import type { Answer } from "../../lib/opensearch/client.ts";
import { readJson } from "../../lib/probe/http.ts";
import { LOGS, OPENSEARCH, POLICY } from "../components/logging/objects.ts";
import { REPOSITORY, SNAPSHOT_POLICY } from "../components/logging/objects.ts";

/** An answer in the words of OpenSearch. */
type Body = Answer["body"];

/** What OpenSearch answers to a path, or to a body that is posted there. */
export function askOpenSearch<T = Body>(proxy: ClusterProxy, path: string, body?: unknown) {
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify(body) };
  return readJson<T>(proxy, OPENSEARCH, path, body === undefined ? undefined : init);
}

/** Green, with all its nodes. */
export async function health({ cluster, proxy }: Subject): Promise<Findings> {
  const found = await askOpenSearch(proxy, "/_cluster/health");
  const nodes = number(cluster, "OPENSEARCH_NODES");
  return [
    found.number_of_nodes !== nodes && {
      what: `OpenSearch has ${found.number_of_nodes} of ${nodes} nodes`,
      cause: "a pod is down, or the nodes do not find each other",
      fix: "kubectl -n logging get pods; kubectl -n logging logs opensearch-0",
    },
    found.status !== "green" && {
      what: `OpenSearch is ${found.status}: ${found.unassigned_shards} shards have no node`,
      cause: nodes === 1
        ? "an index wants replicas, which one node cannot hold"
        : "a node is away or its disk is full",
      fix: "ask OpenSearch itself: GET /_cluster/allocation/explain",
    },
  ];
}

/** The plugins that the snapshots and the age rules need. */
export async function plugins({ proxy }: Subject): Promise<Findings> {
  const path = "/_cat/plugins?h=component,version&format=json";
  const installed = await askOpenSearch<{ component: string }[]>(proxy, path);
  return ["repository-s3", "opensearch-index-management"]
    .filter((name) => !installed.some(({ component }) => component === name))
    .map((name) => ({
      what: `OpenSearch has no plugin ${name}`,
      cause: "OPENSEARCH_IMAGE lacks it, and it could not be installed at start",
      fix: "kubectl -n logging logs opensearch-0 --all-containers | grep -i plugin",
    }));
}

/** Every node reaches the bucket, in this cluster's own folder. */
export async function logRepository({ cluster, proxy }: Subject): Promise<Findings> {
  const path = `/_snapshot/${REPOSITORY}`, post = { method: "POST" };
  const found = await askOpenSearch(proxy, path);
  const verified = await readJson<{ nodes: object }>(proxy, OPENSEARCH, `${path}/_verify`, post);
  const { base_path, shard_path_type } = found[REPOSITORY]?.settings ?? {};
  const folder = text(cluster, "S3_BASE_PATH"), nodes = number(cluster, "OPENSEARCH_NODES");
  const reached = Object.keys(verified.nodes).length;
  return [
    (base_path !== folder || shard_path_type !== "FIXED") && {
      what: `${REPOSITORY} writes to ${base_path} (${shard_path_type}), wanted ${folder} (FIXED)`,
      cause: "somebody registered it by hand; two clusters in one folder overwrite each other",
      fix: `make 40-logging CLUSTER=${cluster.id}`,
    },
    reached !== nodes && {
      what: `${reached} of ${nodes} nodes reach the bucket of ${REPOSITORY}`,
      cause: "a node has another keystore or does not trust the CA of S3",
      fix: "kubectl -n logging rollout restart statefulset opensearch",
    },
  ];
}

const KEEPER = "kubectl -n logging logs deploy/opensearch-exporter -c keeper";
const CURL = "kubectl -n logging exec opensearch-0 -- curl -s";
/** Set as soon as an index is under a policy, before the first run of it. */
const POLICY_OF_INDEX = "index.plugins.index_state_management.policy_id";

/** As `_cat/indices` lists it; size in bytes, time in ms, both as text. */
type Index = { index: string; "creation.date": string; "store.size": string | null };

function indicesOf(proxy: ClusterProxy): Promise<Index[]> {
  const columns = "format=json&bytes=b&h=index,creation.date,store.size";
  return askOpenSearch(proxy, `/_cat/indices/${LOGS}?${columns}`);
}

function daysSince(time: string | number): number {
  return (Date.now() - Number(time)) / 86_400_000;
}

function daysOf(cluster: Cluster, setting: string): number {
  return durationSeconds(text(cluster, setting)) / 86_400;
}

/** The disks have room, and will have it when every day that is to be kept is there. */
export async function headroom({ cluster, proxy }: Subject): Promise<Findings> {
  const { nodes } = await askOpenSearch(proxy, "/_nodes/stats/fs");
  const disks = Object.values<Body>(nodes).map(({ name, fs: { total } }) => (
    { name, bytes: total.total_in_bytes, used: 1 - total.available_in_bytes / total.total_in_bytes }
  ));
  const bytes = disks.reduce((sum, disk) => sum + disk.bytes, 0);
  return [
    disks.filter(({ used }) => used > 0.85).map(({ name, used }) => ({
      what: `the volume of ${name} is ${(100 * used).toFixed(0)} % full`,
      cause: "more is logged in LOG_RETENTION than fits; at 95 % no line is taken or managed",
      fix: "a larger OPENSEARCH_STORAGE or a shorter LOG_RETENTION, then make 40-logging",
    })),
    outlookOf(await indicesOf(proxy), bytes, cluster),
  ];
}

/** What LOG_RETENTION will take of so many bytes, by the last three whole days; nothing while there is none. */
function outlookOf(indices: Index[], disk: number, cluster: Cluster): Findings {
  const today = new Date().toISOString().slice(0, 10).replaceAll("-", ".");
  const days = Map.groupBy(indices, ({ index }) => index.slice(-today.length));
  // The first began in the middle of its day, and a day without a line has no index.
  const whole = [...days.keys()].filter((day) => day < today).sort().slice(1).slice(-3);
  if (whole.length === 0) return undefined;
  const sizes = whole.flatMap((day) => days.get(day)!).map((one) => Number(one["store.size"]));
  const daily = sizes.reduce((sum, size) => sum + size, 0) / whole.length;
  // The day that is being written, and the day on its way to S3, are there, too.
  const all = daily * (daysOf(cluster, "LOG_RETENTION") + 2);
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const told = `${gib(daily)} a day, so ${gib(all)} of ${gib(disk)} ` +
    `for LOG_RETENTION=${text(cluster, "LOG_RETENTION")}`;
  if (all <= 0.9 * disk) return ok(told);
  const fits = Math.max(1, Math.floor(0.9 * disk / daily) - 2);
  return {
    what: `the logs will not fit: ${told}`,
    cause: "more is logged than the volume was made for",
    fix: `LOG_RETENTION=${fits}d or a larger OPENSEARCH_STORAGE, then make 40-logging`,
  };
}

/** Days that are over are on S3, and go from there when they are old; not yet under a policy that has just changed. */
export async function archive({ cluster, proxy }: Subject): Promise<Findings> {
  type Snapshot = { snapshot: string; state: string; start_time_in_millis: number };
  type Policy = { last_updated_time: number };
  type Kept = { snapshots: Snapshot[]; policy: Policy; sm_policy: Policy };
  const read = (path: string) => askOpenSearch<Kept>(proxy, path);
  const { snapshots } = await read(`/_snapshot/${REPOSITORY}/logs-*?ignore_unavailable=true`);
  const { policy } = await read(`/_plugins/_ism/policies/${POLICY}`);
  const { sm_policy } = await read(`/_plugins/_sm/policies/${SNAPSHOT_POLICY}`);
  const late = (await indicesOf(proxy)).filter(({ "creation.date": made }) =>
    daysSince(made) > daysOf(cluster, "LOG_RETENTION") + 1
  );
  const byAge = snapshots.map((one) => ({ ...one, age: daysSince(one.start_time_in_millis) }))
    .sort((one, other) => one.age - other.age);
  const newest = byAge.find(({ state }) => state !== "IN_PROGRESS");
  const days = byAge.filter(({ state }) => state === "SUCCESS").map(({ age }) => age.toFixed(1));
  const ages = `the newest ${days[0]} and the oldest ${days.at(-1)} days old`;
  const expired = byAge.filter(({ age }) => age > daysOf(cluster, "LOG_SNAPSHOT_RETENTION") + 5);
  return [
    ok(days.length === 0 ? "no snapshot yet" : `${days.length} whole snapshots on S3, ${ages}`),
    late.length > 0 && daysSince(policy.last_updated_time) > 1 && {
      what: `${late.map(({ index }) => index).join(", ")} should be on S3 and gone`,
      cause: "the snapshot fails, or the index is under no policy: see the check Log lifecycle",
      fix: KEEPER,
    },
    newest && newest.state !== "SUCCESS" && {
      what: `the newest snapshot, ${newest.snapshot}, is ${newest.state}`,
      cause: "S3 was away or full while it was taken; its index is kept",
      fix: "mend what the check Log snapshots names; the keeper has it tried again by itself",
    },
    // They are deleted once a day.
    expired.length > 0 && daysSince(sm_policy.last_updated_time) > 2 && {
      what: `${expired.length} snapshot(s) five days older than LOG_SNAPSHOT_RETENTION`,
      cause: "the policy logs-snapshots does not delete them, or its key may not",
      fix: `${CURL} localhost:9200/_plugins/_sm/policies/logs-snapshots/_explain`,
    },
  ];
}

/** Indices are under the policy, and neither it nor the deletion of snapshots has failed. */
export async function lifecycle({ cluster, proxy }: Subject): Promise<Findings> {
  type Run = { latest_execution?: { status: string; info?: { message?: string } } };
  type Policies = { policies: { name: string; deletion?: Run }[] };
  await askOpenSearch(proxy, `/_plugins/_ism/policies/${POLICY}`);
  const indices = await indicesOf(proxy);
  // Explain answers 400 while there is no index, and gives total_managed_indices beside them.
  const explain = indices.length > 0 &&
    await askOpenSearch<Record<string, Body>>(proxy, `/_plugins/_ism/explain/${LOGS}`);
  // ISM takes the new indices of midnight under its policy within minutes.
  const young = indices.filter((one) => daysSince(one["creation.date"]) < 15 / (24 * 60))
    .map(({ index }) => index);
  const { policies } = await askOpenSearch<Policies>(proxy, "/_plugins/_sm/policies/*/_explain");
  const failed = policies.filter(({ deletion }) => deletion?.latest_execution?.status === "FAILED");
  return [
    Object.entries(explain || {}).map(([index, state]) =>
      typeof state === "object" && !(young.includes(index) && !state[POLICY_OF_INDEX]) &&
      indexProblem(index, state, cluster.id)
    ),
    policies.length === 0 && {
      what: "no policy deletes old snapshots",
      cause: "40-logging has not run to its end",
      fix: `make 40-logging CLUSTER=${cluster.id}`,
    },
    failed.map(({ name, deletion }) => ({
      what: `snapshot policy ${name} failed to delete: ` +
        (deletion!.latest_execution!.info?.message ?? ""),
      cause: "the key lacks s3:DeleteObject, or S3 was away; the next run tries again",
      fix: "look at the check Bucket of logs above",
    })),
  ];
}

/** `enabled` false: ISM does not look at the index any more. */
function indexProblem(index: string, state: Body, id: string): Findings {
  const { [POLICY_OF_INDEX]: policy, enabled, action, step, info } = state;
  const said = [info?.message, info?.cause].filter(Boolean).join(": ") || "ISM does not say why";
  const again = `make 40-logging CLUSTER=${id}`;
  const what = `index ${index} is under no policy and is never deleted`;
  if (!policy) return { what, cause: "it is older than the policy", fix: again };
  if (action?.failed) {
    return {
      what: `index ${index} is stuck at ${action.name} (${step?.name ?? "no step"}): ${said}`,
      cause: "S3 was away during its snapshot, or has no repository; the index is kept",
      fix: "mend what the check Log snapshots names; the keeper has it tried again every five " +
        `minutes. Still stuck after half an hour, it needs a person: ${KEEPER}`,
    };
  }
  if (policy === POLICY && enabled !== false) return undefined;
  return {
    what: policy === POLICY
      ? `index ${index} is left alone by ISM and is never deleted: ${said}`
      : `index ${index} is under the policy ${policy}, wanted ${POLICY}`,
    cause: "its policy was changed or deleted by hand; the keeper retries only what failed",
    fix: `${CURL} -X POST localhost:9200/_plugins/_ism/remove/${index}; ${again}`,
  };
}

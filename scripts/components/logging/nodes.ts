// Fewer nodes of OpenSearch: Kubernetes takes the last pods away and asks nobody, so first their shards and votes go.
import { type Cluster, number } from "../../../lib/core/cluster.ts";
import { notReadyError, serviceError } from "../../../lib/core/error.ts";
import { liveObjects } from "../../../lib/kube/api.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { ensure } from "../../../lib/core/resource.ts";
import { type OpenSearch, read, request, write } from "../../../lib/opensearch/client.ts";
import { wantedReplicas } from "../../../lib/opensearch/documents.ts";
import { until, type UntilOptions } from "../../../lib/io/wait.ts";

/** One copy of a shard, as `_cat/shards` lists it: `p` or `r`; `node` while it moves: `opensearch-1 -> id opensearch-0`. */
export type Copy = Record<"index" | "shard" | "prirep" | "state", string> & { node: string | null };

/** `patience`: seconds without any progress before shards count as stuck (300: a snapshot holds its shards). */
type WaitOptions = Omit<UntilOptions, "seconds"> & { patience?: number };

const EXCLUDE = "cluster.routing.allocation.exclude._name";
const VOTES = "/_cluster/voting_config_exclusions";
const SHARDS = "/_cat/shards?format=json&s=index,shard,prirep&h=index,shard,prirep,state,node";
const TRAFFIC = "/_cat/recovery?active_only=true&format=json&bytes=b&h=index,shard,bytes_recovered";

/** Nodes that the cluster has and the settings do not want any more. */
export async function leavingNodes(cluster: Cluster): Promise<string[]> {
  const live = await liveObjects(cluster, "statefulsets.apps,pods", "logging");
  return surplus(live, number(cluster, "OPENSEARCH_NODES"));
}

/** The nodes from number `wanted` on that these live objects tell of. */
export function surplus(live: Manifest[], wanted: number): string[] {
  const counts = live.map(({ kind, metadata: { name, deletionTimestamp }, spec }) => {
    if (kind === "StatefulSet" && name === "opensearch") return spec.replicas as number;
    // A StatefulSet that is made again for larger volumes is away for a moment.
    return kind === "Pod" && !deletionTimestamp ? numberOf(name) + 1 : 0;
  });
  return first(Math.max(0, ...counts)).slice(wanted);
}

/** Moves every shard to the first `wanted` nodes. @throws {DeployError} exit 8 before any change, 7 with all undone. */
export async function moveShards(
  os: OpenSearch,
  leaving: string[],
  wanted: number,
  { say, every, patience = 300 }: WaitOptions = {},
): Promise<void> {
  async function moved(judge: typeof remaining): Promise<void> {
    let seen = "", since = Date.now();
    await until("shards to move", async () => {
      const left = judge(await read(os, SHARDS), leaving);
      // Bytes on their way are progress, too.
      const now = JSON.stringify([left, await read(os, TRAFFIC)]);
      if (now !== seen) [seen, since] = [now, Date.now()];
      const isStuck = left.length > 0 && Date.now() - since > patience * 1000;
      if (isStuck) throw await immovable(os, left, leaving, patience);
      return left.map(titleOf);
    }, { seconds: Infinity, every, say });
  }

  await refuseIncomplete(os, leaving, wanted);
  await exclude(os, leaving.join(","));
  try {
    // First with the replicas as they are, so that a move that fails has cost no redundancy.
    await moved(unsaved);
    if (wanted === 1) await ensure(wantedReplicas("*", 0), os);
    await moved(remaining);
  } catch (error) {
    await exclude(os, null).catch(() => {}); // the first error says more
    throw error;
  }
}

/** Takes the leaving nodes' votes: the rest decides alone from now on. @throws {DeployError} exit 8. */
export async function withdrawVotes(os: OpenSearch, leaving: string[]): Promise<void> {
  await write(os, "POST", `${VOTES}?node_names=${leaving.join(",")}`);
}

/** Clears what a removal left behind, also one that was cut off; whether there was any. @throws exit 7: nodes stay. */
export async function clearExclusions(os: OpenSearch, wanted: number, options: WaitOptions = {}) {
  const path = "metadata.cluster_coordination.voting_config_exclusions";
  const { persistent } = await read(os, "/_cluster/settings?flat_settings=true");
  const state = await read(os, `/_cluster/state/metadata?filter_path=${path}`);
  const voteless = state?.metadata?.cluster_coordination?.voting_config_exclusions ?? [];
  // By other names than ours it is somebody else's.
  const ours = String(persistent[EXCLUDE]).split(",").every((name) => numberOf(name) >= 0);
  if (voteless.length === 0 && !ours) return false;
  // With a vote again they would be missed.
  const staying = async () => (await nodes(os)).filter((name) => numberOf(name) >= wanted);
  await until("removed nodes to leave OpenSearch", staying, { ...options, seconds: 180 });
  // It need not wait: those that are left are wanted again.
  if (voteless.length > 0) await write(os, "DELETE", `${VOTES}?wait_for_removal=false`);
  if (ours) await exclude(os, null);
  return true;
}

/** Primaries of the shards without a started copy on another node: lost if the leaving ones went now. */
export function unsaved(copies: Copy[], leaving: string[]): Copy[] {
  const shardOf = ({ index, shard }: Copy) => `${index} ${shard}`;
  const saved = copies.filter((copy) => copy.state === "STARTED" && !leaving.includes(copy.node!));
  const shards = new Set(saved.map(shardOf));
  return copies.filter((copy) => copy.prirep === "p" && !shards.has(shardOf(copy)));
}

/** Copies that would go with the leaving nodes, and primaries that are nowhere else. */
export function remaining(copies: Copy[], leaving: string[]): Copy[] {
  const lost = unsaved(copies, leaving);
  return copies.filter((copy) => lost.includes(copy) || leaving.includes(nodeOf(copy)));
}

async function immovable(os: OpenSearch, left: Copy[], leaving: string[], patience: number) {
  const reasons = await Promise.all(left.slice(0, 3).map((copy) => explain(os, copy, leaving)));
  const more = left.length > 3 ? [`and ${left.length - 3} more`] : [];
  const what = `Cannot empty ${leaving.join(", ")}: shards have not moved for ${patience} s`;
  return notReadyError(what, {
    where: [...reasons.flatMap(({ lines }) => lines), ...more],
    fix:
      "no node was removed, all are in use again: mend what is named above (disks that are full: " +
      "OPENSEARCH_STORAGE) and run again, or set OPENSEARCH_NODES back",
  });
}

/** A copy, and why each node does not take it, a line each; whether OpenSearch `gave up` to place it. */
export async function explain(os: OpenSearch, copy: Copy, leaving: string[] = []) {
  type Decision = { node_name: string; deciders?: { explanation: string }[] };
  const { index, shard, prirep } = copy, primary = prirep === "p";
  const which = primary ? {} : { current_node: nodeOf(copy) };
  const question = { index, shard: Number(shard), primary, ...which };
  const { body } = await request(os, "POST", "/_cluster/allocation/explain", question);
  // The deciders of a node are those that are against it.
  const decisions: Decision[] = body.node_allocation_decisions ?? [];
  const reasons = decisions.filter(({ node_name }) => !leaving.includes(node_name))
    .flatMap(({ node_name, deciders = [] }) =>
      deciders.map(({ explanation }) => `  ${node_name}: ${explanation}`)
    );
  const verdict = body.allocate_explanation ? `: ${body.allocate_explanation}` : "";
  return { gaveUp: body.can_allocate === "no", lines: [titleOf(copy) + verdict, ...reasons] };
}

async function refuseIncomplete(os: OpenSearch, leaving: string[], wanted: number): Promise<void> {
  const where: string[] = await nodes(os).then(
    (present) =>
      first(wanted).filter((name) => !present.includes(name))
        .map((name) => `${name} is not in the cluster`),
    ({ message, where = [] }) => [message, ...where],
  );
  if (where.length === 0) return;
  throw serviceError(`Cannot empty ${leaving.join(", ")}: OpenSearch is not complete`, {
    where,
    fix: "nothing was changed: mend OpenSearch or set OPENSEARCH_NODES back, then run again",
  });
}

async function exclude(os: OpenSearch, names: string | null): Promise<void> {
  await write(os, "PUT", "/_cluster/settings", { persistent: { [EXCLUDE]: names } });
}

/** Names of the nodes in the cluster; answered only where there is a cluster manager. */
async function nodes(os: OpenSearch): Promise<string[]> {
  const list: { name: string }[] = await read(os, "/_cat/nodes?format=json&h=name");
  return list.map(({ name }) => name);
}

function first(count: number): string[] {
  return Array.from({ length: count }, (_, ordinal) => `opensearch-${ordinal}`);
}

/** -1 for what is none of the nodes. */
function numberOf(name: string): number {
  return Number(/^opensearch-(\d+)$/.exec(name)?.[1] ?? -1);
}

function nodeOf({ node }: Copy): string {
  return node?.split(" ")[0] ?? "";
}

function titleOf(copy: Copy): string {
  return `${copy.index} shard ${copy.shard} on ${nodeOf(copy) || "no node"}`;
}

// Checks of OpenSearch: its nodes and plugins, the bucket, and the life cycle of log indices.
import { readJson } from "../../lib/probe/http.ts";
import type { Finding, Subject } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { LOG_INDICES, POLICY, REPOSITORY } from "../components/logging/documents.ts";

/** Set as soon as an index is under a policy, before the first run of it. */
const POLICY_OF_INDEX = "index.plugins.index_state_management.policy_id";

/** Green, with all its nodes. */
export async function health({ cluster, proxy }: Subject): Promise<Finding[]> {
  return healthProblems(
    await readJson(await proxy(), OPENSEARCH, "/_cluster/health"),
    number(cluster, "OPENSEARCH_NODES"),
  );
}

export interface Health {
  status: "green" | "yellow" | "red";
  number_of_nodes: number;
  unassigned_shards: number;
}

/** What is wrong with a cluster that should have `nodes` nodes. */
export function healthProblems(health: Health, nodes: number): Finding[] {
  const problems: Finding[] = [];
  if (health.number_of_nodes !== nodes) {
    problems.push({
      what: `OpenSearch has ${health.number_of_nodes} of ${nodes} nodes`,
      cause: "a pod is down, or the nodes do not find each other",
      fix: "kubectl -n logging get pods; kubectl -n logging logs opensearch-0",
    });
  }
  if (health.status !== "green") {
    problems.push({
      what: `OpenSearch is ${health.status}: ${health.unassigned_shards} shards have no node`,
      cause: nodes === 1
        ? "an index wants replicas, which one node cannot hold"
        : "a node is away or its disk is full",
      fix: "ask OpenSearch itself: GET /_cluster/allocation/explain",
    });
  }
  return problems;
}

/** The plugins that the snapshots and the age rules need. */
export async function plugins({ proxy }: Subject): Promise<Finding[]> {
  const path = "/_cat/plugins?h=component,version&format=json";
  return pluginProblems(await readJson(await proxy(), OPENSEARCH, path));
}

/** Plugins that are missing. */
export function pluginProblems(installed: { component: string; version: string }[]): Finding[] {
  return ["repository-s3", "opensearch-index-management"]
    .filter((name) => !installed.some(({ component }) => component === name))
    .map((name) => ({
      what: `OpenSearch has no plugin ${name}`,
      cause: "OPENSEARCH_IMAGE lacks it, and it could not be installed at start",
      fix: "kubectl -n logging logs opensearch-0 --all-containers | grep -i plugin",
    }));
}

/** Every node reaches the bucket, in this cluster's own folder. */
export async function logRepository({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const path = `/_snapshot/${REPOSITORY}`;
  const found = await readJson<Repositories>(way, OPENSEARCH, path);
  const verified = await readJson<Verified>(way, OPENSEARCH, `${path}/_verify`, { method: "POST" });
  return repositoryProblems(found, verified, cluster);
}

export type Repositories = Record<string, { settings: Record<string, string> }>;
export interface Verified {
  nodes: Record<string, unknown>;
}

/** What is wrong with the repository and its nodes. */
export function repositoryProblems(
  found: Repositories,
  verified: Verified,
  cluster: Cluster,
): Finding[] {
  const { base_path, shard_path_type } = found[REPOSITORY]?.settings ?? {};
  const wanted = { base_path: text(cluster, "S3_BASE_PATH"), shard_path_type: "FIXED" };
  const problems: Finding[] = [];
  if (base_path !== wanted.base_path || shard_path_type !== wanted.shard_path_type) {
    problems.push({
      what: `the repository ${REPOSITORY} writes to ${base_path} (${shard_path_type}), ` +
        `wanted ${wanted.base_path} (${wanted.shard_path_type})`,
      cause: "somebody registered it by hand; two clusters in one folder overwrite each other",
      fix: `make 40-logging CLUSTER=${cluster.id}`,
    });
  }
  const nodes = number(cluster, "OPENSEARCH_NODES");
  const reached = Object.keys(verified.nodes).length;
  if (reached !== nodes) {
    problems.push({
      what: `${reached} of ${nodes} nodes reach the bucket of ${REPOSITORY}`,
      cause: "a node has another keystore or does not trust the CA of S3",
      fix: "kubectl -n logging rollout restart statefulset opensearch",
    });
  }
  return problems;
}

/** Indices are under the policy, and neither it nor the deletion of snapshots has failed. */
export async function lifecycle({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  await readJson(way, OPENSEARCH, `/_plugins/_ism/policies/${POLICY}`);
  const logs = LOG_INDICES.join(",");
  const list = `/_cat/indices/${logs}?format=json&h=index,creation.date`;
  const indices = await readJson<Listed[]>(way, OPENSEARCH, list);
  return lifecycleProblems(
    // Explain answers 400 while there is no index.
    indices.length === 0 ? {} : await readJson(way, OPENSEARCH, `/_plugins/_ism/explain/${logs}`),
    await readJson(way, OPENSEARCH, "/_plugins/_sm/policies/*/_explain"),
    cluster.id,
    indices.filter(({ "creation.date": at }) => Date.now() - Number(at) < GRACE)
      .map(({ index }) => index),
  );
}

/** Ms in which ISM takes an index under its policy, such as the new ones at midnight. */
const GRACE = 15 * 60_000;

interface Listed {
  index: string;
  "creation.date": string;
}

/** One index of ISM's explain. */
export interface Managed {
  [POLICY_OF_INDEX]?: string | null;
  /** false: ISM does not look at it any more. */
  enabled?: boolean | null;
  action?: { name: string; failed: boolean };
  step?: { name: string };
  info?: { message?: string; cause?: string };
}

export interface SnapshotPolicies {
  policies: {
    name: string;
    deletion?: { latest_execution?: { status: string; info?: { message?: string } } };
  }[];
}

/** Indices that are stuck or (but for `young` ones) not managed, and snapshot policies that are missing or failed. */
export function lifecycleProblems(
  explain: Record<string, Managed | number>,
  { policies }: SnapshotPolicies,
  id: string,
  young: string[] = [],
): Finding[] {
  const problems = Object.entries(explain).flatMap(([index, state]) => {
    // total_managed_indices is a number
    if (typeof state === "number") return [];
    if (young.includes(index) && !state[POLICY_OF_INDEX]) return [];
    return indexProblem(index, state, id) ?? [];
  });
  if (policies.length === 0) {
    problems.push({
      what: "no policy deletes old snapshots",
      cause: "40-logging has not run to its end",
      fix: `make 40-logging CLUSTER=${id}`,
    });
  }
  for (const { name, deletion } of policies) {
    const { status, info } = deletion?.latest_execution ?? {};
    if (status !== "FAILED") continue;
    problems.push({
      what: `snapshot policy ${name} failed to delete: ${info?.message ?? ""}`,
      cause: "the key lacks s3:DeleteObject, or S3 was away; the next run tries again",
      fix: "look at the check Bucket of logs above",
    });
  }
  return problems;
}

function indexProblem(index: string, state: Managed, id: string): Finding | undefined {
  const { [POLICY_OF_INDEX]: policy, enabled, action, step, info } = state;
  const said = [info?.message, info?.cause].filter(Boolean).join(": ") || "ISM does not say why";
  const again = `make 40-logging CLUSTER=${id}`;
  if (!policy) {
    const what = `index ${index} is under no policy and is never deleted`;
    return { what, cause: "it is older than the policy", fix: again };
  }
  if (action?.failed) {
    return {
      what: `index ${index} is stuck at ${action.name} (${step?.name ?? "no step"}): ${said}`,
      cause: "S3 was away during its snapshot, or has no repository; the index is kept",
      fix: "mend what the check Log snapshots names; the keeper has it tried again every five " +
        "minutes. Still stuck after half an hour, it needs a person: kubectl -n logging logs " +
        "deploy/opensearch-exporter -c keeper",
    };
  }
  if (policy === POLICY && enabled !== false) return undefined;
  return {
    what: policy === POLICY
      ? `index ${index} is left alone by ISM and is never deleted: ${said}`
      : `index ${index} is under the policy ${policy}, wanted ${POLICY}`,
    cause: "its policy was changed or deleted by hand; the keeper retries only what failed",
    fix: `kubectl -n logging exec opensearch-0 -- curl -s -X POST ` +
      `localhost:9200/_plugins/_ism/remove/${index}; ${again}`,
  };
}

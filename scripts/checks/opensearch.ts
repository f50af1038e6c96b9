// Checks of OpenSearch: its nodes and plugins, the bucket, and the life cycle of log indices.
import { readJson } from "../../lib/probe/http.ts";
import type { Finding, Findings, Subject } from "../../lib/core/check.ts";
import { number, text } from "../../lib/core/cluster.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { LOG_INDICES, POLICY, REPOSITORY } from "../components/logging/documents.ts";

/** Green, with all its nodes. */
export async function health({ cluster, proxy }: Subject): Promise<Findings> {
  const health = await readJson<{
    status: "green" | "yellow" | "red";
    number_of_nodes: number;
    unassigned_shards: number;
  }>(proxy, OPENSEARCH, "/_cluster/health");
  const nodes = number(cluster, "OPENSEARCH_NODES");
  return [
    health.number_of_nodes !== nodes && {
      what: `OpenSearch has ${health.number_of_nodes} of ${nodes} nodes`,
      cause: "a pod is down, or the nodes do not find each other",
      fix: "kubectl -n logging get pods; kubectl -n logging logs opensearch-0",
    },
    health.status !== "green" && {
      what: `OpenSearch is ${health.status}: ${health.unassigned_shards} shards have no node`,
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
  const installed = await readJson<{ component: string }[]>(proxy, OPENSEARCH, path);
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
  type Repositories = Record<string, { settings: Record<string, string> }>;
  type Verified = { nodes: Record<string, unknown> };
  const path = `/_snapshot/${REPOSITORY}`;
  const found = await readJson<Repositories>(proxy, OPENSEARCH, path);
  const init = { method: "POST" };
  const verified = await readJson<Verified>(proxy, OPENSEARCH, `${path}/_verify`, init);
  const { base_path, shard_path_type } = found[REPOSITORY]?.settings ?? {};
  const folder = text(cluster, "S3_BASE_PATH");
  const nodes = number(cluster, "OPENSEARCH_NODES");
  const reached = Object.keys(verified.nodes).length;
  return [
    (base_path !== folder || shard_path_type !== "FIXED") && {
      what: `the repository ${REPOSITORY} writes to ${base_path} (${shard_path_type}), ` +
        `wanted ${folder} (FIXED)`,
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

/** Ms in which ISM takes an index under its policy, such as the new ones at midnight. */
const GRACE = 15 * 60_000;

/** Set as soon as an index is under a policy, before the first run of it. */
const POLICY_OF_INDEX = "index.plugins.index_state_management.policy_id";

/** One index of ISM's explain. */
interface Managed {
  [POLICY_OF_INDEX]?: string | null;
  /** false: ISM does not look at it any more. */
  enabled?: boolean | null;
  action?: { name: string; failed: boolean };
  step?: { name: string };
  info?: { message?: string; cause?: string };
}

interface SnapshotPolicies {
  policies: {
    name: string;
    deletion?: { latest_execution?: { status: string; info?: { message?: string } } };
  }[];
}

/** Indices are under the policy, and neither it nor the deletion of snapshots has failed. */
export async function lifecycle({ cluster, proxy }: Subject): Promise<Findings> {
  const read = <T>(path: string) => readJson<T>(proxy, OPENSEARCH, path);
  await read(`/_plugins/_ism/policies/${POLICY}`);
  const logs = LOG_INDICES.join(",");
  const list = `/_cat/indices/${logs}?format=json&h=index,creation.date`;
  const indices = await read<{ index: string; "creation.date": string }[]>(list);
  const young = indices.filter(({ "creation.date": at }) => Date.now() - Number(at) < GRACE)
    .map(({ index }) => index);
  // Explain answers 400 while there is no index, and gives total_managed_indices beside them.
  const explain: Record<string, Managed | number> = indices.length === 0
    ? {}
    : await read(`/_plugins/_ism/explain/${logs}`);
  const { policies } = await read<SnapshotPolicies>("/_plugins/_sm/policies/*/_explain");
  const failed = policies.filter(({ deletion }) => deletion?.latest_execution?.status === "FAILED");
  return [
    Object.entries(explain).map(([index, state]) =>
      typeof state !== "number" && !(young.includes(index) && !state[POLICY_OF_INDEX]) &&
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

// Checks of OpenSearch itself: its nodes, its plugins, its way to the bucket.
import type { ClusterProxy, Findings, Subject } from "../../lib/core/check.ts";
import { number, text } from "../../lib/core/cluster.ts";
import { readJson } from "../../lib/probe/http.ts";
import { OPENSEARCH, REPOSITORY } from "../components/logging/documents.ts";

/** What OpenSearch answers to a path, or to a body that is posted there. */
export function askOpenSearch<T>(proxy: ClusterProxy, path: string, body?: unknown): Promise<T> {
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify(body) };
  return readJson<T>(proxy, OPENSEARCH, path, body === undefined ? undefined : init);
}

/** Green, with all its nodes. */
export async function health({ cluster, proxy }: Subject): Promise<Findings> {
  type Health = { status: string; number_of_nodes: number; unassigned_shards: number };
  const found = await askOpenSearch<Health>(proxy, "/_cluster/health");
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
  type Repositories = Record<string, { settings: Record<string, string> }>;
  const found = await askOpenSearch<Repositories>(proxy, path);
  type Verified = { nodes: Record<string, unknown> };
  const verified = await readJson<Verified>(proxy, OPENSEARCH, `${path}/_verify`, post);
  const { base_path, shard_path_type } = found[REPOSITORY]?.settings ?? {};
  const folder = text(cluster, "S3_BASE_PATH");
  const nodes = number(cluster, "OPENSEARCH_NODES");
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

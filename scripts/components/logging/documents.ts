// The way into OpenSearch, and what it shall know of log indices: manifests/logging/documents/.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { Resources } from "../../../lib/core/resource.ts";
import { type Json, type OpenSearch, read } from "../../../lib/opensearch/client.ts";
import { document, managedIndices, wantedReplicas } from "../../../lib/opensearch/documents.ts";
import { openProxy } from "../../../lib/probe/http.ts";
import { renderFile } from "../../../lib/render/render.ts";

/** Its Service. */
export const OPENSEARCH = { namespace: "logging", name: "opensearch", port: "http" };
/** Kubernetes events, one index per UTC day. */
export const EVENTS = "logs-events-*";
/** Names that Fluent Bit writes to, one index per stream and UTC day. */
export const LOG_INDICES = ["logs-k8s-*", "logs-host-*", EVENTS];
/** All of them, as a path or a document of OpenSearch names them. */
export const LOGS = LOG_INDICES.join(",");
/** The repository that both policies name. */
export const REPOSITORY = "opensearch-logs";
/** The policy that log indices are under. */
export const POLICY = "logs-retention";
/** The policy that deletes old snapshots. */
export const SNAPSHOT_POLICY = "logs-snapshots";

/** Opens a way into OpenSearch; `once`: nothing is tried twice. @throws {DeployError} exit 5 or 8: no answer. */
export async function openOpenSearch(cluster: Cluster, once = false) {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await openProxy(cluster));
  const os: OpenSearch = {
    fetch: (path, init) => proxy.fetch(OPENSEARCH, path, init),
    tries: once ? 1 : undefined,
  };
  if (once) await read(os, "/");
  return Object.assign(stack.move(), os);
}

/** What OpenSearch itself must know. */
export const logDocuments: Resources<OpenSearch> = {
  title: "Index template and repository",
  live: true,
  open: openOpenSearch,
  of: (cluster) => [
    document("IndexTemplate", "logs", documentSpec("index-template", cluster)),
    document("SnapshotRepository", REPOSITORY, documentSpec("repository", cluster)),
    wantedReplicas(LOGS, replicas(cluster)),
  ],
};

/** What its plugin for index management must know; needs the repository of {@link logDocuments}. */
export const logPolicies: Resources<OpenSearch> = {
  title: "Policies of indices and snapshots",
  live: true,
  program: "index-management",
  open: openOpenSearch,
  of: (cluster) => [
    document("IndexPolicy", POLICY, documentSpec("index-policy", cluster)),
    managedIndices(LOGS, POLICY, documentSpec("index-policy", cluster)),
    document("SnapshotPolicy", SNAPSHOT_POLICY, documentSpec("snapshot-policy", cluster)),
    // The plugin makes its own index with one replica, whatever the default says.
    wantedReplicas(".opendistro-*", replicas(cluster)),
  ],
};

/** Copies of every index: none on a single node, which could not hold them. */
export function replicas(cluster: Cluster): number {
  return number(cluster, "OPENSEARCH_NODES") > 1 ? 1 : 0;
}

type DocumentName = "index-template" | "repository" | "index-policy" | "snapshot-policy";

/** A document of a cluster: each is a file of that name. */
export function documentSpec(name: DocumentName, cluster: Cluster): Json {
  return renderFile(`logging/documents/${name}.yaml`, cluster, {
    REPLICAS: replicas(cluster),
    INDEX_AGE: age(text(cluster, "LOG_RETENTION")),
    SNAPSHOT_AGE: age(text(cluster, "LOG_SNAPSHOT_RETENTION")),
    // 03:30 of a site; where its people read UTC, as by default, that of Korea.
    NIGHT: text(cluster, "TIMEZONE") === "UTC" ? "30 18 * * *" : "30 3 * * *",
  }).spec;
}

/** OpenSearch has no weeks. */
function age(duration: string): string {
  return duration.endsWith("w") ? `${durationSeconds(duration) / 86400}d` : duration;
}

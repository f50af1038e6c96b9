// What OpenSearch shall know of log indices: how they are made, when they move to S3, when they go. The documents are
// in manifests/logging/documents/.
import { type Cluster, number, text, type Vars } from "../../../lib/core/cluster.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { Resources } from "../../../lib/core/resource.ts";
import type { Json, OpenSearch } from "../../../lib/opensearch/client.ts";
import { document, wantedReplicas } from "../../../lib/opensearch/documents.ts";
import { managedIndices } from "../../../lib/opensearch/policies.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { openOpenSearch } from "./access.ts";

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

/** What OpenSearch itself must know. */
export const logDocuments: Resources<OpenSearch> = {
  title: "Index template and repository",
  live: true,
  open: openOpenSearch,
  of: (cluster) => [
    document("IndexTemplate", "logs", indexTemplate(cluster)),
    document("SnapshotRepository", REPOSITORY, repository(cluster)),
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
    document("IndexPolicy", POLICY, indexPolicy(cluster)),
    managedIndices(LOGS, POLICY, indexPolicy(cluster)),
    document("SnapshotPolicy", SNAPSHOT_POLICY, snapshotPolicy(cluster)),
    // The plugin makes its own index with one replica, whatever the default says.
    wantedReplicas(".opendistro-*", replicas(cluster)),
  ],
};

/** Copies of every index: none on a single node, which could not hold them. */
export function replicas(cluster: Cluster): number {
  return number(cluster, "OPENSEARCH_NODES") > 1 ? 1 : 0;
}

function specOf(name: string, cluster: Cluster, computed?: Vars): Json {
  return renderFile(`logging/documents/${name}.yaml`, cluster, computed).spec;
}

/** Settings and fields of a log index. */
export function indexTemplate(cluster: Cluster): Json {
  return specOf("index-template", cluster, { REPLICAS: replicas(cluster) });
}

/** The bucket as a snapshot repository. */
export function repository(cluster: Cluster): Json {
  return specOf("repository", cluster);
}

/** Index to S3 at LOG_RETENTION, then deleted. */
export function indexPolicy(cluster: Cluster): Json {
  return specOf("index-policy", cluster, { AGE: age(cluster, "LOG_RETENTION") });
}

/** Deletes the snapshots that the index policy makes at LOG_SNAPSHOT_RETENTION. */
export function snapshotPolicy(cluster: Cluster): Json {
  // 03:30 of a site; where its people read UTC, as by default, that of Korea.
  const NIGHT = text(cluster, "TIMEZONE") === "UTC" ? "30 18 * * *" : "30 3 * * *";
  return specOf("snapshot-policy", cluster, { NIGHT, AGE: age(cluster, "LOG_SNAPSHOT_RETENTION") });
}

/** A duration as OpenSearch reads it: it has no weeks. */
function age(cluster: Cluster, name: string): string {
  const value = text(cluster, name);
  return value.endsWith("w") ? `${durationSeconds(value) / 86400}d` : value;
}

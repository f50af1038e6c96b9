// What OpenSearch shall know of log indices, and where their snapshots go.
import type { Resources } from "../../../lib/core/resource.ts";
import type { OpenSearch } from "../../../lib/opensearch/client.ts";
import { document, wantedReplicas } from "../../../lib/opensearch/documents.ts";
import { managedIndices } from "../../../lib/opensearch/policies.ts";
import { openOpenSearch } from "./access.ts";
import { indexPolicy, indexTemplate, replicas, repository, snapshotPolicy } from "./documents.ts";
import { LOG_INDICES, POLICY, REPOSITORY, SNAPSHOT_POLICY } from "./documents.ts";

const LOGS = LOG_INDICES.join(",");

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

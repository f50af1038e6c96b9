// OpenSearch as code sees it: the way in, its objects that are built here (opensearch.yml, Secrets, alerts on ages), and
// what it shall know of log indices, from manifests/logging/documents/.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import { configMap, labelsOf, type Manifest, secret } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { Resources } from "../../../lib/core/resource.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { type Json, type OpenSearch, read } from "../../../lib/opensearch/client.ts";
import { document, managedIndices, wantedReplicas } from "../../../lib/opensearch/documents.ts";
import { openProxy } from "../../../lib/probe/http.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { SUBSTITUTE_ANNOTATION } from "../../../lib/render/template.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { keyOf } from "../../../lib/s3/client.ts";

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
    INDEX_AGE: inDays(text(cluster, "LOG_RETENTION")),
    SNAPSHOT_AGE: inDays(text(cluster, "LOG_SNAPSHOT_RETENTION")),
    // 03:30 of a site; where its people read UTC, as by default, that of Korea.
    NIGHT: text(cluster, "TIMEZONE") === "UTC" ? "30 18 * * *" : "30 3 * * *",
  }).spec;
}

/** OpenSearch has no weeks. */
function inDays(duration: string): string {
  return duration.endsWith("w") ? `${durationSeconds(duration) / 86400}d` : duration;
}

/** opensearch.yml for one node or several. */
export function opensearchConfig(cluster: Cluster): Record<string, unknown> {
  const REPLICAS = replicas(cluster);
  const { spec } = renderFile("logging/opensearch-config.yaml", cluster, { REPLICAS });
  return { ...spec.first, ...(REPLICAS === 0 ? spec.one : spec.several), ...spec.rest };
}

/** Its being there says that a cluster exists: a node whose volume was lost founds none beside the others. */
export const FOUNDED = "opensearch-founded";

const ACCESS_KEY = "s3.client.default.access_key", SECRET_KEY = "s3.client.default.secret_key";

/** Where OpenSearch finds the key of its bucket, for its keystore. */
export const openSearchKey: S3KeyHolder = {
  program: "OPENSEARCH",
  keeps: "logs",
  namespace: OPENSEARCH.namespace,
  name: "opensearch-s3-config",
  read: (values) => ({ accessKey: values[ACCESS_KEY], secretKey: values[SECRET_KEY] }),
};

/** Configuration, alerts and Secrets of OpenSearch: its key on S3, the login of the Ingress, the private CA of S3. */
export function loggingObjects(cluster: Cluster): Manifest[] {
  const { namespace } = OPENSEARCH, { s3Ca } = cluster;
  const version = text(cluster, "OPENSEARCH_VERSION");
  const labels = labelsOf({ name: "opensearch", component: "store", partOf: "logging", version });
  const annotations = { [SUBSTITUTE_ANNOTATION]: "disabled" }; // ${HOSTNAME} in it is for OpenSearch
  const config = { "opensearch.yml": toYaml(opensearchConfig(cluster)) };
  const { accessKey, secretKey } = keyOf(cluster, openSearchKey.program);
  const secrets = {
    [openSearchKey.name]: { [ACCESS_KEY]: accessKey, [SECRET_KEY]: secretKey },
    "opensearch-basic-auth": { auth: text(cluster, "UI_BASIC_AUTH") },
    ...s3Ca ? { "s3-ca": { "ca.crt": s3Ca } } : {},
  };
  return [
    configMap("opensearch-config", namespace, config, { labels, annotations }),
    configMap(FOUNDED, namespace, { cluster: "exists" }, { labels }),
    ageAlerts(cluster),
    ...Object.entries(secrets).map(([name, values]) => secret(name, namespace, values, { labels })),
  ];
}

function ageAlerts(cluster: Cluster): Manifest {
  const age = (setting: string, more: string) =>
    durationSeconds(text(cluster, setting)) + durationSeconds(more);
  const buffer = text(cluster, "LOG_BUFFER");
  // As Fluent Bit reads it, which counts in thousands.
  const bytes = Number.parseInt(buffer) * (buffer.endsWith("G") ? 1e9 : 1e6);
  return renderFile("logging/ages.yaml", cluster, {
    INDEX_DUE: age("LOG_RETENTION", "1d"),
    INDEX_STUCK: age("LOG_RETENTION", "2d"),
    SNAPSHOT_STUCK: age("LOG_SNAPSHOT_RETENTION", "5d"),
    BUFFER_PERCENT: bytes / 100,
  });
}

// Objects of 40-logging that are built in code: opensearch.yml and Secrets.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import { configMap, labelsOf, secret } from "../../../lib/core/object.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { SUBSTITUTE_ANNOTATION } from "../../../lib/render/template.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { keyOf } from "../../../lib/s3/client.ts";
import { replicas } from "./documents.ts";

const NAMESPACE = "logging";

/** opensearch.yml for one node or several. */
export function opensearchConfig(cluster: Cluster): Record<string, unknown> {
  const computed = { REPLICAS: replicas(cluster) };
  const { spec } = renderFile("logging/opensearch-config.yaml", cluster, computed);
  const nodes = number(cluster, "OPENSEARCH_NODES") === 1 ? spec.one : spec.several;
  return { ...spec.first, ...nodes, ...spec.rest };
}

/** Its being there says that a cluster exists: a node whose volume was lost founds none beside the others. */
export const FOUNDED = "opensearch-founded";

const ACCESS_KEY = "s3.client.default.access_key", SECRET_KEY = "s3.client.default.secret_key";

/** Where OpenSearch finds the key of its bucket, for its keystore. */
export const openSearchKey: S3KeyHolder = {
  program: "OPENSEARCH",
  keeps: "logs",
  namespace: NAMESPACE,
  name: "opensearch-s3-config",
  read: (values) => ({ accessKey: values[ACCESS_KEY], secretKey: values[SECRET_KEY] }),
};

/** Configuration, alerts and Secrets of OpenSearch: its key on S3, the login of the Ingress, the private CA of S3. */
export function loggingObjects(cluster: Cluster): Manifest[] {
  const version = text(cluster, "OPENSEARCH_VERSION");
  const labels = labelsOf({ name: "opensearch", component: "store", partOf: "logging", version });
  const config = { "opensearch.yml": toYaml(opensearchConfig(cluster)) };
  const { accessKey, secretKey } = keyOf(cluster, openSearchKey.program);
  const access = { [ACCESS_KEY]: accessKey, [SECRET_KEY]: secretKey };
  const login = { auth: text(cluster, "UI_BASIC_AUTH") };
  return [
    // ${HOSTNAME} in it is for OpenSearch.
    configMap("opensearch-config", NAMESPACE, config, {
      labels,
      annotations: { [SUBSTITUTE_ANNOTATION]: "disabled" },
    }),
    configMap(FOUNDED, NAMESPACE, { cluster: "exists" }, { labels }),
    ageAlerts(cluster),
    secret(openSearchKey.name, NAMESPACE, access, { labels }),
    secret("opensearch-basic-auth", NAMESPACE, login, { labels }),
    ...(cluster.s3Ca ? [secret("s3-ca", NAMESPACE, { "ca.crt": cluster.s3Ca }, { labels })] : []),
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

// Objects of 40-logging that are built in code: opensearch.yml and Secrets.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import {
  configMap,
  labelsOf,
  type Manifest,
  secret,
  SUBSTITUTE_ANNOTATION,
} from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { keyOf } from "../../../lib/s3/client.ts";
import { replicas } from "./documents.ts";

const NAMESPACE = "logging";

/** opensearch.yml; one node and several differ in how nodes find each other, in replicas and in watermarks. */
export function opensearchConfig(cluster: Cluster): Record<string, unknown> {
  return {
    // Equal to the external label of Prometheus: the exporter repeats it as label `cluster`.
    "cluster.name": text(cluster, "CLUSTER_NAME"),
    "node.name": "${HOSTNAME}",
    "network.host": "0.0.0.0",
    ...nodeSettings(number(cluster, "OPENSEARCH_NODES")),
    "plugins.security.disabled": true,
    "bootstrap.memory_lock": false,
    // Spares the host the kernel setting vm.max_map_count.
    "node.store.allow_mmap": false,
    "cluster.default_number_of_replicas": replicas(cluster),
    "plugins.index_state_management.history.number_of_replicas": replicas(cluster),
    "s3.client.default.endpoint": text(cluster, "S3_ENDPOINT"),
    "s3.client.default.region": text(cluster, "S3_REGION"),
    "s3.client.default.path_style_access": true,
  };
}

function nodeSettings(nodes: number): Record<string, unknown> {
  if (nodes === 1) {
    const watermark = "cluster.routing.allocation.disk.watermark";
    return {
      "discovery.type": "single-node",
      // A shard has nowhere else to go. Below flood stage a new day must find its place all the same: refused, its
      // lines are lost; red, it stops index management, which alone makes room.
      [`${watermark}.low`]: "95%",
      [`${watermark}.high`]: "95%",
      [`${watermark}.flood_stage`]: "95%",
    };
  }
  return {
    "discovery.seed_hosts": ["opensearch-headless"],
    // The first node alone may found a cluster, whatever their number; copy.sh takes this away once one exists.
    "cluster.initial_cluster_manager_nodes": "opensearch-0",
  };
}

/** Its being there says that a cluster exists: a node whose volume was lost founds none beside the others. */
export const FOUNDED = "opensearch-founded";

/** Where OpenSearch finds the key of its bucket, for its keystore. */
export const openSearchKey: S3KeyHolder = {
  program: "OPENSEARCH",
  keeps: "logs",
  namespace: NAMESPACE,
  name: "opensearch-s3-config",
  read: (values) => ({
    accessKey: values["s3.client.default.access_key"],
    secretKey: values["s3.client.default.secret_key"],
  }),
};

/**
 * opensearch.yml, {@link FOUNDED}, the alerts on settings, S3 keys for the keystore, the login of the Ingress, and the
 * CA of the S3 when it is private.
 */
export function loggingObjects(cluster: Cluster): Manifest[] {
  const version = text(cluster, "OPENSEARCH_VERSION");
  const about = { name: "opensearch", component: "store", partOf: "logging", version };
  const extra = { labels: labelsOf(about) };
  const config = { "opensearch.yml": toYaml(opensearchConfig(cluster)) };
  const { accessKey, secretKey } = keyOf(cluster, openSearchKey.program);
  const access = {
    "s3.client.default.access_key": accessKey,
    "s3.client.default.secret_key": secretKey,
  };
  const login = { auth: text(cluster, "UI_BASIC_AUTH") };
  return [
    // ${HOSTNAME} in it is for OpenSearch.
    configMap("opensearch-config", NAMESPACE, config, {
      ...extra,
      annotations: { [SUBSTITUTE_ANNOTATION]: "disabled" },
    }),
    configMap(FOUNDED, NAMESPACE, { cluster: "exists" }, extra),
    ageAlerts(cluster),
    secret(openSearchKey.name, NAMESPACE, access, extra),
    secret("opensearch-basic-auth", NAMESPACE, login, extra),
    ...(cluster.s3Ca ? [secret("s3-ca", NAMESPACE, { "ca.crt": cluster.s3Ca }, extra)] : []),
  ];
}

/** Ages in seconds, and what fills a hundredth of the buffer. */
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

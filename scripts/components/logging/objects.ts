// Objects of 40-logging that are built in code: opensearch.yml and Secrets.
import { stringify } from "yaml";
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import { configMap, labelsOf, type Manifest, secret } from "../../../lib/core/object.ts";
import { SUBSTITUTE_ANNOTATION } from "../../../lib/core/object.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { keyOf } from "../../../lib/s3/client.ts";
import { logAlerts } from "./alerts.ts";
import { replicas } from "./documents.ts";

const NAMESPACE = "logging";

/** opensearch.yml; one node and several differ in how nodes find each other, and in replicas. */
export function opensearchConfig(cluster: Cluster): Record<string, unknown> {
  return {
    // Equal to the external label of Prometheus: the exporter repeats it as label `cluster`.
    "cluster.name": text(cluster, "CLUSTER_NAME"),
    "node.name": "${HOSTNAME}",
    "network.host": "0.0.0.0",
    ...discovery(number(cluster, "OPENSEARCH_NODES")),
    "plugins.security.disabled": true,
    "bootstrap.memory_lock": false,
    // Spares the host the kernel setting vm.max_map_count.
    "node.store.allow_mmap": false,
    "cluster.default_number_of_replicas": replicas(cluster),
    "plugins.index_state_management.history.number_of_replicas": replicas(cluster),
    "cluster.routing.allocation.disk.watermark.enable_for_single_data_node": true,
    "s3.client.default.endpoint": text(cluster, "S3_ENDPOINT"),
    "s3.client.default.region": text(cluster, "S3_REGION"),
    "s3.client.default.path_style_access": true,
  };
}

function discovery(nodes: number): Record<string, unknown> {
  if (nodes === 1) return { "discovery.type": "single-node" };
  return {
    "discovery.seed_hosts": ["opensearch-headless"],
    // The first node alone may found a cluster, whatever their number; copy.sh takes this away once one exists.
    "cluster.initial_cluster_manager_nodes": "opensearch-0",
  };
}

/** Where OpenSearch finds the key of its bucket, for its keystore. */
export const openSearchKey: S3KeyHolder = {
  program: "OPENSEARCH",
  keeps: "logs",
  namespace: NAMESPACE,
  name: "opensearch-s3-config",
  read: (values) => ({
    accessKey: values["s3.client.default.access_key"],
    secretKey: values["s3.client.default.secret_key"],
/** Its being there says that a cluster exists: a node whose volume was lost founds none beside the others. */
export const FOUNDED = "opensearch-founded";

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
  const config = { "opensearch.yml": stringify(opensearchConfig(cluster)) };
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
    logAlerts(cluster),
    secret(openSearchKey.name, NAMESPACE, access, extra),
    secret("opensearch-basic-auth", NAMESPACE, login, extra),
    ...(cluster.s3Ca ? [secret("s3-ca", NAMESPACE, { "ca.crt": cluster.s3Ca }, extra)] : []),
  ];
}
    configMap(FOUNDED, NAMESPACE, { cluster: "exists" }, extra),

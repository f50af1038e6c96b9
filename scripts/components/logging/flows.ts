// Who talks to the programs of 40-logging, and to whom they talk.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import type { Network, Workload } from "../../../lib/core/network.ts";
import {
  ANYWHERE,
  door,
  fromApiServer,
  portOf,
  PROMETHEUS_PODS,
  toApiServer,
  toS3,
} from "../network/ends.ts";

const OPENSEARCH: Workload = { namespace: "logging", pod: "opensearch" };
const EXPORTER: Workload = { namespace: "logging", pod: "opensearch-exporter" };
const FLUENT_BIT: Workload = { namespace: "node-agents", pod: "fluent-bit" };

/** Flows of 40-logging. */
export function loggingNetwork(cluster: Cluster): Network {
  const plugin = pluginPort(cluster);
  return {
    workloads: [OPENSEARCH, EXPORTER, FLUENT_BIT],
    flows: [
      ...door(cluster, OPENSEARCH, 9200),
      { from: PROMETHEUS_PODS, to: EXPORTER, ports: [9114, 9115, 9116] },
      { from: PROMETHEUS_PODS, to: FLUENT_BIT, ports: [2020] },
      { from: FLUENT_BIT, to: OPENSEARCH, ports: [9200] },
      { from: EXPORTER, to: OPENSEARCH, ports: [9200] },
      { from: OPENSEARCH, to: OPENSEARCH, ports: [9300] },
      ...(plugin ? [{ from: OPENSEARCH, to: ANYWHERE, ports: [plugin] }] : []),
      ...toS3(cluster, OPENSEARCH),
      ...toApiServer(cluster, FLUENT_BIT),
      fromApiServer(cluster, OPENSEARCH, 9200),
    ],
  };
}

/**
 * Port of the web server that OpenSearch gets its S3 plugin from; undefined with an image of the site's
 * own and no such server: that image has the plugin.
 */
function pluginPort(cluster: Cluster): number | undefined {
  const url = text(cluster, "OPENSEARCH_S3_PLUGIN");
  if (url) return portOf(url);
  return text(cluster, "OPENSEARCH_IMAGE") === SETTINGS.OPENSEARCH_IMAGE!.default ? 443 : undefined;
}

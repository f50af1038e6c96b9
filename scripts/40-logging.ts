// 40-logging: OpenSearch with its snapshot repository and life cycle, then Fluent Bit on every node.
// Needs 20-prometheus and the bucket of 00-minio. Safe to run again: documents are compared first.
import { stringify } from "yaml";
import { type Cluster, number, text } from "../lib/cluster.ts";
import { main } from "../lib/command.ts";
import {
  configMap,
  labelsOf,
  type Manifest,
  secret,
  SUBSTITUTE_ANNOTATION,
} from "../lib/manifest.ts";
import {
  ensureIndexPolicy,
  ensureIndexTemplate,
  ensureReplicas,
  ensureRepository,
  ensureSnapshotPolicy,
  manageIndices,
  type OpenSearch,
  type Outcome,
  verifyRepository,
} from "../lib/opensearch.ts";
import { openProxy } from "../lib/proxy.ts";
import { durationSeconds } from "../lib/quantity.ts";
import { render } from "../lib/render.ts";
import { step } from "../lib/step.ts";
import {
  indexPolicy,
  indexTemplate,
  LOG_INDICES,
  replicas,
  REPOSITORY,
  repository,
  snapshotPolicy,
} from "./logging/documents.ts";

const NAMESPACE = "logging";
const POLICY = "logs-retention";
const SERVICE = { namespace: NAMESPACE, name: "opensearch", port: "http" };

export const logging = step({
  name: "40-logging",
  needs: ["20-prometheus"],
  objects: (cluster) =>
    render("logging", cluster, {
      add: [openSearchSettings(cluster), ageAlerts(cluster), ...secrets(cluster)],
    }),
  async run({ cluster, objects, phase, live, apply, ready, changed }) {
    const [store, collector] = split(objects);
    await phase("Apply OpenSearch", () => apply(store));
    await phase("OpenSearch ready", () => ready(store, 15));
    // Before the first line arrives: a template is in force for later indices only.
    await live("Index template, repository, policies", async () => {
      await using proxy = await openProxy(cluster);
      const os = { fetch: (path: string, init?: RequestInit) => proxy.fetch(SERVICE, path, init) };
      await ensureDocuments(os, cluster, changed);
    });
    await phase("Apply Fluent Bit", () => apply(collector));
    await phase("Fluent Bit ready", () => ready(collector));
  },
});

/** Everything that OpenSearch must know, in the order in which it builds on each other. */
export async function ensureDocuments(
  os: OpenSearch,
  cluster: Cluster,
  changed: (what: string) => void,
): Promise<void> {
  const report = (what: string, outcome: Outcome) => {
    if (outcome !== "unchanged") changed(`${what} ${outcome}`);
    return outcome;
  };
  const copies = replicas(cluster);
  const indices = LOG_INDICES.join(",");
  report("index template logs", await ensureIndexTemplate(os, "logs", indexTemplate(cluster)));
  report(
    `snapshot repository ${REPOSITORY}`,
    await ensureRepository(os, REPOSITORY, repository(cluster)),
  );
  await verifyRepository(
    os,
    REPOSITORY,
    `check S3_ENDPOINT, S3_CA_FILE and the keys (make 00-minio CLUSTER=${cluster.id}), then run again`,
  );
  const policy = report(
    `index policy ${POLICY}`,
    await ensureIndexPolicy(os, POLICY, indexPolicy(cluster)),
  );
  const renew = policy === "configured";
  report(`indices under ${POLICY}`, await manageIndices(os, indices, POLICY, { renew }));
  report(
    "snapshot policy logs-snapshots",
    await ensureSnapshotPolicy(os, "logs-snapshots", snapshotPolicy(cluster)),
  );
  // The plugin makes its own index with one replica, whatever the default says.
  report("replicas of .opendistro-*", await ensureReplicas(os, ".opendistro-*", copies));
  report(`replicas of ${indices}`, await ensureReplicas(os, indices, copies));
}

/** Objects of OpenSearch and what it needs, and those of the collector. */
function split(objects: Manifest[]): [store: Manifest[], collector: Manifest[]] {
  const isCollector = ({ metadata }: Manifest) =>
    metadata.labels?.["app.kubernetes.io/component"] === "collector";
  return [objects.filter((object) => !isCollector(object)), objects.filter(isCollector)];
}

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
    // Read only until a cluster exists: the first node alone may found one, whatever their number.
    "cluster.initial_cluster_manager_nodes": ["opensearch-0"],
  };
}

function openSearchSettings(cluster: Cluster): Manifest {
  const data = { "opensearch.yml": stringify(opensearchConfig(cluster)) };
  return configMap("opensearch-config", NAMESPACE, data, {
    labels: labels("opensearch", "store"),
    // ${HOSTNAME} in it is for OpenSearch.
    annotations: { [SUBSTITUTE_ANNOTATION]: "disabled" },
  });
}

function secrets(cluster: Cluster): Manifest[] {
  const extra = { labels: labels("opensearch", "store") };
  const access = {
    "s3.client.default.access_key": text(cluster, "S3_ACCESS_KEY"),
    "s3.client.default.secret_key": text(cluster, "S3_SECRET_KEY"),
  };
  const login = { auth: text(cluster, "UI_BASIC_AUTH") };
  return [
    secret("opensearch-s3-config", NAMESPACE, access, extra),
    secret("opensearch-basic-auth", NAMESPACE, login, extra),
    ...(cluster.s3Ca ? [secret("s3-ca", NAMESPACE, { "ca.crt": cluster.s3Ca }, extra)] : []),
  ];
}

/** Alerts on ages that are settings: an index that outlives its policy by two days is stuck. */
function ageAlerts(cluster: Cluster): Manifest {
  const retention = text(cluster, "LOG_RETENTION");
  const seconds = durationSeconds(retention) + durationSeconds("2d");
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "logging-ages", namespace: NAMESPACE, labels: labels("logging", "alerts") },
    spec: {
      groups: [{
        name: "opensearch-ages",
        rules: [{
          alert: "OpenSearchIndexStuck",
          expr:
            `time() - opensearch_indices_settings_creation_timestamp_seconds{index=~"logs-.*"} > ${seconds}`,
          for: "6h",
          labels: { severity: "critical" },
          annotations: {
            summary: "{{ $labels.index }} should have gone to S3",
            description:
              `It is two days older than LOG_RETENTION (${retention}): its snapshot has ` +
              "failed. Mend S3, then POST _plugins/_ism/retry/{{ $labels.index }}.",
          },
        }],
      }],
    },
  };
}

function labels(name: string, component: string): Record<string, string> {
  return labelsOf({ name, component, partOf: "logging", version: "3.9.0" });
}

if (import.meta.main) await main(logging);

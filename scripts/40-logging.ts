// 40-logging: OpenSearch with its snapshot repository and life cycle, then Fluent Bit on every node.
// Needs 20-prometheus and the bucket of 00-minio. Safe to run again: documents are compared first.
import type { Cluster } from "../lib/cluster.ts";
import { main } from "../lib/command.ts";
import type { Manifest } from "../lib/manifest.ts";
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
import { ageAlerts, openSearchSecrets, openSearchSettings } from "./logging/objects.ts";

const POLICY = "logs-retention";
const SERVICE = { namespace: "logging", name: "opensearch", port: "http" };

export const logging = step({
  name: "40-logging",
  needs: ["20-prometheus"],
  objects: (cluster) =>
    render("logging", cluster, {
      add: [openSearchSettings(cluster), ageAlerts(cluster), ...openSearchSecrets(cluster)],
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

if (import.meta.main) await main(logging);

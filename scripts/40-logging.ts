// 40-logging: OpenSearch with its snapshot repository and life cycle, then Fluent Bit on every node.
// Needs 20-prometheus and the bucket of 00-minio. Safe to run again: documents are compared first.
import "./needs.ts";
import { BEFORE, LIVE } from "../lib/core/check.ts";
import { kernel } from "./checks/node.ts";
import { archive, headroom } from "./checks/archive.ts";
import { bucketOf } from "./checks/s3.ts";
import { fresh, marker } from "./checks/logs.ts";
import { dropped, indexed } from "./checks/metrics.ts";
import { health, lifecycle, logRepository, plugins } from "./checks/opensearch.ts";
import { type Cluster, number } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import type { Manifest } from "../lib/core/object.ts";
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
} from "../lib/opensearch/documents.ts";
import { render } from "../lib/render/render.ts";
import { step } from "../lib/deploy/step.ts";
import { withOpenSearch } from "./components/logging/access.ts";
import { logAlerts } from "./components/logging/alerts.ts";
import {
  indexPolicy,
  indexTemplate,
  LOG_INDICES,
  POLICY,
  replicas,
  REPOSITORY,
  repository,
  snapshotPolicy,
} from "./components/logging/documents.ts";
import {
  clearExclusions,
  leavingNodes,
  moveShards,
  withdrawVotes,
} from "./components/logging/nodes.ts";
import {
  openSearchKey,
  openSearchSecrets,
  openSearchSettings,
} from "./components/logging/objects.ts";
import { policiesIn } from "./networks.ts";

const LOGS = LOG_INDICES.join(",");

// What needs a program that may be a stand-in.
const MANAGED = { ...LIVE, program: "index-management" };
const COLLECTED = { ...LIVE, program: "fluent-bit" };

export const logging = step({
  name: "40-logging",
  needs: ["20-prometheus"],
  checks: [
    { ...BEFORE, needs: "pods", name: "Kernel settings", hop: "node -> OpenSearch", run: kernel },
    { ...LIVE, name: "OpenSearch", hop: "OpenSearch nodes", run: health },
    { ...MANAGED, name: "OpenSearch plugins", hop: "image -> OpenSearch", run: plugins },
    { ...LIVE, name: "Room for logs", hop: "OpenSearch -> volume", run: headroom },
    bucketOf(openSearchKey),
    { ...LIVE, s3: true, name: "Log snapshots", hop: "OpenSearch -> S3", run: logRepository },
    { ...LIVE, name: "Log archive", hop: "index -> S3", run: archive },
    { ...MANAGED, name: "Log lifecycle", hop: "index -> snapshot -> deletion", run: lifecycle },
    { ...COLLECTED, name: "Marker line", hop: "pod -> Fluent Bit -> OpenSearch", run: marker },
    { ...COLLECTED, name: "Fresh logs", hop: "node -> Fluent Bit -> OpenSearch", run: fresh },
    { ...COLLECTED, name: "Dropped logs", hop: "Fluent Bit -> Prometheus", run: dropped },
    { ...LIVE, name: "OpenSearch metrics", hop: "OpenSearch -> Prometheus", run: indexed },
  ],
  s3Key: openSearchKey,
  objects: (cluster) =>
    render("logging", cluster, {
      add: [
        openSearchSettings(cluster),
        logAlerts(cluster),
        ...openSearchSecrets(cluster),
        ...policiesIn(cluster, "logging", "node-agents"),
      ],
    }),
  async run({ cluster, objects, report, phase, live, apply, ready, changed }) {
    const [store, collector] = split(objects);
    const waiting = (missing: string) => report.waiting(missing);
    const leaving = await leavingNodes(cluster);
    if (leaving.length > 0) {
      await live(`Empty ${leaving.join(", ")}`, () => empty(cluster, leaving, waiting));
    }
    await phase("Apply OpenSearch", () => apply(store));
    await phase("OpenSearch ready", () => ready(store, 15));
    // Before the first line arrives: a template is in force for later indices only.
    await live("Index template and repository", () => {
      return withOpenSearch(cluster, (os) => ensureDocuments(os, cluster, changed, waiting));
    });
    await live("Policies of indices and snapshots", () => {
      return withOpenSearch(cluster, (os) => ensurePolicies(os, cluster, changed));
    }, "index-management");
    await phase("Apply Fluent Bit", () => apply(collector));
    await phase("Fluent Bit ready", () => ready(collector));
  },
});

/** Nodes that go keep no shard and no vote; until then nothing is taken away. */
async function empty(
  cluster: Cluster,
  leaving: string[],
  say: (missing: string) => void,
): Promise<void> {
  await withOpenSearch(cluster, async (os) => {
    await moveShards(os, leaving, number(cluster, "OPENSEARCH_NODES"), { say });
    await withdrawVotes(os, leaving);
  });
}

/** What OpenSearch itself must know of log indices, and where their snapshots go. */
export async function ensureDocuments(
  os: OpenSearch,
  cluster: Cluster,
  changed: (what: string) => void,
  say?: (missing: string) => void,
): Promise<void> {
  const report = reporter(changed);
  const nodes = number(cluster, "OPENSEARCH_NODES");
  report("exclusions of removed nodes", await clearExclusions(os, nodes, { say }));
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
  const copies = replicas(cluster);
  report(`replicas of ${LOGS}`, await ensureReplicas(os, LOGS, copies));
}

/** What its plugin for index management must know; needs the repository of {@link ensureDocuments}. */
export async function ensurePolicies(
  os: OpenSearch,
  cluster: Cluster,
  changed: (what: string) => void,
): Promise<void> {
  const report = reporter(changed);
  const policy = report(
    `index policy ${POLICY}`,
    await ensureIndexPolicy(os, POLICY, indexPolicy(cluster)),
  );
  const renew = policy === "configured";
  report(`indices under ${POLICY}`, await manageIndices(os, LOGS, POLICY, { renew }));
  report(
    "snapshot policy logs-snapshots",
    await ensureSnapshotPolicy(os, "logs-snapshots", snapshotPolicy(cluster)),
  );
  // The plugin makes its own index with one replica, whatever the default says.
  const hidden = ".opendistro-*";
  report(`replicas of ${hidden}`, await ensureReplicas(os, hidden, replicas(cluster)));
}

/** Tells `changed` of outcomes that are changes, and passes all of them on. */
function reporter(changed: (what: string) => void): (what: string, outcome: Outcome) => Outcome {
  return (what, outcome) => {
    if (outcome !== "unchanged") changed(`${what} ${outcome}`);
    return outcome;
  };
}

/** Objects of OpenSearch and what it needs, and those of the collector. */
function split(objects: Manifest[]): [store: Manifest[], collector: Manifest[]] {
  const isCollector = ({ metadata }: Manifest) =>
    metadata.labels?.["app.kubernetes.io/component"] === "collector";
  return [objects.filter((object) => !isCollector(object)), objects.filter(isCollector)];
}

if (import.meta.main) await main(logging);

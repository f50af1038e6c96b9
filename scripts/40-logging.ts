// 40-logging: OpenSearch with its snapshot repository and life cycle, then Fluent Bit on every node, and for events.
// Needs 20-prometheus and the bucket of 00-minio. Safe to run again: documents are compared first.
import "./needs.ts";
import { BY_POD, LIVE } from "../lib/core/check.ts";
import { archive, headroom, lifecycle } from "./checks/opensearch.ts";
import { kernel } from "./checks/node.ts";
import { bucketOf } from "./checks/s3.ts";
import { events, fresh, marker } from "./checks/logs.ts";
import { dropped, indexed } from "./checks/metrics.ts";
import { health, logRepository, plugins } from "./checks/opensearch.ts";
import { type Cluster, number } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import type { Manifest } from "../lib/core/object.ts";
import { answerRefusal, type OpenSearch, request } from "../lib/opensearch/client.ts";
import { render } from "../lib/render/render.ts";
import { step } from "../lib/deploy/step.ts";
import * as nodes from "./components/logging/nodes.ts";
import { FOUNDED, logDocuments, logPolicies, REPOSITORY } from "./components/logging/objects.ts";
import { loggingObjects, openOpenSearch, openSearchKey } from "./components/logging/objects.ts";
import { backupGroup } from "./components/longhorn/backups.ts";
import { opensOf, policiesIn } from "./components/network/network.ts";

// What needs a program that may be a stand-in.
const MANAGED = { ...LIVE, program: "index-management" };
const COLLECTED = { ...LIVE, program: "fluent-bit" }, SLOW = { ...COLLECTED, slow: true };

export const logging = step({
  name: "40-logging",
  needs: ["20-prometheus"],
  checks: [
    { ...BY_POD, name: "Kernel settings", hop: "node -> OpenSearch", run: kernel },
    { ...LIVE, name: "OpenSearch", hop: "OpenSearch nodes", run: health },
    { ...MANAGED, name: "OpenSearch plugins", hop: "image -> OpenSearch", run: plugins },
    { ...LIVE, name: "Room for logs", hop: "OpenSearch -> volume", run: headroom },
    bucketOf(openSearchKey),
    { ...LIVE, s3: true, name: "Log snapshots", hop: "OpenSearch -> S3", run: logRepository },
    { ...MANAGED, name: "Log archive", hop: "index -> S3", run: archive },
    { ...MANAGED, name: "Log lifecycle", hop: "index -> snapshot -> deletion", run: lifecycle },
    { ...SLOW, name: "Marker line", hop: "pod -> Fluent Bit -> OpenSearch", run: marker },
    { ...COLLECTED, name: "Events", hop: "API server -> Fluent Bit -> OpenSearch", run: events },
    { ...COLLECTED, name: "Fresh logs", hop: "node -> Fluent Bit -> OpenSearch", run: fresh },
    { ...COLLECTED, name: "Dropped logs", hop: "Fluent Bit -> Prometheus", run: dropped },
    { ...LIVE, name: "OpenSearch metrics", hop: "OpenSearch -> Prometheus", run: indexed },
  ],
  s3Key: openSearchKey,
  opens: opensOf("40-logging"),
  objects: (cluster) =>
    render("logging", cluster, {
      add: [...loggingObjects(cluster), ...policiesIn(cluster, "logging", "node-agents")],
    }),
  resources: [logDocuments, logPolicies, backupGroup],
  async run({ cluster, objects, report, phase, live, apply, ready, put, isIdle, changed }) {
    const { collector = [], founded = [], store = [] } = Object.groupBy(objects, partOf);
    const wanted = number(cluster, "OPENSEARCH_NODES"), { waiting: say } = report;
    const leaving = await nodes.leavingNodes(cluster);
    if (leaving.length > 0) {
      await live(`Empty ${leaving.join(", ")}`, async () => {
        // Nodes that go keep no shard and no vote; until then nothing is taken away.
        await using os = await openOpenSearch(cluster);
        await nodes.moveShards(os, leaving, wanted, { say });
        await nodes.withdrawVotes(os, leaving);
      });
    }
    await phase("Apply OpenSearch", () => apply(store));
    await phase("OpenSearch ready", () => ready(store, 15));
    // Before the first line arrives: a template is in force for later indices only.
    await put(logDocuments);
    // Only a cluster with a manager takes documents.
    await phase("Note that a cluster exists", () => apply(founded));
    await live("Nodes and repository in use", async () => {
      await using os = await openOpenSearch(cluster);
      const cleared = await nodes.clearExclusions(os, wanted, { say });
      if (cleared) changed("exclusions of removed nodes cleared");
      // 50-verify asks the same next.
      if (!isIdle()) await proveRepository(os, cluster);
    });
    await put(logPolicies);
    await phase("Apply Fluent Bit", () => apply(collector));
    await phase("Fluent Bit ready", () => ready(collector));
    // By now every claim that this project makes is there.
    await put(backupGroup);
  },
});

/** Proves that every node can use the repository. @throws {DeployError} exit 8 where one cannot. */
export async function proveRepository(os: OpenSearch, { id }: Cluster): Promise<void> {
  const path = `/_snapshot/${REPOSITORY}/_verify`, answer = await request(os, "POST", path);
  const fix = `check S3_ENDPOINT, S3_CA_FILE and the keys (make 00-minio CLUSTER=${id}), run again`;
  if (answer.status >= 300) throw answerRefusal("POST", path, answer, fix);
}

function partOf({ metadata: { name, labels } }: Manifest): "collector" | "founded" | "store" {
  if (labels?.["app.kubernetes.io/component"] === "collector") return "collector";
  return name === FOUNDED ? "founded" : "store";
}

if (import.meta.main) await main(logging);

// What a deploy would meet, one row a thing with its fix; short pods look at nodes and S3, and nothing is changed.
import "../needs.ts";
import { BEFORE, BY_API, BY_POD, type Check, checksOf } from "../../lib/core/check.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { choiceFor, command, LOOKS, tellWarnings } from "../../lib/cli/command.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { documentOf, print, printJson, Report } from "../../lib/io/report.ts";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { CLUSTERS_AT_ONCE } from "../../lib/kube/turns.ts";
import { desiredOf } from "../../lib/deploy/step.ts";
import * as probe from "../../lib/probe/check.ts";
import { STEPS } from "../steps.ts";
import * as access from "../checks/access.ts";
import * as node from "../checks/node.ts";
import { room } from "../checks/room.ts";

function row(when: Pick<Check, "when" | "needs">, name: string, hop: string, run: Check["run"]) {
  return { ...when, name, hop, run };
}

/** Of the machine and the cluster as a whole; the steps bring their own. */
export const CHECKS_BEFORE: Check[] = [
  row(BEFORE, "Tools", "this machine", access.tools),
  row(BEFORE, probe.TARGET, "kubectl -> API server", access.target),
  row(BY_API, "Rights", "user -> API server", access.rights),
  row(BEFORE, "Client certificate", "kubectl -> API server", access.clientCertificate),
  row(BEFORE, "API server certificate", "API server -> kubectl", access.apiCertificate),
  row(BY_POD, "Nodes", "pods -> nodes", node.nodes),
  row(BY_API, "Room for pods", "pods -> nodes", room),
  row(BY_API, "Node address", "people -> node", access.nodeAddress),
  row(BY_POD, "Host ports", "pods -> node", node.hostPorts),
  row(BY_POD, "Firewall", "pods -> pods", node.onNodes(node.firewall)),
  row(BY_POD, "Search domains", "pods -> names", node.onNodes(node.searchDomains)),
  row(BY_POD, "Room for images", "images -> node", node.onNodes(node.imageRoom)),
  row(BY_POD, "cgroup", "node", node.onNodes(node.cgroup)),
  row(BY_POD, "Clock of the node", "node -> this machine", node.onNodes(node.nodeClock)),
];

const FLAGS = { json: "as JSON on stdout (docs/schema/preflight.json)" };

await command("preflight.ts CLUSTER... | GROUP... | edges | all", FLAGS, async (ids, flags) => {
  const { clusters } = await choiceFor(ids, LOOKS);
  tellWarnings(clusters);
  const looks = await looksAt(clusters);
  if (flags.json) printJson(preflightJson(looks));
  else for (const { id, name, rows } of looks) print(`${id}  ${name}\n${probe.tableOf(rows)}\n\n`);
  return probe.exitCodeOfRows(looks.flatMap(({ rows }) => rows));
}, import.meta.main);

/** Looks at all of them, as many side by side as are in work at once: each has a kubectl that goes on. */
export function looksAt(clusters: Cluster[], look = preflight) {
  return sideBySide(clusters, CLUSTERS_AT_ONCE, async (cluster) => {
    const { id, name } = cluster, report = new Report(clusters.length > 1 ? `${id} | ` : "");
    return { id, name, rows: await look(cluster, report) };
  });
}

/** What was looked at, for programs. */
export function preflightJson(looks: Awaited<ReturnType<typeof looksAt>>): string {
  const checked = looks.map(({ rows, ...look }) => ({ ...look, checks: probe.verdictsOf(rows) }));
  return documentOf("preflight/v1", { at: new Date().toISOString(), clusters: checked });
}

/** Looks at everything; `report` is told what takes its time. `objects` gives those of all steps. */
export async function preflight(
  cluster: Cluster,
  report: Report,
  objects: () => Manifest[] | Promise<Manifest[]> = () => desiredOf(STEPS, cluster),
): Promise<probe.Row[]> {
  const when = "before", { waiting: say } = report;
  await using subject = probe.openSubject(cluster, { when, objects, say });
  const checks = checksOf(STEPS, cluster, when, CHECKS_BEFORE);
  say(`looking at ${checks.length} things of ${cluster.name}`);
  return await probe.runChecks(checks, subject);
}

// What a deploy would meet: this machine, the cluster, its nodes and the S3, one row for each thing with the fix for what
// is not well. Nothing is changed: the short pods that look at the nodes and at the S3 are removed again.
import "../needs.ts";
import { BEFORE, BY_API, BY_POD, type Check, checksOf } from "../../lib/core/check.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { clustersFor, command, LOOKS, tellWarnings } from "../../lib/cli/command.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { documentOf, print, printJson, Report } from "../../lib/io/report.ts";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { CLUSTERS_AT_ONCE } from "../../lib/kube/turns.ts";
import { desiredOf } from "../../lib/deploy/step.ts";
import * as probe from "../../lib/probe/check.ts";
import { STEPS } from "../steps.ts";
import {
  apiCertificate,
  clientCertificate,
  nodeAddress,
  rights,
  target,
  tools,
} from "../checks/access.ts";
import {
  cgroup,
  firewall,
  hostPorts,
  imageRoom,
  nodeClock,
  nodes,
  onNodes,
  searchDomains,
} from "../checks/node.ts";
import { room } from "../checks/room.ts";

/** Of the machine and the cluster as a whole; the steps bring their own. */
export const CHECKS_BEFORE: Check[] = [
  { ...BEFORE, name: "Tools", hop: "this machine", run: tools },
  { ...BEFORE, name: probe.TARGET, hop: "kubectl -> API server", run: target },
  { ...BY_API, name: "Rights", hop: "user -> API server", run: rights },
  { ...BEFORE, name: "Client certificate", hop: "kubectl -> API server", run: clientCertificate },
  { ...BEFORE, name: "API server certificate", hop: "API server -> kubectl", run: apiCertificate },
  { ...BY_POD, name: "Nodes", hop: "pods -> nodes", run: nodes },
  { ...BY_API, name: "Room for pods", hop: "pods -> nodes", run: room },
  { ...BY_API, name: "Node address", hop: "people -> node", run: nodeAddress },
  { ...BY_POD, name: "Host ports", hop: "pods -> node", run: hostPorts },
  { ...BY_POD, name: "Firewall", hop: "pods -> pods", run: onNodes(firewall) },
  { ...BY_POD, name: "Search domains", hop: "pods -> names", run: onNodes(searchDomains) },
  { ...BY_POD, name: "Room for images", hop: "images -> node", run: onNodes(imageRoom) },
  { ...BY_POD, name: "cgroup", hop: "node", run: onNodes(cgroup) },
  { ...BY_POD, name: "Clock of the node", hop: "node -> this machine", run: onNodes(nodeClock) },
];

const FLAGS = { json: "as JSON on stdout (docs/schema/preflight.json)" };

if (import.meta.main) {
  await command("preflight.ts CLUSTER... | GROUP... | edges | all", FLAGS, async (ids, flags) => {
    const clusters = await clustersFor(ids, LOOKS);
    tellWarnings(clusters);
    const looks = await looksAt(clusters);
    const pages = looks.map(({ id, name, rows }) =>
      `${id}  ${name}
${probe.tableOf(rows)}

`
    );
    if (flags.json) printJson(preflightJson(looks));
    else print(pages.join(""));
    return probe.exitCodeOfRows(looks.flatMap(({ rows }) => rows));
  });
}

/** What was seen of a cluster. */
interface Look {
  id: string;
  name: string;
  rows: probe.Row[];
}

/** Looks at all of them, as many side by side as are in work at once: each has a kubectl that goes on. */
export function looksAt(clusters: Cluster[], look = preflight): Promise<Look[]> {
  return sideBySide(clusters, CLUSTERS_AT_ONCE, async (cluster) => {
    const { id, name } = cluster, report = new Report(clusters.length > 1 ? `${id} | ` : "");
    return { id, name, rows: await look(cluster, report) };
  });
}

/** What was looked at, for programs. */
export function preflightJson(looks: Look[]): string {
  const clusters = looks.map(({ id, name, rows }) => (
    { id, name, checks: probe.verdictsOf(rows) }
  ));
  return documentOf("preflight/v1", { at: new Date().toISOString(), clusters });
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

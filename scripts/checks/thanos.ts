// Checks of the fleet as the central Thanos Query sees it.
import { type Finding, note, type Subject } from "../../lib/core/check.ts";
import { type Cluster, list, type Peer } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { type Absence, absenceOf } from "../components/thanos/absence.ts";
import { edgeAddress, edgesOf } from "../components/thanos/fleet.ts";
import {
  missingPrograms,
  QUERY,
  readStores,
  type Stores,
  whyMissing,
} from "../components/thanos/stores.ts";
import { type Alert, alertsOf, criticalProblems, rulerGroups } from "./alertmanager.ts";
import { ask, type Sample } from "./metrics.ts";
import { failingRules, groupsOf, type RuleGroup } from "./prometheus.ts";

/** The Ruler of the central cluster. */
const RULER = { namespace: "monitoring", name: "thanos-ruler", port: 10902 };

/** Query is in touch with its own programs and with every edge that is deployed. */
export async function endpoints(subject: Subject): Promise<Finding[]> {
  const { stores, absence } = await seenByQuery(subject);
  return [...absence.notes.map(note), ...endpointProblems(stores, absence, subject.cluster)];
}

/** What Query is in touch with now, and the edges that it lacks. */
async function seenByQuery({ cluster, fleet, proxy }: Subject) {
  const stores = await readStores(await proxy());
  return { stores, absence: await absenceOf(stores, edgesOf(cluster), fleet) };
}

/** Endpoints that Query lacks. */
export function endpointProblems(
  stores: Stores,
  { lost }: Absence,
  cluster: Cluster,
): Finding[] {
  return [
    ...missingPrograms(stores, cluster).map((line) => ({
      what: line,
      cause: "its pod is not ready, or the headless Service has no port grpc",
      fix: "kubectl -n monitoring get pods,endpointslices; logs of deploy/thanos-query",
    })),
    ...lost.map(({ edge, reason }) => ({
      what: whyMissing(stores, cluster, edge),
      cause: reason
        ? `the edge, or the way to it, is down; it cannot be asked either: ${reason}`
        : "the edge is down, or a firewall closes the NodePort",
      fix: `nc -vz ${edgeAddress(cluster, edge).replace(":", " ")} from the central node, then ` +
        `make verify-${edge.id}`,
    })),
  ];
}

/** Samples of every cluster that is deployed are visible, and replicas are merged. */
export async function clusters(subject: Subject): Promise<Finding[]> {
  const { cluster, proxy } = subject;
  const way = await proxy();
  const { absence: { excused } } = await seenByQuery(subject);
  return sampleProblems(
    await ask(way, QUERY, "count by (cluster) (up)"),
    await ask(way, QUERY, "count by (prometheus_replica) (up)"),
    cluster.fleet.filter(({ id }) => !excused.some((edge) => edge.id === id)),
  );
}

/** Clusters of these without samples, and replica labels that are still visible. */
export function sampleProblems(
  counts: Sample[],
  replicas: Sample[],
  wanted: Peer[],
): Finding[] {
  const seen = new Set(counts.map(({ metric }) => metric.cluster));
  const problems = wanted.filter(({ name }) => !seen.has(name)).map(({ id, name }) => ({
    what: `Thanos Query has no samples of ${name}`,
    cause: "its sidecar is not connected, or its external label cluster is another",
    fix: `make verify-${id}, then look at the check Thanos endpoints`,
  }));
  if (replicas.some(({ metric }) => metric.prometheus_replica)) {
    problems.push({
      what: "Thanos Query does not merge replicas: prometheus_replica is still visible",
      cause: "--query.replica-label and replicaExternalLabelName of Prometheus differ",
      fix: "make 20-prometheus and 30-thanos; compare the two names",
    });
  }
  return problems;
}

/** The Ruler has its rules, they evaluate, and what they find arrives at Alertmanager. */
export async function globalRules({ objects, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const [groups, alerts] = await Promise.all([groupsOf(way, RULER), alertsOf(way)]);
  return globalProblems(groups, alerts, await objects());
}

/** Rules that the Ruler lacks or cannot evaluate, and its heartbeat where it is missing. */
export function globalProblems(
  groups: RuleGroup[],
  alerts: Alert[],
  objects: Manifest[],
): Finding[] {
  const make = "make 30-thanos";
  const lost = rulerGroups(objects).filter(({ name, rules }) =>
    !groups.some((group) => group.name === name && group.rules.length === rules.length)
  ).map(({ name }) => ({
    what: `the Ruler has not the rules of group ${name} as they are wanted`,
    cause: "its ConfigMap was changed by hand, or the Ruler has not read it again",
    fix: `${make}; kubectl -n monitoring logs thanos-ruler-0 --all-containers | grep -i rule`,
  }));
  const heartbeat = alerts.some(({ labels }) => labels.alertname === "GlobalWatchdog");
  return [
    ...lost,
    ...failingRules(groups, make),
    ...heartbeat ? [] : [{
      what: "Alertmanager has no GlobalWatchdog: no alert of the Ruler arrives there",
      cause: "the Ruler is down, gets no answer from Query, or --alertmanagers.url leads elsewhere",
      fix: "kubectl -n monitoring logs thanos-ruler-0 -c thanos-ruler --tail=50",
    }],
  ];
}

/** No alert says that something is broken now; of an edge that nobody has deployed it may. */
export async function criticalAlerts(subject: Subject): Promise<Finding[]> {
  const { cluster, objects, proxy } = subject;
  const alerts = await alertsOf(await proxy());
  const isCentral = cluster.role === "central";
  const excused = isCentral ? (await seenByQuery(subject)).absence.excused : [];
  const names = excused.map(({ name }) => name);
  return criticalProblems(alerts, await objects(), names, list(cluster, "STAND_INS"));
}

// Checks of the fleet as the central Thanos Query sees it, and that no critical alert fires.
import { parse } from "yaml";
import { type Findings, isStandIn, note, ok, type Subject } from "../../lib/core/check.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { runbookAt } from "../components/prometheus/dashboards.ts";
import { edgesOf } from "../components/thanos/fleet.ts";
import * as query from "../components/thanos/stores.ts";
import { type Alert, alertsOf, ask, groupsOf } from "./metrics.ts";
import { failingRules } from "./prometheus.ts";

/** The Ruler of the central cluster. */
export const RULER = { namespace: "monitoring", name: "thanos-ruler", port: 10902 };

/** What Query is in touch with now, and the edges that it lacks. */
async function seenByQuery({ cluster, proxy }: Subject) {
  const stores = await query.readStores(proxy);
  return { stores, ...await query.absenceOf(stores, edgesOf(cluster)) };
}

/** Query is in touch with its own programs and with every edge that is deployed. */
export async function endpoints(subject: Subject): Promise<Findings> {
  const { cluster } = subject;
  const { stores, lost, notes } = await seenByQuery(subject);
  return [
    notes.map(note),
    query.missingPrograms(stores, cluster).map((line) => ({
      what: line,
      cause: "its pod is not ready, or the headless Service has no port grpc",
      fix: "kubectl -n monitoring get pods,endpointslices; logs of deploy/thanos-query",
    })),
    lost.map(({ edge, reason }) => ({
      what: query.whyMissing(stores, edge),
      cause: reason
        ? `the edge, or the way to it, is down; it cannot be asked either: ${reason}`
        : "the edge is down, or a firewall closes the NodePort",
      fix: `on the central node: nc -vz ${edge.sidecar.replace(":", " ")}; make verify-${edge.id}`,
    })),
  ];
}

/** Samples of every cluster that is deployed are visible, and replicas are merged. */
export async function clusters(subject: Subject): Promise<Findings> {
  const { cluster, proxy } = subject;
  const { excused } = await seenByQuery(subject);
  const counts = await ask(proxy, query.QUERY, "count by (cluster) (up)");
  const replicas = await ask(proxy, query.QUERY, "count by (prometheus_replica) (up)");
  const seen = new Set(counts.map(({ metric }) => metric.cluster));
  const wanted = cluster.fleet.filter(({ id }) => !excused.some((edge) => edge.id === id));
  return [
    wanted.filter(({ name }) => !seen.has(name)).map(({ id, name }) => ({
      what: `Thanos Query has no samples of ${name}`,
      cause: "its sidecar is not connected, or its external label cluster is another",
      fix: `make verify-${id}, then look at the check Thanos endpoints`,
    })),
    replicas.some(({ metric }) => metric.prometheus_replica) && {
      what: "Thanos Query does not merge replicas: prometheus_replica is still visible",
      cause: "--query.replica-label and replicaExternalLabelName of Prometheus differ",
      fix: "make 20-prometheus and 30-thanos; compare the two names",
    },
  ];
}

/** The Ruler has its rules, they evaluate, and what they find arrives at Alertmanager. */
export async function globalRules({ objects, proxy }: Subject): Promise<Findings> {
  const [groups, alerts] = await Promise.all([groupsOf(proxy, RULER), alertsOf(proxy)]);
  const make = "make 30-thanos";
  const isThere = ({ name, rules }: Group) =>
    groups.some((group) => group.name === name && group.rules.length === rules.length);
  return [
    rulerGroups(await objects()).filter((group) => !isThere(group)).map(({ name }) => ({
      what: `the Ruler has not the rules of group ${name} as they are wanted`,
      cause: "its ConfigMap was changed by hand, or the Ruler has not read it again",
      fix: `${make}; kubectl -n monitoring logs thanos-ruler-0 --all-containers | grep -i rule`,
    })),
    failingRules(groups, make),
    !alerts.some(({ labels }) => labels.alertname === "GlobalWatchdog") && {
      what: "Alertmanager has no GlobalWatchdog: no alert of the Ruler arrives there",
      cause: "the Ruler is down, gets no answer from Query, or --alertmanagers.url leads elsewhere",
      fix: "kubectl -n monitoring logs thanos-ruler-0 -c thanos-ruler --tail=50",
    },
  ];
}

/** No critical alert of ours fires that is not silenced; one about what is not there, or not ours, is a note. */
export async function criticalAlerts(subject: Subject): Promise<Findings> {
  const { cluster, objects, proxy } = subject;
  const excused = cluster.role === "central" ? (await seenByQuery(subject)).excused : [];
  const groups = (await objects()).flatMap((object): Group[] =>
    object.kind === "PrometheusRule" ? object.spec.groups : rulerGroups([object])
  );
  const known = new Set(groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? [])));
  const excuseOf = ({ labels: { alertname, cluster: of, edge, job } }: Alert) => {
    if (!known.has(alertname!)) return "not about what is ours here";
    const isExcused = excused.some(({ name }) => name === of || name === edge);
    if (isExcused) return "about an edge that is not deployed";
    return isStandIn(cluster, job) ? "about a stand-in" : "none";
  };
  const firing = (await alertsOf(proxy)).filter(({ labels, status }) =>
    labels.severity === "critical" && status.state !== "suppressed"
  );
  const { none: ours = [], ...others } = Object.groupBy(firing, excuseOf);
  return [
    ok(`none fires, of ${known.size} alerts`),
    Object.entries(others).map(([excuse, those]) =>
      note(`${[...new Set(those.map(({ labels }) => labels.alertname))].join(", ")}: ${excuse}`)
    ),
    ours.map(({ labels, annotations: { summary = "", runbook_url }, startsAt }) => ({
      what: `${labels.alertname} fires since ${startsAt.slice(0, 16)}Z: ${summary}`,
      cause: "what the alert says; Alertmanager forgets it a few minutes after that is mended",
      fix: runbook_url ? runbookAt(runbook_url, cluster) : "look at it in Alertmanager",
    })),
  ];
}

type Group = { name: string; rules: { alert?: string }[] };

/** Groups of rules that the Ruler reads from its ConfigMaps. */
export function rulerGroups(objects: Manifest[]): Group[] {
  return objects.filter(({ kind, metadata }) =>
    kind === "ConfigMap" && metadata.labels?.["app.kubernetes.io/name"] === "thanos-ruler"
  ).flatMap(({ data }) => Object.values<string>(data ?? {}).flatMap((file) => parse(file).groups));
}

// Alerts that fire anywhere, as Query knows them: which are series (ALERTS), their texts come with rules.
import { hiddenBy } from "../../../lib/core/check.ts";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import type { Sample } from "../../checks/metrics.ts";
import { runbookAt } from "../../components/prometheus/dashboards.ts";
import { centralOf, type Questions } from "./way.ts";

type Labels = Sample["metric"];

const SAME = ["cluster", "edge", "ruler_cluster", "severity", "alertname"]; // they tell one line from others
const SEVERITIES = ["critical", "warning", "info"]; // what is shown, the worst first
const SIGNALS = ["Watchdog", "GlobalWatchdog", "InfoInhibitor"]; // what always fires, or mutes others

/** How many fire, one series for each name and cluster; of these severities (a matcher), by default of all. */
export function counting(severities = ""): string {
  return `count by (${SAME.join(", ")}) (ALERTS{alertstate="firing"${severities}})`;
}

/** How bad it is; what has another severity or none reaches people as well, and is a warning. A signal has none. */
export function severityOf({ alertname = "", severity = "" }: Labels): string | undefined {
  if (severity === "none" || SIGNALS.includes(alertname)) return undefined;
  return SEVERITIES.includes(severity) ? severity : "warning";
}

/** Whose alert it is: some of the centre are about an edge, those of the Ruler about any cluster or all. */
export function aboutOf({ edge, cluster, ruler_cluster }: Labels, fleet: Cluster[]): Cluster {
  const [named] = [edge, cluster, ruler_cluster]
    .flatMap((name) => fleet.find((peer) => peer.name === name) ?? []);
  return named ?? centralOf(fleet);
}

/** Whether every heartbeat of the cluster arrives; what else fires there cannot be seen without. */
export function isHeard({ name, role }: Cluster, counted: Sample[]): boolean {
  const beats = (alert: string, label: string) =>
    counted.some(({ metric }) => metric.alertname === alert && metric[label] === name);
  // Half of what the centre may have to say comes from the Ruler.
  return beats("Watchdog", "cluster") &&
    (role !== "central" || beats("GlobalWatchdog", "ruler_cluster"));
}

/** What was counted, with the texts of its rules (null: none tells); the worst first, then the oldest. */
export async function firingOf(centre: Questions, counted: Sample[]) {
  const { fleet } = centre;
  const shown = counted.filter(({ metric }) => severityOf(metric));
  const texts = await textsOf(centre, new Set(shown.map(({ metric }) => metric.alertname!)));
  const firing = shown.map(({ metric, value }) => {
    const teller = aboutOf({ cluster: metric.ruler_cluster ?? metric.cluster! }, fleet);
    const told = texts.find(({ labels }) => SAME.every((name) => labels[name] === metric[name]));
    const link = told?.annotations.runbook_url;
    return {
      cluster: aboutOf(metric, fleet).id,
      severity: severityOf(metric)!,
      alert: metric.alertname!,
      count: Number(value[1]),
      since: told?.activeAt ?? null,
      summary: told?.annotations.summary ?? null,
      runbook: link ? runbookAt(link, teller) : null,
      silences: silencesAt(teller),
    };
  });
  const rank = (severity: string) => SEVERITIES.indexOf(severity);
  return firing.sort((one, other) =>
    rank(one.severity) - rank(other.severity) || (one.since ?? "").localeCompare(other.since ?? "")
  );
}

/** All alerts of one name that fire about one cluster, as docs/schema/alerts.json has them. */
export type Firing = Awaited<ReturnType<typeof firingOf>>[number];

/** Grafana shows what its cluster's Alertmanager, which tells people, has; null: that Grafana is a stand-in. */
function silencesAt(cluster: Cluster): string | null {
  if (hiddenBy(cluster, "grafana")) return null;
  const grafana = `http://grafana.${text(cluster, "DOMAIN")}:${text(cluster, "HTTP_NODE_PORT")}`;
  return `${grafana}/alerting/silences?alertmanager=Alertmanager`;
}

/** Alerts of these names that fire, the oldest first. The label of their cluster stands at the rule only. */
async function textsOf(centre: Questions, names: Set<string>) {
  if (names.size === 0) return [];
  type Texts = { summary?: string; runbook_url?: string };
  type Told = { state: string; activeAt: string; labels: Labels; annotations: Texts };
  type Rules = { groups: { rules: { labels: Labels; alerts?: Told[] }[] }[] };
  const query = new URLSearchParams([...names].map((name) => ["rule_name[]", name]));
  const found = await centre.read<Rules>("what alerts mean", `/api/v1/rules?type=alert&${query}`);
  const rules = found?.groups.flatMap(({ rules }) => rules) ?? [];
  return rules.flatMap(({ labels, alerts = [] }) =>
    alerts.map((alert) => ({ ...alert, labels: { ...labels, ...alert.labels } }))
  ).filter(({ state }) => state === "firing")
    .sort((one, other) => one.activeAt.localeCompare(other.activeAt));
}

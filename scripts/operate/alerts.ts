// What fires anywhere, as Query knows it: the worst first, its runbook, and the page where it is silenced.
import "../needs.ts";
import { type Choice, choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { hiddenBy } from "../../lib/core/check.ts";
import { type Cluster, isPaused, text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { ageText } from "../../lib/core/quantity.ts";
import { print, printJson, table } from "../../lib/io/report.ts";
import type { Sample } from "../checks/metrics.ts";
import { runbookAt } from "../components/prometheus/dashboards.ts";
import { type Ask, atCentre, centralOf, counting } from "./centre/questions.ts";
import { jsonOf, Questions, SAME, tellUnsaid } from "./centre/questions.ts";

type Labels = Sample["metric"];

const SEVERITIES = ["critical", "warning", "info"]; // what is shown, the worst first
const SIGNALS = ["Watchdog", "GlobalWatchdog", "InfoInhibitor"]; // what always fires, or mutes others
const FLAGS = { json: "as JSON on stdout (docs/schema/alerts.json)" };

await command("alerts.ts CLUSTER... | GROUP... | edges | all", FLAGS, async (words, flags) => {
  const choice = await choiceFor(words, { ...WITHOUT_SECRETS, ...LOOKS });
  const alarm = await atCentre(choice.fleet, (ask) => alarmOf(ask, choice));
  if (flags.json) printJson(jsonOf("alerts", alarm));
  else print(alarmPage(alarm));
  return exitCodeOfAlarm(alarm);
}, import.meta.main);

/** What fires on the chosen clusters, and ids of those of which no heartbeat arrives: `paused`, or else `unseen`. */
export async function alarmOf(ask: Ask, choice: Choice) {
  const clusters = [...choice.clusters, ...choice.paused];
  const centre = new Questions(ask, choice.fleet);
  const counted = await centre.values("alerts", counting());
  if (!counted) throw centre.unsaid[0]!.error;
  const firing = await firingOf(centre, counted);
  tellUnsaid(centre.unsaid);
  const unheard = clusters.filter((one) => !isHeard(one, counted));
  return {
    firing: firing.filter(({ cluster }) => clusters.some(({ id }) => id === cluster)),
    unseen: unheard.filter((one) => !isPaused(one)).map(({ id }) => id),
    paused: unheard.filter(isPaused).map(({ id }) => id),
  };
}

type Alarm = Awaited<ReturnType<typeof alarmOf>>;

/** 11 when a critical one or a warning fires, or those of a cluster cannot be seen. */
export function exitCodeOfAlarm({ firing, unseen }: Alarm): number {
  const isLoud = firing.some(({ severity }) => severity !== "info");
  return isLoud || unseen.length > 0 ? ExitCode.verification : ExitCode.done;
}

/** The page for people: under each line what it says and its runbook, at the end where to silence what. */
export function alarmPage({ firing, unseen, paused }: Alarm, now = Date.now()): string {
  const rows = firing.map(({ cluster, severity, alert, count, since }) => {
    const age = since ? ageText(Math.max(0, now - Date.parse(since)) / 1000) : "-";
    return [cluster, severity, age, count > 1 ? `${alert} (${count})` : alert];
  });
  const lines = rows.length > 0 ? table(rows).split("\n") : ["no alert fires"];
  const pages = Map.groupBy(firing, ({ silences }) => silences);
  return [
    ...lines.flatMap((line, index) => {
      const { summary = null, runbook = null } = firing[index] ?? {};
      return [line, ...[summary, runbook].flatMap((text) => text ? [`    ${text}`] : [])];
    }),
    ...unseen.map((id) => `${id}  nobody sees its alerts, no heartbeat arrives: make verify-${id}`),
    ...paused.map((id) => `${id}  nobody sees its alerts, no heartbeat arrives: it is paused`),
    ...[...pages].map(([page, those]) => {
      const ids = [...new Set(those.map(({ cluster }) => cluster))];
      return `silence those of ${ids.join(", ")}: ${page ?? "no page, grafana is a stand-in"}`;
    }),
  ].join("\n");
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

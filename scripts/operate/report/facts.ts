// What a report asks the centre; null: nobody knows.
import type { Cluster } from "../../../lib/core/cluster.ts";
import type { Sample } from "../../checks/metrics.ts";
import { REPOSITORY } from "../../components/logging/objects.ts";
import { missingPrograms, type Stores } from "../../components/thanos/stores.ts";
import { aboutOf, firingOf, severityOf } from "../alerts.ts";
import { type Age, answersOf, type Ask, centralOf, counting } from "../centre/questions.ts";
import { Questions, USED } from "../centre/questions.ts";
import { volumeName } from "../centre/status.ts";

/** A claim, or a disk of a node; docs/schema/report.json tells of each field. */
export type Filling = { cluster: string; what: string; points: number[]; days: Age };

/** Questions that cost one answer each; the first and the second look at seven days. */
export const WEEK = {
  volumes: `(${USED})[7d:4h]`,
  // Heartbeats are most of what fires, all week long.
  hours: `count_over_time((${counting(',severity!="none"')})[7d:5m]) / 12`,
  snapshots: "max by (cluster) " +
    `(opensearch_snapshot_stats_latest_snapshot_timestamp_seconds{repository="${REPOSITORY}"})`,
  backups: "min by (cluster) (longhorn_chosen_volume_last_backup_at)",
};

// A week of raw samples is ten times as many, and tells no more of a point in four hours, or of five minutes.
const COARSE = "5m";
const DAY = 86_400;
type Points = [time: number, used: string][];

/** Asks the centre for all that a report says of these clusters, of all of the site. */
export async function askFor(ask: Ask, clusters: Cluster[], fleet: Cluster[]) {
  const later = new Questions(ask, fleet);
  const [answers, week] = await Promise.all([
    answersOf(new Questions(ask, fleet), clusters),
    weekOf(later, clusters),
  ]);
  return { answers, week, firing: answers.alerts && await firingOf(later, answers.alerts) };
}

/** The week of these clusters; what ends first and what fired longest comes first. null: the centre could not say. */
export async function weekOf(centre: Questions, clusters: Cluster[]) {
  const { unsaid, fleet } = centre;
  const [filling, hours, snapshots, backups, stores] = await Promise.all([
    centre.values<{ metric: Sample["metric"]; values: Points }>("volumes", WEEK.volumes, COARSE),
    centre.values("alerts of the week", WEEK.hours, COARSE),
    centre.values("snapshot", WEEK.snapshots),
    centre.values("backup", WEEK.backups),
    centre.read<Stores>("what Query is in touch with", "/api/v1/stores"),
  ]);
  // Whom Query has lost it leaves out without a warning.
  const lost = stores ? missingPrograms(stores, centralOf(fleet)) : [];
  for (const what of ["part of volumes", "part of alerts of the week"]) {
    unsaid.push(...lost.map((error) => ({ what, error })));
  }
  const volumes = filling?.flatMap(({ metric, values }): Filling[] => {
    const cluster = clusters.find(({ name }) => name === metric.cluster);
    const points = values.map(([, used]) => Number(Number(used).toFixed(3)));
    const what = volumeName(metric), days = daysLeft(values);
    return cluster ? [{ cluster: cluster.id, what, points, days }] : [];
  }).sort((one, other) => endOf(one) - endOf(other)) ?? null;
  const fired = hours?.flatMap(({ metric, value }) => {
    const severity = severityOf(metric), about = aboutOf(metric, fleet).id;
    if (!severity || clusters.every(({ id }) => id !== about)) return [];
    const rounded = Math.round(10 * Number(value[1])) / 10;
    return [{ cluster: about, severity, alert: metric.alertname!, hours: rounded }];
  }).sort((one, other) => other.hours - one.hours) ?? null;
  return { volumes, fired, snapshots, backups, unsaid };
}

/** By its end; of those that have none the fullest first. */
function endOf({ days, points }: Filling): number {
  return typeof days === "number" ? days : 1e6 - (points.at(-1) ?? 0);
}

/** Days until 1 is reached, by the line through all points; two days of them say nothing yet. */
export function daysLeft(points: Points): Age {
  const used = points.map(([, share]) => Number(share)), times = points.map(([time]) => time);
  const last = times.length - 1;
  if (last < 2 || times[last]! - times[0]! < 2 * DAY) return null;
  const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const [time, level] = [mean(times), mean(used)];
  const slope = mean(times.map((at, index) => (at - time) * (used[index]! - level))) /
    mean(times.map((at) => (at - time) ** 2));
  const days = Math.max(0, 1 - used[last]!) / slope / DAY;
  return slope > 0 && days <= 365 ? Math.floor(days) : "none";
}

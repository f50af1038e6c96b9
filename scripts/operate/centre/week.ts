// What a week tells of each cluster, asked of the centre: where its volumes go, what fired for how long, what was kept.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { missingPrograms, type Stores } from "../../components/thanos/stores.ts";
import { REPOSITORY } from "../../components/logging/documents.ts";
import type { Sample } from "../../checks/metrics.ts";
import { aboutOf, counting, severityOf } from "./alerts.ts";
import { type Age, CLAIMS, DISKS } from "./answers.ts";
import { volumeName } from "./status.ts";
import { type Ask, orNull, type Unsaid, valuesOf } from "./way.ts";

/** A claim, or a disk of a node. */
export interface Filling {
  cluster: string;
  what: string;
  /** How full it was in the last week, from 0 to 1, every four hours; the last one is at most so old. */
  points: number[];
  /** Days until it is full at the pace of the week; none: not within a year; null: too little is known. */
  days: Age;
}

/** An alert of the last week about a cluster. */
export interface Fired {
  cluster: string;
  severity: string;
  alert: string;
  /** Hours of the week in which it fired, to five minutes. */
  hours: number;
}

/** Questions that cost one answer each; the first and the second look at seven days. */
export const WEEK = {
  volumes: `(${CLAIMS} or ${DISKS})[7d:4h]`,
  // Heartbeats are most of what fires, all week long.
  hours: `count_over_time((${counting(',severity!="none"')})[7d:5m]) / 12`,
  snapshots: "max by (cluster) " +
    `(opensearch_snapshot_stats_latest_snapshot_timestamp_seconds{repository="${REPOSITORY}"})`,
  backups: "min by (cluster) (longhorn_chosen_volume_last_backup_at)",
};

/** A week of raw samples is ten times as many, and tells no more of a point in four hours, or of five minutes. */
const COARSE = "5m";

/** Seconds of a day. */
const DAY = 86_400;

type Points = [time: number, used: string][];

/**
 * Asks the centre about the week of these clusters; what ends first and what fired longest comes first. null: it could
 * not say.
 */
export async function weekOf(ask: Ask, clusters: Cluster[], centre: Cluster) {
  const unsaid: Unsaid[] = [];
  type Filled = { metric: Sample["metric"]; values: Points };
  const [filling, hours, snapshots, backups, stores] = await Promise.all([
    orNull(valuesOf<Filled>(ask, WEEK.volumes, COARSE), "volumes", unsaid),
    orNull(valuesOf(ask, WEEK.hours, COARSE), "alerts of the week", unsaid),
    orNull(valuesOf(ask, WEEK.snapshots), "snapshot", unsaid),
    orNull(valuesOf(ask, WEEK.backups), "backup", unsaid),
    orNull(ask<Stores>("/api/v1/stores"), "what Query is in touch with", unsaid),
  ]);
  // Whom Query has lost it leaves out without a warning.
  const lost = stores ? missingPrograms(stores, centre) : [];
  for (const what of ["part of volumes", "part of alerts of the week"]) {
    unsaid.push(...lost.map((error) => ({ what, error })));
  }
  const ids = new Map(clusters.map((cluster) => [text(cluster, "CLUSTER_NAME"), cluster.id]));
  const volumes = filling?.flatMap(({ metric, values }): Filling[] => {
    const cluster = ids.get(metric.cluster ?? "");
    const points = values.map(([, used]) => Number(Number(used).toFixed(3)));
    return cluster ? [{ cluster, what: volumeName(metric), points, days: daysLeft(values) }] : [];
  });
  const fired = hours?.flatMap(({ metric, value }): Fired[] => {
    const severity = severityOf(metric), { id: cluster } = aboutOf(metric, clusters[0]!.fleet);
    if (!severity || ![...ids.values()].includes(cluster)) return [];
    const rounded = Math.round(10 * Number(value[1])) / 10;
    return [{ cluster, severity, alert: metric.alertname!, hours: rounded }];
  });
  return {
    volumes: volumes?.sort((one, other) => endOf(one) - endOf(other)) ?? null,
    fired: fired?.sort((one, other) => other.hours - one.hours) ?? null,
    /** When the last snapshot of logs was made. */
    snapshots,
    /** When the last backup was made of the volume whose last one is the oldest. */
    backups,
    unsaid,
  };
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

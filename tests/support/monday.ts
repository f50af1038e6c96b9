// A Monday with a made-up fleet: what the tests of the report look at, and what its pictures show.
import { readFile } from "node:fs/promises";
import { projectPath } from "../../lib/core/cluster.ts";
import type { Ask } from "../../scripts/operate/centre/questions.ts";
import { reportPage } from "../../scripts/operate/report/page.ts";
import { askFor } from "../../scripts/operate/report/facts.ts";
import { type FleetReport, reportOf, type Sources } from "../../scripts/operate/report/value.ts";
import { centreWith, fleetOf, nameOf, NOW, RULER, type Seen, WELL } from "./centre.ts";

const DAY = 86_400;
const RUNBOOKS = "http://grafana.mkube-196.miribit.lab:30080/public/runbooks";

/** A week of a volume that grows (or shrinks) in a straight line from one share to another. */
export function weekFrom(from: number, to: number, days = 7): [time: number, used: string][] {
  const count = days * 6 + 1;
  return Array.from({ length: count }, (_, index) => {
    const share = from + (to - from) * index / (count - 1);
    return [NOW - (count - 1 - index) * 14_400, share.toFixed(4)];
  });
}

function calm(index: number): Seen {
  const week = {
    "prometheus-db-0": weekFrom(0.5, 0.52 + index / 500),
    "opensearch-data-0": weekFrom(0.62, 0.61),
    "thanos-store-0": weekFrom(0.2, 0.21),
    "alertmanager-db-0": weekFrom(0.02, 0.02),
    grafana: weekFrom(0.1, 0.1),
    "thanos-ruler-0": weekFrom(0.11, 0.112, 1),
    "thanos-compactor-0": weekFrom(0.3, 0.34),
    minio: weekFrom(0.4, 0.43),
  };
  return { ...WELL, snapshot: NOW - 7 * 3600, backup: NOW - 30 * 3600, week };
}

/** What the centre has of so many clusters, of which some are not well; those of a fleet of three are 196 to 198. */
export function seenOf(count: number): Record<string, Seen> {
  const ids = fleetOf(count).map(({ id }) => id);
  const seen = Object.fromEntries(ids.map((id, index) => [id, calm(index)]));
  const far = ids.at(-1)!, full = ids[1]!;
  seen[far] = {
    before: NOW - 2460,
    alerts: [["ClusterMetricsMissing", "critical", RULER]],
    hours: [["ClusterMetricsMissing", "critical", 0.7], ["ThanosBlockUploadLagging", "warning", 9]],
    isSilent: true,
  };
  seen[full] = {
    ...seen[full],
    used: 0.914,
    upload: NOW - 9060,
    alerts: [["ThanosBlockUploadLagging", "warning"], ["OpenSearchSnapshotStale", "critical"]],
    snapshot: NOW - 3 * DAY,
    hours: [["OpenSearchSnapshotStale", "critical", 40.2], ["KubePodCrashLooping", "warning", 121]],
    week: { ...seen[full]!.week, "opensearch-data-0": weekFrom(0.78, 0.914) },
  };
  if (count > 10) {
    seen[ids[8]!] = { ...seen[ids[8]!], line: undefined, days: undefined };
    seen[ids[12]!] = { ...seen[ids[12]!], used: 0.95 };
    seen[ids[9]!] = { ...seen[ids[9]!], line: NOW - 4000 };
  }
  return seen;
}

/** Rules that tell of the alerts of {@link seenOf}. */
export function rulesOf(seen: Record<string, Seen>, summary?: string): unknown[] {
  return Object.entries(seen).flatMap(([id, { alerts = [] }]) =>
    alerts.map(([alertname, severity, labels = {}]) => ({
      labels: { cluster: nameOf(id), severity, ...labels },
      alerts: [{
        state: "firing",
        activeAt: new Date((NOW - 5400) * 1000).toISOString(),
        labels: { alertname },
        annotations: {
          summary: summary ?? SUMMARIES[alertname] ?? "It fires",
          runbook_url: `${RUNBOOKS}/clusters.md#${alertname.toLowerCase()}`,
        },
      }],
    }))
  );
}

const SUMMARIES: Record<string, string> = {
  ClusterMetricsMissing: "No metrics of this cluster have reached the centre for ten minutes",
  ThanosBlockUploadLagging: "The sidecar has uploaded no block for more than two hours",
  OpenSearchSnapshotStale: "No log snapshot for two days, though one is due",
};

/** What a Monday may have beside its clusters. */
interface More {
  previous?: FleetReport & { at: string };
  summary?: string;
  drift?: [string, number | { error: unknown }][];
  unasked?: string[];
  /** Which cluster is left alone, from 0. */
  paused?: number;
  /** The way to the centre as it is that day. */
  way?: (ask: Ask) => Ask;
}

/** The report about this, with the last of it (`pause`: one is left alone, where there are many). */
export async function mondayOf(seen: Record<string, Seen>, more: More = {}): Promise<FleetReport> {
  const clusters = fleetOf(Object.keys(seen).length);
  const pause = { reason: "rack move", until: "2027-01-20", end: Date.now() / 1000 + DAY };
  const alone = more.paused ?? (clusters.length > 10 ? 12 : undefined);
  if (alone !== undefined) clusters[alone] = { ...clusters[alone]!, pause };
  const pem = await readFile(projectPath("tests/fixtures/grpc-tls/197.crt"), "utf8");
  for (const cluster of clusters) cluster.s3Ca = pem;
  const { summary, previous, unasked = [], way = (ask: Ask) => ask } = more;
  const ask = way(centreWith(seen, [], rulesOf(seen, summary)));
  const drift: Sources["drift"] = new Map(
    more.drift ?? clusters.slice(0, -1).map(({ id }) => [id, 0]),
  );
  const said = await askFor(ask, clusters, clusters);
  return reportOf({ of: "all", clusters, drift, unasked, runbooks: RUNBOOKS, previous, ...said });
}

/** The page of a report as it was at that time. */
export async function pageOf(report: FleetReport): Promise<string> {
  const css = await readFile(projectPath("scripts/operate/report/page.css"), "utf8");
  return reportPage({ report, now: new Date(NOW * 1000), css, runbooks: RUNBOOKS });
}

// The centre of a fleet on this machine, with the words of its manifests: as it is by default, and with PROFILE=fleet.
import { type Cluster, text } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { table } from "../../lib/io/report.ts";
import { thanos } from "../../scripts/30-thanos.ts";
import { pidOf } from "../../scripts/demo/daemon.ts";
import { wordsOf } from "../support/thanos.ts";
import type { Figure, Figures } from "./measure.ts";
import { memoryOf } from "./memory.ts";
import { fleetOf } from "./site.ts";

/** Clusters of the fleet, the centre among them. */
export const CLUSTERS = 30;

/** What is compared, and the settings of each. */
const SETTINGS: Record<string, Record<string, string>> = {
  default: {},
  fleet: { PROFILE: "fleet" },
  lazy: { PROFILE: "fleet", STORE_LAZY_HEADERS: "true" },
};

/** One of them: what it would deploy, and the words of its programs. */
export interface Centre {
  name: string;
  cluster: Cluster;
  objects: Manifest[];
  words: Map<string, string[]>;
}

/** The centres of these names. */
export async function centresOf(...names: string[]): Promise<Centre[]> {
  const centres: Centre[] = [];
  // One after the other: they share the site's env files.
  for (const name of names) {
    const fleet = await fleetOf(CLUSTERS, SETTINGS[name]);
    const cluster = fleet.find(({ role }) => role === "central")!;
    const objects = await thanos.objects(cluster);
    centres.push({ name, cluster, objects, words: wordsOf(objects) });
  }
  return centres;
}

/** The external labels of the Prometheus of each cluster. */
export function streamsOf({ cluster }: Centre): Record<string, string>[] {
  const prometheus_replica = "prometheus-kube-prometheus-stack-prometheus-0";
  const region = text(cluster, "REGION");
  return cluster.fleet.map(({ name }) => ({ cluster: name, region, prometheus_replica }));
}

/** Lines of OpenMetrics: so many series of each metric, with a sample every `step` of the seconds `from` to `to`. */
export function samplesOf(
  metrics: string[],
  series: number,
  { from, to, step }: { from: number; to: number; step: number },
): string {
  const times = Array.from({ length: Math.ceil((to - from) / step) }, (_, n) => from + n * step);
  const lines = metrics.flatMap((metric) => [
    `# TYPE ${metric} gauge`,
    ...Array.from({ length: series }, (_, index) => {
      const labels = `{instance="10.0.0.${index}:9100",job="made-up",namespace="n-${index % 7}"}`;
      // About two bytes a sample, as in the laboratory's own blocks.
      return times.map((at) => `${metric}${labels} ${(at / step * (index + 7)) % 101} ${at}`);
    }).flat(),
  ]);
  return [...lines, "# EOF", ""].join("\n");
}

/** Resident memory (MiB) of programs that {@link startDaemon} has started: now and, at the most, so far. */
export async function residentOf(folder: string, ...names: string[]) {
  const all = await Promise.all(
    names.map(async (name) => await memoryOf((await pidOf(folder, name))!)),
  );
  const sum = (field: "now" | "peak") => all.reduce((total, one) => total + one[field], 0);
  return { now: sum("now"), peak: sum("peak") };
}

/** A row of the table: the name of the case behind that of the centre. */
interface Line {
  title: string;
  name: string;
  field?: Figure;
  unit?: string;
  digits?: number;
}

const LINES: Line[] = [
  { title: "count by (cluster) (up)", name: "count" },
  { title: "the same of one cluster that is well", name: "one" },
  { title: "longest evaluation of the Ruler", name: "rules" },
  { title: "evaluations that it has missed", name: "rules", field: "requests", unit: "" },
  { title: "a variable of a dashboard", name: "variable beside it" },
  { title: "three of them, when nothing hangs", name: "variables" },
  { title: "the same again", name: "variables again" },
  { title: "an hour of 1,000 series of one cluster", name: "wire", field: "own", unit: "KiB" },
  { title: "memory of Query", name: "query", field: "own", unit: "MiB" },
  { title: "Store from nothing to ready", name: "store" },
  { title: "calls to S3 for that", name: "store", field: "requests", unit: "" },
  { title: "memory of all shards then", name: "store", field: "own", unit: "MiB" },
  { title: "their volumes", name: "store", field: "tree", unit: "MiB", digits: 1 },
  { title: "Store again on its volume", name: "store again" },
  { title: "seven days of all clusters", name: "week" },
  { title: "the same again", name: "week again" },
  { title: "memory of all shards at the most", name: "week", field: "own", unit: "MiB" },
  { title: "a run of the Compactor", name: "compactor" },
  { title: "calls to S3 for that", name: "compactor", field: "requests", unit: "" },
  { title: "its memory at the most", name: "compactor", field: "tree", unit: "MiB" },
  { title: "a run that has nothing to do", name: "compactor idle" },
  { title: "calls to S3 for that", name: "compactor idle", field: "requests", unit: "" },
];

/** The table of before and after, of what was measured of it. */
export function centreTable(figures: Figures): string {
  const names = Object.keys(SETTINGS);
  const rows = LINES.map(({ title, name, field = "seconds", unit = "s", digits }) => {
    const values = names.map((centre) => figures.median(`${centre} ${name}`, field));
    const places = digits ?? (unit === "s" ? 2 : 0);
    const cells = values.map((one) => isNaN(one) ? "" : `${one.toFixed(places)} ${unit}`.trim());
    return [title, ...cells];
  }).filter(([, ...cells]) => cells.some(Boolean));
  return rows.length === 0 ? "" : table([["centre", ...names], ...rows]);
}

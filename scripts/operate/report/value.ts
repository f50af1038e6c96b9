// What the report says, as a value: docs/schema/report.json describes it, page.ts shows it.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { shortList } from "../../../lib/core/short_list.ts";
import type { Sample } from "../../checks/metrics.ts";
import type { Firing } from "../centre/alerts.ts";
import {
  ageOf,
  type Answers,
  certificatesOf,
  healthOf,
  STATES,
  wrongIn,
} from "../centre/status.ts";
import type { Fired, Week } from "../centre/week.ts";
import type { ClusterLine, Ending, FleetFacts } from "./facts.ts";
import { type Todo, todoOf } from "./todo.ts";

/** One thing that is not as it was; null: it was not there, or is not. */
export interface Changed {
  what: string;
  before: string | null;
  now: string | null;
}

/** Everything that a report says. */
export interface FleetReport extends FleetFacts {
  /** The words that chose its clusters; it is compared with one of the same. */
  of: string;
  verdict: string;
  todo: Todo[];
  /** When the last one was made, and what changed; null: there was none. */
  since: string | null;
  changed: Changed[];
  fired: Fired[];
}

/** What it is made of. */
export interface Sources {
  of: string;
  clusters: Cluster[];
  answers: Answers;
  week: Week;
  firing: Firing[];
  drift: Map<string, number>;
  /** Where docs/runbooks are read. */
  runbooks: string;
  previous?: FleetReport & { at: string };
}

/** Alerts that say when a copy is too old; that depends on what is set. */
const TOLD: Record<string, string[]> = {
  snapshot: ["OpenSearchSnapshotStale", "OpenSearchSnapshotFailed"],
  backup: ["LonghornBackupTooOld", "LonghornBackupFailed"],
};

/** A report of what was found. */
export function reportOf(sources: Sources): FleetReport {
  const { of, clusters, answers, week, drift, previous } = sources;
  const { volumes, fired } = week;
  const firing = sources.firing.filter((one) => clusters.some(({ id }) => id === one.cluster));
  const lines = healthOf(clusters, answers).map((health): ClusterLine => {
    const { id, name, state } = health, cluster = clusters.find((one) => one.id === id)!;
    const own = (samples: Sample[]) => ageOf(samples.find(({ metric }) => metric.cluster === name));
    const told = Object.keys(TOLD).filter((column) =>
      firing.some((one) => one.cluster === id && TOLD[column]!.includes(one.alert))
    );
    const wrong = [...state === "away" ? ["seen"] : [], ...wrongIn(cluster, health), ...told];
    return {
      ...health,
      snapshotAge: own(week.snapshots),
      backupAge: own(week.backups),
      drift: drift.get(id) ?? null,
      wrong: state === "paused" ? [] : wrong,
    };
  });
  const found: FleetFacts = {
    clusters: lines,
    certificates: endingOf(clusters, answers),
    volumes,
    firing,
  };
  const todo = todoOf(found, `${sources.runbooks}/`);
  const changed = previous ? changedSince(previous, found) : [];
  return {
    of,
    verdict: verdictOf(lines),
    todo,
    since: previous?.at ?? null,
    changed,
    ...found,
    fired,
  };
}

function endingOf(clusters: Cluster[], answers: Answers): Ending[] {
  const all = clusters.flatMap((cluster) =>
    certificatesOf(cluster, answers).map((one) => ({ id: cluster.id, ...one }))
  );
  return [...Map.groupBy(all, ({ whose, ends }) => whose + ends).values()].map((those) => {
    const { id: _, ...one } = those[0]!;
    return { clusters: those.map(({ id }) => id), ...one };
  }).sort((one, other) => one.ends.localeCompare(other.ends));
}

/** The fleet in a sentence. */
function verdictOf(lines: ClusterLine[]): string {
  const those = Map.groupBy(lines, ({ state }) => state);
  const well = those.get("well")?.length ?? 0;
  const words: Record<string, string> = { warn: "with warnings", unknown: "partly unknown" };
  const others = STATES.filter((state) => state !== "well" && those.has(state)).map((state) =>
    `${shortList(those.get(state)!.map(({ id }) => id))} ${words[state] ?? state}`
  );
  return `${well} of ${lines.length} ${lines.length > 1 ? "clusters are" : "cluster is"} well` +
    `${others.length > 0 ? "; " : ""}${others.join(", ")}.`;
}

/** What one report says and the next may say otherwise; `other`: the one that it is compared with. */
function factsOf(
  { clusters, certificates, firing }: FleetFacts,
  other: FleetFacts,
): Map<string, string> {
  const isAsked = (id: string) => other.clusters.find((one) => one.id === id)?.drift != null;
  return new Map<string, string>([
    ...clusters.map(({ id, state }) => [`Cluster ${id}`, state] as const),
    ...clusters.filter(({ id, drift }) => drift !== null && isAsked(id))
      .map(({ id, drift }) => [`Drift of ${id}`, String(drift)] as const),
    ...firing.map(({ cluster, alert }) => [`${alert} on ${cluster}`, "fires"] as const),
    ...certificates.filter(({ whose }) => !whose.includes("kubelet")).map((one) =>
      [`Certificate ${one.whose}, ${one.clusters[0]}`, `until ${one.ends.slice(0, 10)}`] as const
    ),
  ]);
}

function changedSince(previous: FleetFacts, found: FleetFacts): Changed[] {
  const [before, now] = [factsOf(previous, found), factsOf(found, previous)];
  return [...new Set([...now.keys(), ...before.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? null, now: now.get(what) ?? null }))
    .filter((one) => one.before !== one.now);
}

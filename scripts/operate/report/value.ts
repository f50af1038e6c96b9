// What the report says, as a value: docs/schema/report.json describes it, page.ts shows it.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { ExitCode } from "../../../lib/core/error.ts";
import { shortList } from "../../../lib/core/short_list.ts";
import type { Sample } from "../../checks/metrics.ts";
import { firingOf } from "../centre/alerts.ts";
import { type Answers, answersOf } from "../centre/answers.ts";
import {
  ageOf,
  certificatesOf,
  exitCodeOfStatus,
  healthOf,
  STATES,
  wrongIn,
} from "../centre/status.ts";
import { type Ask, missedOf, whyOf } from "../centre/way.ts";
import { type Fired, weekOf } from "../centre/week.ts";
import { type ClusterLine, type Ending, type FleetFacts, type Todo, todoOf } from "./todo.ts";

/** Everything that a report says. */
export interface FleetReport extends FleetFacts {
  /** The words that chose its clusters; it is compared with one of the same. */
  of: string;
  verdict: string;
  todo: Todo[];
  /** When the last one was made, null: there was none; and what is not as it was (null: not there). */
  since: string | null;
  changed: { what: string; before: string | null; now: string | null }[];
  fired: Fired[] | null;
  /** Ids of clusters of which drift was not looked at, for lack of their secrets; that is no trouble. */
  unasked: string[];
}

/** Asks the centre for all that a report says of these clusters, of all of the site. */
export async function askFor(ask: Ask, clusters: Cluster[], fleet: Cluster[]) {
  const [answers, week] = await Promise.all([
    answersOf(ask, clusters),
    weekOf(ask, clusters, fleet.find(({ role }) => role === "central")!),
  ]);
  const { alerts } = answers;
  return { answers, week, firing: alerts && await firingOf(ask, alerts, fleet, week.unsaid) };
}

/** What a report is made of, beside what the centre has said. */
export interface Sources extends Awaited<ReturnType<typeof askFor>>, Pick<FleetReport, "unasked"> {
  of: string;
  clusters: Cluster[];
  /** So many changes a deploy would make on a cluster, or why nobody can say. */
  drift: Map<string, number | { error: unknown }>;
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
export function reportOf(
  { of, clusters, answers, week, firing: fires, drift, unasked, runbooks, previous }: Sources,
): FleetReport {
  const firing = fires?.filter((one) => clusters.some(({ id }) => id === one.cluster)) ?? null;
  const lines = healthOf(clusters, answers).map((health): ClusterLine => {
    const { id, name, state } = health, cluster = clusters.find((one) => one.id === id)!;
    const own = (samples: Sample[] | null) =>
      ageOf(samples?.find(({ metric }) => metric.cluster === name));
    const told = Object.keys(TOLD).filter((column) =>
      firing?.some((one) => one.cluster === id && TOLD[column]!.includes(one.alert))
    );
    const wrong = [...state === "away" ? ["seen"] : [], ...wrongIn(cluster, health), ...told];
    const changes = drift.get(id);
    return {
      ...health,
      snapshotAge: own(week.snapshots),
      backupAge: own(week.backups),
      drift: typeof changes === "number" ? changes : null,
      wrong: state === "paused" ? [] : wrong,
    };
  });
  const { fleet } = clusters[0]!, centre = fleet.find(({ role }) => role === "central")!.id;
  // Of one that is away or paused nobody expects an answer.
  const isExpected = (edge?: string) =>
    !edge || lines.some(({ id, state }) => id === edge && state !== "away" && state !== "paused");
  const unsaid = [...answers.unsaid, ...week.unsaid]
    .map((one) => ({ ...one, edge: missedOf(one, fleet) }))
    .filter(({ edge }) => isExpected(edge))
    .map(({ edge, ...one }) => ({ cluster: edge ?? centre, ...one }));
  const unplanned = [...drift].flatMap(([cluster, changes]) =>
    typeof changes === "number" ? [] : [{ cluster, what: "drift", ...changes }]
  );
  const found: FleetFacts = {
    clusters: lines,
    certificates: endingOf(clusters, answers),
    volumes: week.volumes,
    firing,
    unknown: [...unsaid, ...unplanned].map(({ cluster, what, error }) => ({
      cluster,
      what,
      why: whyOf(error),
    })),
  };
  return {
    of,
    verdict: verdictOf(found),
    todo: todoOf(found, runbooks),
    since: previous?.at ?? null,
    changed: previous ? changedSince(previous, found) : [],
    ...found,
    fired: week.fired,
    unasked,
  };
}

/** As of `make status`, but 11, too, where a part of the report is not known. */
export function exitCodeOfReport({ clusters, unknown }: FleetReport): number {
  return unknown.length > 0 ? ExitCode.verification : exitCodeOfStatus(clusters);
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
function verdictOf({ clusters, unknown }: FleetFacts): string {
  const those = Map.groupBy(clusters, ({ state }) => state);
  const words: Record<string, string> = { warn: "with warnings", unknown: "partly unknown" };
  const others = STATES.filter((state) => state !== "well" && those.has(state)).map((state) =>
    `${shortList(those.get(state)!.map(({ id }) => id))} ${words[state] ?? state}`
  );
  const missed = shortList([...new Set(unknown.map(({ what }) => what))]);
  const are = `${clusters.length} ${clusters.length > 1 ? "clusters are" : "cluster is"} well`;
  return [
    `${those.get("well")?.length ?? 0} of ${are}`,
    ...others.length > 0 ? [others.join(", ")] : [],
    ...missed ? [`no answer about ${missed}`] : [],
  ].join("; ") + ".";
}

/** What one report says and the next may say otherwise, as far as `other`, to which it is compared, knows of it. */
function factsOf(
  { clusters, certificates, firing }: FleetFacts,
  other: FleetFacts,
): Map<string, string> {
  const isAsked = (id: string) => other.clusters.find((one) => one.id === id)?.drift != null;
  return new Map<string, string>([
    ...clusters.map(({ id, state }) => [`Cluster ${id}`, state] as const),
    ...clusters.filter(({ id, drift }) => drift !== null && isAsked(id))
      .map(({ id, drift }) => [`Drift of ${id}`, String(drift)] as const),
    ...(other.firing && firing || []).map(({ cluster, alert }) =>
      [`${alert} on ${cluster}`, "fires"] as const
    ),
    ...certificates.filter(({ whose }) => !whose.includes("kubelet")).map((one) =>
      [`Certificate ${one.whose}, ${one.clusters[0]}`, `until ${one.ends.slice(0, 10)}`] as const
    ),
  ]);
}

function changedSince(previous: FleetFacts, found: FleetFacts): FleetReport["changed"] {
  const [before, now] = [factsOf(previous, found), factsOf(found, previous)];
  return [...new Set([...now.keys(), ...before.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? null, now: now.get(what) ?? null }))
    .filter((one) => one.before !== one.now);
}

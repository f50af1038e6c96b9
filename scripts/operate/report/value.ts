// What the report says, as a value: docs/schema/report.json describes it, page.ts shows it.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { ExitCode } from "../../../lib/core/error.ts";
import { shortList } from "../../../lib/core/short_list.ts";
import type { Sample } from "../../checks/metrics.ts";
import { firingOf } from "../centre/alerts.ts";
import { answersOf } from "../centre/answers.ts";
import * as status from "../centre/status.ts";
import { type Ask, centralOf, Questions, whyOf } from "../centre/way.ts";
import { type Fired, weekOf } from "../centre/week.ts";
import { type ClusterLine, type Ending, type FleetFacts, type Todo, todoOf } from "./todo.ts";

/** Everything that a report says. */
export interface FleetReport extends FleetFacts {
  of: string;
  verdict: string;
  todo: Todo[];
  since: string | null;
  changed: { what: string; before: string | null; now: string | null }[];
  fired: Fired[] | null;
  unasked: string[];
}

/** Asks the centre for all that a report says of these clusters, of all of the site. */
export async function askFor(ask: Ask, clusters: Cluster[], fleet: Cluster[]) {
  const later = new Questions(ask, fleet);
  const [answers, week] = await Promise.all([
    answersOf(new Questions(ask, fleet), clusters),
    weekOf(later, clusters),
  ]);
  return { answers, week, firing: answers.alerts && await firingOf(later, answers.alerts) };
}

/** What a report is made of, beside what the centre has said. */
export interface Sources extends Awaited<ReturnType<typeof askFor>> {
  /** The words that chose its clusters; it is compared with one of the same. */
  of: string;
  clusters: Cluster[];
  /** So many changes a deploy would make on a cluster, or why nobody can say. */
  drift: Map<string, number | { error: unknown }>;
  /** Ids of those of which that was not asked, for lack of their secrets. */
  unasked: string[];
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
  const { of, clusters, answers, week, drift, unasked, runbooks, previous } = sources;
  const firing = sources.firing?.filter((one) => clusters.some(({ id }) => id === one.cluster));
  const lines = status.healthOf(clusters, answers).map((health): ClusterLine => {
    const { id, name, state } = health, cluster = clusters.find((one) => one.id === id)!;
    const own = (samples: Sample[] | null) =>
      status.ageOf(samples?.find(({ metric }) => metric.cluster === name));
    const told = Object.keys(TOLD).filter((column) =>
      firing?.some((one) => one.cluster === id && TOLD[column]!.includes(one.alert))
    );
    const away = state === "away" ? ["seen"] : [], changes = drift.get(id);
    const wrong = [...away, ...status.wrongIn(cluster, health), ...told];
    return {
      ...health,
      snapshotAge: own(week.snapshots),
      backupAge: own(week.backups),
      drift: typeof changes === "number" ? changes : null,
      wrong: state === "paused" ? [] : wrong,
    };
  });
  // Of one that is away or paused nobody expects an answer.
  const expected = lines.filter(({ state }) => state !== "away" && state !== "paused");
  const unsaid = [...answers.unsaid, ...week.unsaid]
    .filter(({ of }) => !of || expected.some(({ id }) => id === of));
  const unplanned = [...drift].flatMap(([of, changes]) =>
    typeof changes === "number" ? [] : [{ what: "drift", of, ...changes }]
  );
  const centre = centralOf(clusters[0]!.fleet).id;
  const found: FleetFacts = {
    clusters: lines,
    certificates: endingOf(sources),
    volumes: week.volumes,
    firing: firing ?? null,
    unknown: [...unsaid, ...unplanned]
      .map(({ of = centre, what, error }) => ({ cluster: of, what, why: whyOf(error) })),
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
  return unknown.length > 0 ? ExitCode.verification : status.exitCodeOfStatus(clusters);
}

function endingOf({ clusters, answers }: Sources): Ending[] {
  const all = clusters.flatMap((cluster) =>
    status.certificatesOf(cluster, answers.cert).map((one) => ({ id: cluster.id, one }))
  );
  return [...Map.groupBy(all, ({ one }) => one.whose + one.ends).values()]
    .map((those) => ({ clusters: those.map(({ id }) => id), ...those[0]!.one }))
    .sort((one, other) => one.ends.localeCompare(other.ends));
}

/** The fleet in a sentence. */
function verdictOf({ clusters, unknown }: FleetFacts): string {
  const those = Map.groupBy(clusters, ({ state }) => state);
  const words: Record<string, string> = { warn: "with warnings", unknown: "partly unknown" };
  const others = status.STATES.filter((state) => state !== "well" && those.has(state)).map((
    state,
  ) => `${shortList(those.get(state)!.map(({ id }) => id))} ${words[state] ?? state}`);
  const missed = shortList([...new Set(unknown.map(({ what }) => what))]);
  const are = `${clusters.length} ${clusters.length > 1 ? "clusters are" : "cluster is"} well`;
  const parts = [
    `${those.get("well")?.length ?? 0} of ${are}`,
    others.join(", "),
    missed && `no answer about ${missed}`,
  ];
  return parts.filter(Boolean).join("; ") + ".";
}

/** What one report says and the next may say otherwise, as far as `other`, to which it is compared, knows of it. */
function factsOf(one: FleetFacts, other: FleetFacts): Map<string, string> {
  const isAsked = (id: string) => other.clusters.find((one) => one.id === id)?.drift != null;
  const firing = other.firing && one.firing || [];
  const certificates = one.certificates.filter(({ whose }) => !whose.includes("kubelet"));
  return new Map([
    ...one.clusters.map(({ id, state }) => [`Cluster ${id}`, state] as const),
    ...one.clusters.filter(({ id, drift }) => drift !== null && isAsked(id))
      .map(({ id, drift }) => [`Drift of ${id}`, String(drift)] as const),
    ...firing.map(({ cluster, alert }) => [`${alert} on ${cluster}`, "fires"] as const),
    ...certificates.map(({ whose, ends, clusters }) =>
      [`Certificate ${whose}, ${clusters[0]}`, `until ${ends.slice(0, 10)}`] as const
    ),
  ]);
}

function changedSince(previous: FleetFacts, found: FleetFacts): FleetReport["changed"] {
  const [before, now] = [factsOf(previous, found), factsOf(found, previous)];
  return [...new Set([...now.keys(), ...before.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? null, now: now.get(what) ?? null }))
    .filter((one) => one.before !== one.now);
}

// What the report says, as a value: docs/schema/report.json describes it, page.ts shows it.
import { ExitCode } from "../../../lib/core/error.ts";
import { shortList } from "../../../lib/core/short_list.ts";
import { exitCodeOfStatus, STATES } from "../centre/status.ts";
import { factsOf, type FleetFacts, type Found } from "./facts.ts";
import { todoOf } from "./todo.ts";

/** What a report is made of. */
export interface Sources extends Found {
  /** The words that chose its clusters; it is compared with one of the same. */
  of: string;
  /** Ids of those of which drift was not looked at, for lack of their secrets. */
  unasked: string[];
  /** Where docs/runbooks are read. */
  runbooks: string;
  previous?: FleetFacts & { at: string };
}

/** A report of what was found. */
export function reportOf({ of, unasked, runbooks, previous, ...found }: Sources) {
  const facts = factsOf(found);
  return {
    of,
    verdict: verdictOf(facts),
    todo: todoOf(facts, runbooks),
    since: previous?.at ?? null,
    changed: previous ? changedSince(previous, facts) : [],
    ...facts,
    fired: found.week.fired,
    unasked,
  };
}

/** Everything that a report says. */
export type FleetReport = ReturnType<typeof reportOf>;

/** As of `make status`, but 11, too, where a part of the report is not known. */
export function exitCodeOfReport({ clusters, unknown }: FleetReport): number {
  return unknown.length > 0 ? ExitCode.verification : exitCodeOfStatus(clusters);
}

/** The fleet in a sentence. */
function verdictOf({ clusters, unknown }: FleetFacts): string {
  const those = Map.groupBy(clusters, ({ state }) => state);
  const words: Record<string, string> = { warn: "with warnings", unknown: "partly unknown" };
  const others = STATES.filter((state) => state !== "well" && those.has(state)).map((
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
function statementsOf(one: FleetFacts, other: FleetFacts): Map<string, string> {
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

function changedSince(previous: FleetFacts, found: FleetFacts) {
  const [before, now] = [statementsOf(previous, found), statementsOf(found, previous)];
  return [...new Set([...now.keys(), ...before.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? null, now: now.get(what) ?? null }))
    .filter((one) => one.before !== one.now);
}

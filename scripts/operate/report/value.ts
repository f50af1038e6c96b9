// What the report says, as a value: docs/schema/report.json describes it, page.ts shows it.
import { ExitCode } from "../../../lib/core/error.ts";
import { shortList } from "../../../lib/core/short_list.ts";
import type { Firing } from "../alerts.ts";
import { exitCodeOfStatus, FULL } from "../centre/status.ts";
import { type Filling, type FleetFacts, fleetFacts, type FleetFound } from "./facts.ts";

/** Runbooks of what can be wrong in a column, for where no alert brings its own. */
export const RUNBOOKS: Record<string, string> = {
  seen: "clusters.md#clustermetricsmissing",
  upload: "thanos.md#thanosblockuploadlagging",
  logs: "logs.md#fluentbitnooutput",
  disk: "storage.md",
  snapshot: "logs.md#opensearchsnapshotstale",
  backup: "storage.md#longhornbackuptooold",
};

/** Days in which what ends is something for this week. */
const SOON = 14;

/** What a report is made of. */
export interface Sources extends FleetFound {
  of: string; // the words that chose its clusters; it is compared with one of the same
  unasked: string[]; // ids of those of which drift was not looked at, for lack of their secrets
  runbooks: string; // where docs/runbooks are read
  previous?: FleetFacts & { at: string };
}

/** A report of what was found. */
export function reportOf({ of, unasked, runbooks, previous, ...found }: Sources) {
  const facts = fleetFacts(found);
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

function verdictOf({ clusters, unknown }: FleetFacts): string {
  const { well = [], ...those } = Object.groupBy(clusters, ({ state }) => state);
  const words: Record<string, string> = { warn: "with warnings", unknown: "partly unknown" };
  // The clusters come the worst first.
  const others = Object.entries(those).map(([state, lines]) =>
    `${shortList(lines.map(({ id }) => id))} ${words[state] ?? state}`
  );
  const missed = shortList([...new Set(unknown.map(({ what }) => what))]);
  const are = `${clusters.length} ${clusters.length > 1 ? "clusters are" : "cluster is"} well`;
  const told = missed && `no answer about ${missed}`;
  return [`${well.length} of ${are}`, others.join(", "), told].filter(Boolean).join("; ") + ".";
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
  const before = statementsOf(previous, found), now = statementsOf(found, previous);
  return [...new Set([...now.keys(), ...before.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? null, now: now.get(what) ?? null }))
    .filter((one) => one.before !== one.now);
}

/** What to do, the worst first; a thing that several clusters have is one. `runbooks`: where docs/runbooks are read. */
function todoOf(found: FleetFacts, runbooks: string) {
  const todo: { what: string; why: string; command: string; runbook: string | null }[] = [];
  const add = (ids: string[], what: string, why: string, verb: string, runbook?: string | null) => {
    if (ids.length === 0) return;
    const command = `make ${verb}${ids.length > 1 ? ` CLUSTER=${ids.join(",")}` : `-${ids[0]}`}`;
    todo.push({ what: `${what}: ${shortList(ids)}`, why, command, runbook: runbook ?? null });
  };
  const bookOf = (column: string) => RUNBOOKS[column] && `${runbooks}/${RUNBOOKS[column]}`;
  const lines = found.clusters.filter(({ state }) => state !== "paused");
  const among = (is: (line: typeof lines[number]) => unknown) =>
    lines.filter(is).map(({ id }) => id);
  const isNear = ({ cluster }: { cluster: string }) => lines.some(({ id }) => id === cluster);
  const away = among(({ state }) => state === "away");
  add(away, "Away", "No sample of the last five minutes has arrived", "verify", bookOf("seen"));
  // What fires about one that is away fires because it is.
  const loud = (found.firing ?? []).filter((one) =>
    isNear(one) && !away.includes(one.cluster) && one.severity !== "info"
  );
  for (const [what, those] of Map.groupBy(loud, ({ alert }) => alert)) {
    const [{ summary, runbook }] = those as [Firing];
    const ids = among(({ id }) => those.some(({ cluster }) => cluster === id));
    add(ids, what, summary ?? "This alert fires", "alerts", runbook);
  }
  for (const { cluster, what, days } of (found.volumes ?? []).filter(isEnding).filter(isNear)) {
    const when = typeof days === "number" ? `is full in ${days} days` : "is nearly full";
    const file = `env/cluster-${cluster}.env`;
    const why = `Raise its *_STORAGE in ${file} or make room, then look at the plan`;
    add([cluster], `${what} ${when}`, why, "plan", bookOf("disk"));
  }
  for (const { whose, ends, clusters } of found.certificates.filter(({ soon }) => soon)) {
    const what = `The certificate ${whose} ends on ${ends.slice(0, 10)}`;
    add(clusters, what, "docs/certificates.md says who renews it", "preflight");
  }
  for (const { id, state, wrong } of lines) {
    if (state !== "warn" || wrong.includes("alerts")) continue;
    const why = "Out of its bounds, and no alert says so";
    add([id], `Wrong: ${wrong.join(", ")}`, why, "verify", bookOf(wrong[0]!));
  }
  const missed = found.unknown.filter((one) => one.what !== "drift" || !away.includes(one.cluster));
  const verbOf = (what: string) => what === "drift" ? "plan" : "verify";
  for (const those of Map.groupBy(missed, ({ what, why }) => verbOf(what) + why).values()) {
    const [{ what, why }] = those as [FleetFacts["unknown"][number]];
    const ids = [...new Set(those.map(({ cluster }) => cluster))];
    const whats = shortList([...new Set(those.map(({ what }) => what))]);
    add(ids, `No answer about ${whats}`, why, verbOf(what));
  }
  const unknown = among(({ state }) => state === "unknown");
  add(unknown, "Not all is known", "What nobody can tell is not well", "verify");
  const why = "Somebody changed something there, or what is here was not deployed";
  add(among(({ drift }) => drift), "Not as these settings say", why, "plan");
  return todo;
}

/** Whether a volume is something for this week. */
export function isEnding({ days, points }: Filling): boolean {
  return typeof days === "number" && days < SOON || (points.at(-1) ?? 0) >= FULL;
}

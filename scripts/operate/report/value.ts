// What the report says, as a value: docs/schema/report.json describes it, page.ts shows it.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { ExitCode } from "../../../lib/core/error.ts";
import { shortList } from "../../../lib/core/short_list.ts";
import type { Sample } from "../../checks/metrics.ts";
import type { Firing } from "../alerts.ts";
import { centralOf, whyOf } from "../centre/questions.ts";
import * as status from "../centre/status.ts";
import type { askFor, Filling } from "./facts.ts";

/** Runbooks of what can be wrong in a column, for where no alert brings its own. */
export const RUNBOOKS: Record<string, string> = {
  seen: "clusters.md#clustermetricsmissing",
  upload: "thanos.md#thanosblockuploadlagging",
  logs: "logs.md#fluentbitnooutput",
  disk: "storage.md",
  snapshot: "logs.md#opensearchsnapshotstale",
  backup: "storage.md#longhornbackuptooold",
};

/** Alerts that say when a copy is too old; that depends on what is set. */
const TOLD: Record<string, string[]> = {
  snapshot: ["OpenSearchSnapshotStale", "OpenSearchSnapshotFailed"],
  backup: ["LonghornBackupTooOld", "LonghornBackupFailed"],
};

/** Days in which what ends is something for this week. */
const SOON = 14;

/** What a report is made of; `drift`: so many changes a deploy would make, or why nobody can say. */
export interface Sources extends Awaited<ReturnType<typeof askFor>> {
  of: string; // the words that chose its clusters; it is compared with one of the same
  clusters: Cluster[];
  drift: Map<string, number | { error: unknown }>;
  unasked: string[]; // ids of those of which drift was not looked at, for lack of their secrets
  runbooks: string; // where docs/runbooks are read
  previous?: FleetFacts & { at: string };
}

/** A report of what was found. */
export function reportOf(found: Sources) {
  const { of, unasked, runbooks, previous } = found, facts = factsOf(found);
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

function factsOf(found: Sources) {
  const { clusters, answers, week, drift } = found;
  const firing = found.firing?.filter((one) => clusters.some(({ id }) => id === one.cluster));
  const lines = status.healthOf(clusters, answers).map((health) => {
    const { id, name, state } = health, cluster = clusters.find((one) => one.id === id)!;
    const own = (samples: Sample[] | null) =>
      status.ageOf(samples?.find(({ metric }) => metric.cluster === name));
    const told = Object.keys(TOLD).filter((column) =>
      firing?.some((one) => one.cluster === id && TOLD[column]!.includes(one.alert))
    );
    const away = state === "away" ? ["seen"] : [], changes = drift.get(id);
    const known = Object.entries(status.judged(cluster, health));
    const wrong = [...away, ...known.flatMap(([column, is]) => is ? column : []), ...told];
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
  const unknown = [...unsaid, ...unplanned]
    .map(({ of = centre, what, error }) => ({ cluster: of, what, why: whyOf(error) }));
  const certificates = endingOf(found), { volumes } = week;
  return { clusters: lines, certificates, volumes, firing: firing ?? null, unknown };
}

type FleetFacts = ReturnType<typeof factsOf>;

function endingOf({ clusters, answers }: Sources) {
  const all = clusters.flatMap((cluster) =>
    status.certificatesOf(cluster, answers.cert).map((one) => ({ id: cluster.id, one }))
  );
  return [...Map.groupBy(all, ({ one }) => one.whose + one.ends).values()]
    .map((those) => ({ clusters: those.map(({ id }) => id), ...those[0]!.one }))
    .sort((one, other) => one.ends.localeCompare(other.ends));
}

/** As of `make status`, but 11, too, where a part of the report is not known. */
export function exitCodeOfReport({ clusters, unknown }: FleetReport): number {
  return unknown.length > 0 ? ExitCode.verification : status.exitCodeOfStatus(clusters);
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
  return typeof days === "number" && days < SOON || (points.at(-1) ?? 0) >= status.FULL;
}

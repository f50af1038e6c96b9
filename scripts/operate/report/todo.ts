// What to do about it this week.
import { shortList } from "../../../lib/core/short_list.ts";
import type { Firing } from "../centre/alerts.ts";
import { FULL } from "../centre/status.ts";
import type { Filling } from "../centre/week.ts";
import type { FleetFacts } from "./facts.ts";

/** One thing to do. */
interface Todo {
  what: string;
  why: string;
  command: string;
  runbook: string | null;
}

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

/** What to do, the worst first; a thing that several clusters have is one. `runbooks`: where docs/runbooks are read. */
export function todoOf(found: FleetFacts, runbooks: string): Todo[] {
  const todo: Todo[] = [];
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
    const why =
      `Raise its *_STORAGE in env/cluster-${cluster}.env or make room, then look at the plan`;
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

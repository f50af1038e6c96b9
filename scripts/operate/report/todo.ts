// What to do this week about what a report has found.
import { shortList } from "../../../lib/core/short_list.ts";
import type { Firing } from "../centre/alerts.ts";
import { FULL } from "../centre/status.ts";
import type { Filling } from "../centre/week.ts";
import type { ClusterLine, FleetFacts } from "./facts.ts";

/** One thing to do. */
export interface Todo {
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

/** What to do, the worst first; a thing that several clusters have is one. */
export function todoOf(found: FleetFacts, runbooks: string): Todo[] {
  const lines = found.clusters.filter(({ state }) => state !== "paused");
  const among = (is: (line: ClusterLine) => unknown) => lines.filter(is).map(({ id }) => id);
  const isNear = ({ cluster }: { cluster: string }) => lines.some(({ id }) => id === cluster);
  const away = among(({ state }) => state === "away");
  const all: (Omit<Todo, "command"> & { verb: string; ids: string[] })[] = [{
    ids: away,
    what: "Away",
    why: "No sample of the last five minutes has arrived",
    verb: "verify",
    runbook: runbooks + RUNBOOKS.seen,
  }];
  // What fires about one that is away fires because it is.
  const loud = found.firing.filter((one) =>
    isNear(one) && !away.includes(one.cluster) && one.severity !== "info"
  );
  for (const [what, those] of Map.groupBy(loud, ({ alert }) => alert)) {
    const [{ summary, runbook }] = those as [Firing];
    const ids = among(({ id }) => those.some(({ cluster }) => cluster === id));
    all.push({ ids, what, why: summary ?? "This alert fires", verb: "alerts", runbook });
  }
  for (
    const { cluster, what, days } of found.volumes.filter((one) => isNear(one) && isEnding(one))
  ) {
    all.push({
      ids: [cluster],
      what: `${what} ${typeof days === "number" ? `is full in ${days} days` : "is nearly full"}`,
      why: `Raise its *_STORAGE in env/cluster-${cluster}.env or make room, then look at the plan`,
      verb: "plan",
      runbook: runbooks + RUNBOOKS.disk,
    });
  }
  for (const { whose, ends, clusters: ids } of found.certificates.filter(({ soon }) => soon)) {
    const what = `The certificate ${whose} ends on ${ends.slice(0, 10)}`;
    const why = "docs/certificates.md says who renews it";
    all.push({ ids, what, why, verb: "preflight", runbook: null });
  }
  for (const { id, state, wrong } of lines) {
    if (state !== "warn" || wrong.includes("alerts")) continue;
    const runbook = wrong[0]! in RUNBOOKS ? runbooks + RUNBOOKS[wrong[0]!] : null;
    const why = "Out of its bounds, and no alert says so";
    all.push({ ids: [id], what: `Wrong: ${wrong.join(", ")}`, why, verb: "verify", runbook });
  }
  all.push({
    ids: among(({ state }) => state === "unknown"),
    what: "Not all is known",
    why: "What nobody can tell is not well",
    verb: "verify",
    runbook: null,
  }, {
    ids: among(({ drift }) => drift),
    what: "Not as these settings say",
    why: "Somebody changed something there, or what is here was not deployed",
    verb: "plan",
    runbook: null,
  });
  return all.filter(({ ids }) => ids.length > 0).map(({ ids, what, verb, ...more }) => ({
    what: `${what}: ${shortList(ids)}`,
    command: `make ${verb}${ids.length > 1 ? ` CLUSTER=${ids.join(",")}` : `-${ids[0]}`}`,
    ...more,
  }));
}

/** Whether a volume is something for this week. */
export function isEnding({ days, points }: Filling): boolean {
  return typeof days === "number" && days < SOON || (points.at(-1) ?? 0) >= FULL;
}

// How a run of the fleet ended: one table, one exit code, the same for programs, and where to look now.
import { isStandIn } from "../core/check.ts";
import { type Cluster, flag, text } from "../core/cluster.ts";
import { messageOf } from "../core/error.ts";
import { counted, FEW, shortList } from "../core/short_list.ts";
import { documentOf, Report, table, worstCode } from "../io/report.ts";
import type { StepResult } from "./context.ts";
import type { Step } from "./step.ts";

/** How a run ended on one cluster. */
export interface ClusterResult {
  cluster: Cluster;
  steps: StepResult[];
  /** A failure before the first step (wrong cluster, unreachable). */
  error?: unknown;
}

/** Whether something went wrong on the cluster. */
export function hasFailed({ error, steps }: ClusterResult): boolean {
  return error !== undefined || steps.some(({ state }) => state === "failed");
}

/** Exit code of a fleet run: 0, or that of the worst cluster (the highest number). */
export function exitCodeOfFleet(results: ClusterResult[]): number {
  const errors = results.flatMap(({ error, steps }) => [error, ...steps.map(({ error }) => error)]);
  return worstCode(errors);
}

/**
 * The closing table, then what a run of so many seconds came to: cluster x step; of more clusters than a few (unless
 * `matrix`) a line for each, the worst first, and before them, in any case, every failure in full.
 */
export function summary(results: ClusterResult[], seconds: number, matrix = false): string {
  const isFew = results.length <= FEW;
  const all = results.flatMap(({ steps }) => steps);
  const changes = all.reduce((sum, { changed }) => sum + changed, 0);
  const failed = results.filter(hasFailed);
  const verdict = failed.length > 0
    ? `failed on ${failed.map(({ cluster }) => cluster.id).join(", ")}`
    : `${counted(changes, "change")} in ${seconds.toFixed(0)}s`;
  const rows = isFew || matrix ? stepRows(results) : clusterRows(results);
  return [...(isFew ? [] : failuresOf(results)), table(rows), verdict].join("\n\n");
}

function stepRows(results: ClusterResult[]): string[][] {
  const heading = ["cluster", "step", "objects", "changed", "seconds", "state", ""];
  const rows = results.flatMap(({ cluster, steps }) =>
    steps.map(({ step, state, objects, changed, seconds, notShown }) => [
      cluster.id,
      step,
      String(objects),
      String(changed),
      seconds.toFixed(1),
      state,
      hidden(notShown.length),
    ])
  );
  return [heading, ...rows];
}

function clusterRows(results: ClusterResult[]): string[][] {
  const rows = results.map((result) => {
    const { cluster, steps } = result;
    const sum = (of: (step: StepResult) => number) =>
      steps.reduce((sum, step) => sum + of(step), 0);
    const failed = steps.find(({ state }) => state === "failed");
    const left = steps.findIndex(({ state }) => state === "not run");
    const stopped = left > 0 ? `stopped before ${steps[left]!.step}` : "not run";
    const [rank, state] = hasFailed(result)
      ? [0, failed ? `failed in ${failed.step}` : "failed"]
      : left >= 0
      ? [1, stopped]
      : [2, "ok"];
    const figures = [sum(({ objects }) => objects), sum(({ changed }) => changed)].map(String);
    const seconds = sum(({ seconds }) => seconds).toFixed(1);
    const note = hidden(sum(({ notShown }) => notShown.length));
    return { rank, row: [cluster.id, ...figures, seconds, state, note] };
  });
  const worstFirst = rows.toSorted((a, b) => a.rank - b.rank).map(({ row }) => row);
  return [["cluster", "objects", "changed", "seconds", "state", ""], ...worstFirst];
}

function hidden(phases: number): string {
  return phases > 0 ? `${counted(phases, "live phase")} not shown here` : "";
}

/** Every failure as it was told on the way, one that several clusters share once. */
function failuresOf(results: ClusterResult[]): string[] {
  const all = results.flatMap(({ cluster, error, steps }) =>
    [{ step: "", error }, ...steps].filter(({ error }) => error !== undefined)
      .map(({ step, error }) => ({ cluster, step, error }))
  );
  const shared = Map.groupBy(all, ({ step, error }) => step + failureOf(error));
  return [...shared.values()].map((those) => {
    const [{ cluster, step, error }] = those as [typeof all[number]];
    const ids = those.map(({ cluster }) => cluster.id).join(", ");
    return `${ids}  ${step}`.trimEnd() + `\n${failureOf(error, cluster).trimEnd()}`;
  });
}

function failureOf(error: unknown, cluster?: Cluster): string {
  let told = "";
  new Report("  ", (line) => told += line).error(error, cluster);
  return told;
}

/** Clusters that were left out, for programs. */
export function pausedJson(paused: Cluster[]) {
  return paused.map(({ id, pause }) => ({ id, reason: pause!.reason, until: pause!.until }));
}

/** The results for programs (docs/schema/deploy.json). */
export function resultsJson(
  results: ClusterResult[],
  exitCode: number,
  left: Cluster[] = [],
): string {
  const told = (error: unknown) => error === undefined ? {} : { error: messageOf(error) };
  const clusters = results.map(({ cluster, steps, error }) => ({
    id: cluster.id,
    name: text(cluster, "CLUSTER_NAME"),
    steps: steps.map(({ wanted: _, error, ...rest }) => ({ ...rest, ...told(error) })),
    ...told(error),
  }));
  return documentOf("deploy/v1", { exitCode, clusters, paused: pausedJson(left) });
}

/** Phases that simulated nodes or stand-ins could not show, over all clusters, each named once. */
export function notShown(results: ClusterResult[]): string[] {
  const all = results.flatMap(({ steps }) =>
    steps.flatMap(({ step, notShown }) => notShown.map((phase) => `${step}: ${phase}`))
  );
  return [...new Set(all)];
}

/** What steps leave open on clusters, as a table with what closes it; "" where there is nothing. */
export function openDoors(on: { cluster: Cluster; steps: Step[] }[]): string {
  const doors = on.flatMap(({ cluster, steps }) =>
    steps.flatMap(({ opens }) => opens?.(cluster) ?? []).map((door) => ({ ...door, cluster }))
  );
  const rows = [...Map.groupBy(doors, ({ what }) => what)].map(([what, same]) => [
    same.length > FEW
      ? shortList(same.map(({ cluster }) => cluster.id))
      : same.map(({ cluster }) => cluster.id).join(", "),
    what,
    same[0]!.closedBy,
  ]);
  return rows.length > 0 ? table([["open on", "to whoever reaches it", "closed by"], ...rows]) : "";
}

/** Addresses that the cluster's Ingresses open, as a person types them; a stand-in has no page to open. */
export async function urlsOf(steps: Step[], cluster: Cluster): Promise<string[]> {
  const [scheme, port] = flag(cluster, "INGRESS_TLS")
    ? ["https", text(cluster, "HTTPS_NODE_PORT")]
    : ["http", text(cluster, "HTTP_NODE_PORT")];
  // Without the bundles: they bring no Ingress, and patching them again would cost seconds.
  const objects = await Promise.all(steps.map((step) => step.objects(cluster)));
  return objects.flat()
    .filter(({ kind, metadata }) => kind === "Ingress" && !isStandIn(cluster, metadata.name))
    .flatMap(({ spec }) =>
      spec.rules.map(({ host }: { host: string }) => `${scheme}://${host}:${port}`)
    );
}

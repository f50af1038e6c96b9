// How a run of the fleet ended: one table, one exit code, the same for programs.
import type { CheckVerdict } from "../core/check.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { messageOf } from "../core/error.ts";
import { counted, FEW } from "../core/short_list.ts";
import { documentOf, Report, table, worstCode } from "../io/report.ts";

/** How a step ended on one cluster. */
export interface StepResult {
  step: string;
  state: "ok" | "failed" | "skipped" | "not run";
  objects: number;
  changed: number;
  seconds: number;
  notShown: string[]; // phases that simulated nodes or stand-ins could not show
  checks?: CheckVerdict[]; // of one that only looks
  error?: unknown;
}

/** How a run ended on one cluster. */
export interface ClusterResult {
  cluster: Cluster;
  steps: StepResult[];
  error?: unknown; // beside the steps: before the first (wrong cluster, unreachable), or in the look for what is surplus
}

/** The result of a step that was not begun. */
export function notRun({ name }: { name: string }): StepResult {
  return { ...begun(name), state: "not run" };
}

/** The result of a step (or of another part of a deploy) that has only just begun. */
export function begun(step: string): StepResult {
  return { step, state: "ok", objects: 0, changed: 0, seconds: 0, notShown: [] };
}

export function hasFailed({ error, steps }: ClusterResult): boolean {
  return error !== undefined || steps.some(({ state }) => state === "failed");
}

/** Whether the step of that name ended well. */
export function hasHad(steps: StepResult[], name: string): boolean {
  return steps.some(({ step, state }) => step === name && state === "ok");
}

/** Exit code of a fleet run: 0, or that of the worst cluster (the highest number). */
export function exitCodeOfFleet(results: ClusterResult[]): number {
  const all = results.flatMap((result) => [result, ...result.steps]);
  return worstCode(all.map(({ error }) => error));
}

/** The closing table: cluster x step; of many (but for `matrix`) a line for each, after all failures in full. */
export function summary(results: ClusterResult[], seconds: number, matrix = false): string {
  const isFew = results.length <= FEW;
  const changes = sumOf(results.flatMap(({ steps }) => steps), ({ changed }) => changed);
  const failed = results.filter(hasFailed).map(({ cluster }) => cluster.id).join(", ");
  return [
    ...isFew ? [] : failuresOf(results),
    table(isFew || matrix ? stepRows(results) : clusterRows(results)),
    failed ? `failed on ${failed}` : `${counted(changes, "change")} in ${seconds.toFixed(0)}s`,
  ].join("\n\n");
}

const COLUMNS = ["objects", "changed", "seconds", "state", ""];

function stepRows(results: ClusterResult[]): string[][] {
  const rows = results.flatMap(({ cluster, steps }) =>
    steps.map((one) => [cluster.id, one.step, ...cellsOf([one], one.state)])
  );
  return [["cluster", "step", ...COLUMNS], ...rows];
}

function clusterRows(results: ClusterResult[]): string[][] {
  const ends = results.map((result) => ({ ...result, end: endOf(result) }));
  const rows = ends.toSorted((a, b) => a.end.rank - b.end.rank)
    .map(({ cluster, steps, end }) => [cluster.id, ...cellsOf(steps, end.state)]);
  return [["cluster", ...COLUMNS], ...rows];
}

function endOf(result: ClusterResult): { rank: number; state: string } {
  const { steps } = result;
  const failed = steps.find(({ state }) => state === "failed");
  if (hasFailed(result)) return { rank: 0, state: failed ? `failed in ${failed.step}` : "failed" };
  const left = steps.findIndex(({ state }) => state === "not run");
  if (left < 0) return { rank: 2, state: "ok" };
  return { rank: 1, state: left > 0 ? `stopped before ${steps[left]!.step}` : "not run" };
}

function cellsOf(steps: StepResult[], state: string): string[] {
  const hidden = sumOf(steps, ({ notShown }) => notShown.length);
  return [
    String(sumOf(steps, ({ objects }) => objects)),
    String(sumOf(steps, ({ changed }) => changed)),
    sumOf(steps, ({ seconds }) => seconds).toFixed(1),
    state,
    hidden > 0 ? `${counted(hidden, "live phase")} not shown here` : "",
  ];
}

function sumOf(steps: StepResult[], figure: (step: StepResult) => number): number {
  return steps.reduce((sum, step) => sum + figure(step), 0);
}

function failuresOf(results: ClusterResult[]): string[] {
  const all = results.flatMap(({ cluster, error, steps }) =>
    [{ step: "", error }, ...steps].filter(({ error }) => error !== undefined)
      .map(({ step, error }) => ({ cluster, step, error }))
  );
  const shared = Map.groupBy(all, ({ step, error }) => step + failureOf(error));
  return [...shared.values()].map((those) => {
    const { cluster, step, error } = those[0]!;
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
  paused: Cluster[] = [],
): string {
  const told = (error: unknown) => error === undefined ? undefined : messageOf(error);
  const clusters = results.map(({ cluster, steps, error }) => ({
    id: cluster.id,
    name: text(cluster, "CLUSTER_NAME"),
    steps: steps.map((step) => ({ ...step, error: told(step.error) })),
    error: told(error),
  }));
  return documentOf("deploy/v1", { exitCode, clusters, paused: pausedJson(paused) });
}

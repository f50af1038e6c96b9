// Many clusters at once: steps in order on each, clusters side by side, one table, one exit code.
import { apply } from "./apply.ts";
import { tellCentral } from "./central.ts";
import { type Cluster, text } from "./cluster.ts";
import { messageOf } from "./error.ts";
import { checkTarget } from "./guard.ts";
import { shareLooks } from "./inventory.ts";
import { nothingBefore } from "./kinds.ts";
import { lock } from "./lock.ts";
import type { Manifest } from "./manifest.ts";
import { changeCount, openLiveView, Report, table, worstCode } from "./report.ts";
import { desired, notRun, runStep, type Step, type StepResult } from "./step.ts";
import { tidy, type TidyOptions } from "./tidy.ts";

export interface ClusterResult {
  cluster: Cluster;
  steps: StepResult[];
  /** A failure before the first step (wrong cluster, unreachable). */
  error?: unknown;
}

export interface DeployOptions extends TidyOptions {
  /** Accept that the cluster was rebuilt (another kube-system UID). */
  adopt?: boolean;
  /** Throws when a cluster, which is locked by then, is not what the operator has approved. */
  approve?: (cluster: Cluster) => Promise<void>;
  /** Deploy though another run holds the cluster's lock. */
  stealLock?: boolean;
  /** Ids of objects that may be deleted and created where a field of them cannot change. */
  replace?: ReadonlySet<string>;
  /** Clusters that may fail before the others begin no further step. */
  maxFailures?: number;
  /** The central cluster when it is none of those deployed: it is told what it has to know of them. */
  central?: Cluster;
}

/**
 * Runs the steps on all clusters side by side; a cluster that fails does not stop the others. Steps
 * that look at the whole fleet run when every cluster has had the rest, and central knows of it.
 */
export async function deployFleet(
  steps: Step[],
  clusters: Cluster[],
  options: DeployOptions = {},
): Promise<ClusterResult[]> {
  const own = steps.filter(({ afterFleet }) => !afterFleet);
  const last = steps.filter(({ afterFleet }) => afterFleet);
  using _view = openLiveView();
  const runs = clusters.map((cluster) => ({
    cluster,
    report: new Report(clusters.length > 1 ? `${cluster.id} | ` : ""),
    result: { cluster, steps: [] } as ClusterResult,
  }));
  const { maxFailures = Infinity, replace } = options;
  const stopped = () => runs.filter(({ result }) => hasFailed(result)).length >= maxFailures;
  await Promise.all(runs.map(async ({ cluster, report, result }) => {
    for (const warning of cluster.warnings) report.warn(warning);
    await using begun = await begin(steps, cluster, report, options)
      .catch((error) => void (result.error = error));
    if (result.error) report.error(result.error);
    await runSteps(own, result, report, { replace, stopped, wanted: begun?.wanted });
    result.steps.push(...await tidy(own, result.steps, cluster, report, options));
  }));
  const results = runs.map(({ result }) => result);
  const { central } = options;
  const told = central ? await tellCentral(own, (step) => edgesWith(step, results), central) : [];
  await Promise.all(runs.map(({ report, result }) => runSteps(last, result, report, { stopped })));
  return told.length > 0 ? [...results, { cluster: central!, steps: told }] : results;
}

/** Ids of the clusters on which the step ended well. */
function edgesWith({ name }: Step, results: ClusterResult[]): string[] {
  return results.filter(({ steps }) =>
    steps.some(({ step, state }) => step === name && state === "ok")
  ).map(({ cluster }) => cluster.id);
}

/** What the steps want, so that a bad manifest of the last is known before the first; holds the lock. */
interface Begun extends AsyncDisposable {
  wanted: Map<Step, Manifest[]>;
}

/** Makes sure that it is the right cluster, marks a new one, and locks it where steps write to it. */
async function begin(
  steps: Step[],
  cluster: Cluster,
  report: Report,
  options: DeployOptions,
): Promise<Begun | undefined> {
  if (!steps.some(({ needsCluster }) => needsCluster)) return undefined;
  const { marker, lease } = await checkTarget(cluster, options);
  shareLooks(cluster);
  const own = steps.filter(({ afterFleet }) => !afterFleet);
  if (own.length === 0) return undefined;
  const rendering = Promise.all(
    own.map(async (step) => [step, await desired(step, cluster)] as const),
  );
  // Before the lock is there nobody waits for it.
  rendering.catch(() => {});
  const say = (text: string) => report.warn(text);
  const held = await lock(cluster, lease, { steal: options.stealLock, say });
  try {
    const wanted = new Map(await rendering);
    await options.approve?.(cluster);
    if (marker) {
      await nothingBefore(cluster);
      await apply(cluster, [marker]);
    }
    return { wanted, [Symbol.asyncDispose]: () => held[Symbol.asyncDispose]() };
  } catch (error) {
    await held[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs steps in order and adds their results; after a failure (or once `stopped`) the rest is not run. */
async function runSteps(
  steps: Step[],
  result: ClusterResult,
  report: Report,
  { stopped, replace, wanted }: {
    stopped: () => boolean;
    replace?: ReadonlySet<string>;
    wanted?: Map<Step, Manifest[]>;
  },
): Promise<void> {
  const { cluster, steps: done } = result;
  for (const step of steps) {
    if (stopped() || hasFailed(result) || done.some(({ state }) => state === "not run")) {
      done.push(notRun(step));
      continue;
    }
    const ran = (need: string) => done.some(({ step, state }) => step === need && state === "ok");
    const alone = !step.needs.every(ran);
    done.push(await runStep(step, cluster, report, { alone, replace, objects: wanted?.get(step) }));
  }
}

function hasFailed({ error, steps }: ClusterResult): boolean {
  return error !== undefined || steps.some(({ state }) => state === "failed");
}

/** Exit code of a fleet run: 0, or that of the worst cluster (the highest number). */
export function exitCodeOfFleet(results: ClusterResult[]): number {
  const errors = results.flatMap(({ error, steps }) => [error, ...steps.map(({ error }) => error)]);
  return worstCode(errors);
}

/** The closing table: cluster x step, then what a run of so many seconds came to. */
export function summary(results: ClusterResult[], seconds: number): string {
  const rows = results.flatMap(({ cluster, steps }) =>
    steps.map(({ step, state, objects, changed, seconds, notShown }) => [
      cluster.id,
      step,
      String(objects),
      String(changed),
      seconds.toFixed(1),
      state,
      notShown.length > 0 ? `${notShown.length} live phases not shown here` : "",
    ])
  );
  const all = results.flatMap(({ steps }) => steps);
  const changes = all.reduce((sum, { changed }) => sum + changed, 0);
  const failed = results.filter(hasFailed);
  const verdict = failed.length > 0
    ? `failed on ${failed.map(({ cluster }) => cluster.id).join(", ")}`
    : `${changeCount(changes)} in ${seconds.toFixed(0)}s`;
  const heading = ["cluster", "step", "objects", "changed", "seconds", "state", ""];
  return `${table([heading, ...rows])}\n\n${verdict}`;
}

/** The results for programs; `schema` names the format. */
export function resultsJson(results: ClusterResult[], exitCode: number): string {
  const told = (error: unknown) => error === undefined ? {} : { error: messageOf(error) };
  const clusters = results.map(({ cluster, steps, error }) => ({
    id: cluster.id,
    name: text(cluster, "CLUSTER_NAME"),
    steps: steps.map(({ wanted: _, error, ...rest }) => ({ ...rest, ...told(error) })),
    ...told(error),
  }));
  return JSON.stringify({ schema: "thanos-multi-cluster/deploy/v1", exitCode, clusters }, null, 2);
}

/** Phases that simulated nodes or stand-ins could not show, over all clusters, each named once. */
export function notShown(results: ClusterResult[]): string[] {
  const all = results.flatMap(({ steps }) =>
    steps.flatMap(({ step, notShown }) => notShown.map((phase) => `${step}: ${phase}`))
  );
  return [...new Set(all)];
}

/** Addresses that the cluster's Ingresses open, as a person types them. */
export async function urlsOf(steps: Step[], cluster: Cluster): Promise<string[]> {
  const port = text(cluster, "HTTP_NODE_PORT");
  // Without the bundles: they bring no Ingress, and patching them again would cost seconds.
  const objects = await Promise.all(steps.map((step) => step.objects(cluster)));
  return objects.flat()
    .filter(({ kind }) => kind === "Ingress")
    .flatMap(({ spec }) =>
      spec.rules.map(({ host }: { host: string }) => `http://${host}:${port}`)
    );
}

// Many clusters at once: steps in order on each, clusters side by side.
import { apply } from "../apply/apply.ts";
import { tellCentral } from "./central.ts";
import type { Cluster } from "../core/cluster.ts";
import { checkTarget } from "../kube/target.ts";
import { shareLooks } from "../apply/inventory.ts";
import { nothingBefore } from "../kube/kinds.ts";
import { lock } from "../kube/lock.ts";
import type { Manifest } from "../core/object.ts";
import { openLiveView, Report } from "../io/report.ts";
import { type ClusterResult, hasFailed } from "./results.ts";
import { desired, notRun, runStep, type Step } from "./step.ts";
import { nameSurplus, type TidyOptions } from "./remove.ts";

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
  /** All clusters of the site; default: those deployed. */
  fleet?: Cluster[];
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
  const { maxFailures = Infinity, replace, fleet = clusters } = options;
  const stopped = () => runs.filter(({ result }) => hasFailed(result)).length >= maxFailures;
  await Promise.all(runs.map(async ({ cluster, report, result }) => {
    await using begun = await begin(steps, cluster, report, options)
      .catch((error) => void (result.error = error));
    if (result.error) report.error(result.error, cluster);
    await runSteps(own, result, report, { fleet, replace, stopped, wanted: begun?.wanted });
    result.steps.push(...await nameSurplus(own, result.steps, cluster, report, options));
  }));
  const results = runs.map(({ result }) => result);
  const { central } = options;
  const told = central
    ? await tellCentral(own, (step) => edgesWith(step, results), central, options)
    : [];
  await Promise.all(
    runs.map(({ report, result }) => runSteps(last, result, report, { fleet, stopped })),
  );
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
  { fleet, stopped, replace, wanted }: {
    fleet: Cluster[];
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
    done.push(
      await runStep(step, cluster, report, { alone, fleet, replace, objects: wanted?.get(step) }),
    );
  }
}

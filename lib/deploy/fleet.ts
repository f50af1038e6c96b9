// Many clusters: steps in order on each, or their removal, as many clusters side by side as can be worked on. The centre
// catches up with edges that were deployed without it: that it is away is no failure of theirs.
import { apply, staleAmong } from "../apply/apply.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, isCutOff, prerequisiteError } from "../core/error.ts";
import { connect, type Connection } from "../kube/target.ts";
import { Inventory, type Powers } from "../apply/inventory.ts";
import { lock } from "../kube/lock.ts";
import { keepWay } from "../kube/proxy.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import { areReady } from "../apply/readiness.ts";
import type { Manifest } from "../core/object.ts";
import { signalCode } from "../io/interrupt.ts";
import { openLiveView } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { plan, type Planned } from "./plan.ts";
import { type ClusterResult, hasFailed, hasHad } from "./results.ts";
import {
  failRun,
  nameSurplus,
  removal,
  type Run,
  runOn,
  runSteps,
  type TidyOptions,
} from "./run.ts";
import { desired, desiredOf, type Step } from "./step.ts";

/** Seconds that another run at central is waited for; one that is gone is known to be so by then. */
const PATIENCE = 100;

export interface DeployOptions extends TidyOptions, Pick<Powers, "take" | "replace"> {
  adopt?: boolean; // accept that the cluster was rebuilt (another kube-system UID)
  stealLock?: boolean; // go on though another run holds the cluster's lock
  maxFailures?: number; // clusters that may fail before the others begin no further step
  /** Throws when a cluster, which is locked by then, is not what the operator has approved. */
  approve?: (inventory: Inventory) => Promise<void>;
  /** The central cluster: when it is none of those deployed it is told what it has to know of them. */
  central?: Cluster;
}

/** Runs the steps on all clusters, whichever fail; those that look at the fleet last, when central knows of it. */
export async function deployFleet(
  steps: Step[],
  clusters: Cluster[],
  options: DeployOptions = {},
): Promise<ClusterResult[]> {
  const own = steps.filter(({ afterFleet }) => !afterFleet);
  const last = steps.filter(({ afterFleet }) => afterFleet);
  const { maxFailures = Infinity, central } = options;
  using _view = openLiveView();
  const runs = clusters.map((cluster) => runOn(cluster, clusters.length));
  const results = runs.map(({ result }) => result);
  const stopped = () => results.filter(hasFailed).length >= maxFailures;
  for (const { report } of runs) report.now("not begun", true);
  // One that waits holds no lock.
  await sideBySide(runs, CLUSTERS_AT_ONCE, async (run) => {
    await using held = new AsyncDisposableStack();
    held.use(keepWay(run.cluster));
    try {
      if (!stopped() && signalCode() === 0) await begin(own, run, held, options);
      // Of what is not well somebody wants to know why.
      const { inventory, objects = [] } = run;
      run.isSettled = inventory && last.length > 0 &&
        (await staleAmong(inventory, objects)).length === 0 && await areReady(inventory, objects);
    } catch (error) {
      failRun(run, error);
    }
    await runSteps(own, run, stopped);
    await nameSurplus(own, run, options).catch((error) => failRun(run, error));
    // Megabytes of each cluster, which nobody wants any more; what is there is too old by the time that all are done.
    run.objects = undefined;
    if (runs.length > CLUSTERS_AT_ONCE) run.inventory?.refresh();
  });
  const withStep = ({ name }: Step) =>
    results.filter(({ steps }) => hasHad(steps, name)).map(({ cluster }) => cluster.id);
  const told = central && !clusters.includes(central)
    ? await tellCentral(own, withStep, central, options)
    : [];
  await sideBySide(runs, CLUSTERS_AT_ONCE, (run) => runSteps(last, run, stopped));
  return [...results, ...told];
}

// Makes sure that it is the right cluster, marks a new one, and locks it (`held`) where steps write to it; `isTold`: it
// is central, had them before, and waits for its turn.
async function begin(
  steps: Step[],
  run: Run,
  held: AsyncDisposableStack,
  options: DeployOptions,
  isTold = false,
): Promise<void> {
  const { cluster, report } = run, powers = { ...options, say: report.note };
  let connection = await connect(cluster, options);
  let inventory = new Inventory(connection, powers);
  if (steps.length > 0) {
    // The look and the rendering go on beside the lock; their failures are for those who want them.
    inventory.live().catch(() => {});
    const rendering = desiredOf(steps, cluster);
    rendering.catch(() => {});
    if (isTold) await refuseNew(connection, inventory, await rendering);
    const patience = isTold ? PATIENCE : undefined;
    const how = { steal: options.stealLock, patience, say: report.warn };
    if (held.use(await lock(cluster, connection.lease, how)).hasWaited) {
      connection = await connect(cluster, options);
      inventory = new Inventory(connection, powers);
    }
    run.objects = await rendering;
    await options.approve?.(inventory);
    run.isWritten = true;
    if (connection.marker) await apply(inventory, [connection.marker]);
    await inventory.keep(run.objects);
  }
  run.inventory = inventory;
}

/** What a step wants central to know, and of which edges (ids). */
type News = { part: Step; edges: string[] };

function newsOf(steps: Step[], edgesWith: (step: Step) => string[], central: Cluster): News[] {
  return steps.flatMap((step) => {
    const edges = edgesWith(step);
    const part = edges.length > 0 ? step.centralPart?.(edges) : undefined;
    return part && !part.skips?.(central) ? [{ part, edges }] : [];
  });
}

/** Deploys to central what the steps want it to know of the edges (ids) that had them: a result for each. */
export async function tellCentral(
  steps: Step[],
  edgesWith: (step: Step) => string[],
  central: Cluster,
  options: DeployOptions = {},
): Promise<ClusterResult[]> {
  const results: ClusterResult[] = [];
  for (const news of newsOf(steps, edgesWith, central)) {
    const run = runOn(central);
    let cut: unknown;
    await using held = new AsyncDisposableStack();
    try {
      await begin([news.part], run, held, { ...options, adopt: false }, true);
    } catch (error) {
      if (run.isWritten) failRun(run, error);
      else tellMissed(news, central, error);
      if (isCutOff(error) && !run.isWritten) cut = error;
    }
    await runSteps([news.part], run);
    // The run ends as interrupted, though nothing has failed.
    run.result.steps[0]!.error ??= cut;
    results.push(run.result);
  }
  return results;
}

/** What {@link tellCentral} would change, were all steps run on these edges (ids). */
export async function planCentral(
  steps: Step[],
  edges: string[],
  central: Cluster,
  powers?: Powers,
): Promise<Planned[]> {
  const plans = newsOf(steps, () => edges, central).map(async (news) => {
    let inventory: Inventory, objects: Manifest[];
    try {
      const connection = await connect(central);
      inventory = new Inventory(connection, powers);
      objects = await desired(news.part, central);
      await refuseNew(connection, inventory, objects);
    } catch (error) {
      if (isCutOff(error)) throw error;
      tellMissed(news, central, error);
      return [];
    }
    // Only a part of the step is wanted here: the rest of it is not surplus.
    return await plan(inventory, objects);
  });
  return (await Promise.all(plans)).flat();
}

/** Refuses a central cluster that has none of these objects. A marker to write means that no deploy has been there. */
async function refuseNew({ marker }: Connection, inventory: Inventory, objects: Manifest[]) {
  const deltas = marker ? undefined : await inventory.deltas(objects);
  if (deltas?.values().some(({ state }) => state !== "missing")) return;
  throw prerequisiteError("it was never deployed");
}

function tellMissed({ part, edges }: News, central: Cluster, error: unknown): void {
  if (!(error instanceof DeployError)) throw error;
  runOn(central).report.warn(
    `${text(central, "CLUSTER_NAME")} does not know of ${edges.join(", ")} yet ` +
      `(${error.message}): make ${part.name} CLUSTER=${central.id}`,
  );
}

/** Removes the steps from all clusters side by side (or only says what would go); one that fails stops no other. */
export async function removeFleet(
  steps: Step[],
  clusters: Cluster[],
  { really = false, stealLock }: { really?: boolean; stealLock?: boolean } = {},
): Promise<ClusterResult[]> {
  const removals = steps.filter(({ afterFleet }) => !afterFleet).toReversed()
    .map((step) => removal(step, really));
  return await sideBySide(clusters, CLUSTERS_AT_ONCE, async (cluster) => {
    const run = runOn(cluster, clusters.length);
    await using held = new AsyncDisposableStack();
    try {
      let connection = await connect(cluster);
      const how = { steal: stealLock, say: run.report.warn };
      if (really && held.use(await lock(cluster, connection.lease, how)).hasWaited) {
        connection = await connect(cluster);
      }
      const inventory = new Inventory(connection);
      run.objects = await inventory.unwanted(removals.map(({ name }) => name), new Set());
      run.inventory = inventory;
    } catch (error) {
      failRun(run, error);
    }
    await runSteps(removals, run);
    return run.result;
  });
}

// Many clusters: steps in order on each, as many clusters side by side as can be worked on.
import { apply, staleAmong } from "../apply/apply.ts";
import { tellCentral, type TellOptions } from "./central.ts";
import type { Cluster } from "../core/cluster.ts";
import { isCutOff } from "../core/error.ts";
import { connect } from "../kube/target.ts";
import { Inventory } from "../apply/inventory.ts";
import { lock } from "../kube/lock.ts";
import { keepWay } from "../kube/proxy.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import { areReady } from "../apply/readiness.ts";
import type { Manifest } from "../core/object.ts";
import { signalCode } from "../io/interrupt.ts";
import { openLiveView, Report } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { type ClusterResult, hasFailed, hasHad } from "./results.ts";
import { desired, notRun, runStep, type Step } from "./step.ts";
import { nameSurplus, type TidyOptions } from "./remove.ts";

export interface DeployOptions extends TidyOptions, TellOptions {
  adopt?: boolean; // accept that the cluster was rebuilt (another kube-system UID)
  maxFailures?: number; // clusters that may fail before the others begin no further step
  /** The central cluster: when it is none of those deployed it is told what it has to know of them. */
  central?: Cluster;
}

interface Run {
  cluster: Cluster;
  report: Report;
  result: ClusterResult;
  isWritten?: boolean;
  inventory?: Inventory;
  /** What the steps want there, so that a bad manifest of the last is known before the first. */
  wanted: Map<Step, Manifest[]>;
  isSettled?: boolean; // all was as wanted, and ready, at the beginning, and verification follows
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
  const runs = clusters.map((cluster): Run => ({
    cluster,
    report: new Report(clusters.length > 1 ? `${cluster.id} | ` : ""),
    result: { cluster, steps: [] },
    wanted: new Map(),
  }));
  const results = runs.map(({ result }) => result);
  const stopped = () => results.filter(hasFailed).length >= maxFailures;
  for (const { report } of runs) report.now("not begun", true);
  // One that waits holds no lock.
  await sideBySide(runs, CLUSTERS_AT_ONCE, async (run) => {
    const { cluster, report, result } = run;
    await using held = new AsyncDisposableStack();
    held.use(keepWay(cluster));
    try {
      if (!stopped() && signalCode() === 0) await begin(own, run, held, options);
      // Of what is not well somebody wants to know why.
      const { inventory } = run, all = [...run.wanted.values()].flat();
      run.isSettled = inventory && last.length > 0 &&
        (await staleAmong(inventory, all)).length === 0 && await areReady(inventory, all);
    } catch (error) {
      // After Ctrl-C it is as it was, and that is no failure of it.
      if (run.isWritten || !isCutOff(error)) {
        report.error(error, cluster);
        result.error = error;
      }
    }
    await runSteps(own, run, stopped);
    const { inventory } = run;
    if (!inventory) return;
    const objects = [...run.wanted.values()].flat();
    const rows = await nameSurplus(own, objects, result.steps, inventory, report, options);
    result.steps.push(...rows);
    // Megabytes, and of many clusters too old by the time that the last of them is done.
    if (runs.length > CLUSTERS_AT_ONCE) inventory.refresh();
  });
  const withStep = ({ name }: Step) =>
    results.filter(({ steps }) => hasHad(steps, name)).map(({ cluster }) => cluster.id);
  const told = central && !clusters.includes(central)
    ? await tellCentral(own, withStep, central, options)
    : [];
  await sideBySide(runs, CLUSTERS_AT_ONCE, (run) => runSteps(last, run, stopped));
  return told.length > 0 ? [...results, { cluster: central!, steps: told }] : results;
}

/** Makes sure that it is the right cluster, marks a new one, and locks it (`held`) where steps write to it. */
async function begin(
  steps: Step[],
  run: Run,
  held: AsyncDisposableStack,
  options: DeployOptions,
): Promise<void> {
  const { cluster, report } = run, powers = { ...options, say: report.note };
  let connection = await connect(cluster, options);
  let inventory = new Inventory(connection, powers);
  if (steps.length > 0) {
    // The look and the rendering go on beside the lock; their failures are for those who want them.
    inventory.live().catch(() => {});
    const rendering = Promise.all(
      steps.map(async (step) => [step, await desired(step, cluster)] as const),
    );
    rendering.catch(() => {});
    const how = { steal: options.stealLock, say: report.warn };
    if (held.use(await lock(cluster, connection.lease, how)).hasWaited) {
      connection = await connect(cluster, options);
      inventory = new Inventory(connection, powers);
    }
    run.wanted = new Map(await rendering);
    await options.approve?.(inventory);
    run.isWritten = true;
    if (connection.marker) await apply(inventory, [connection.marker]);
    await inventory.keep([...run.wanted.values()].flat());
  }
  run.inventory = inventory;
}

async function runSteps(
  steps: Step[],
  { report, result, inventory, wanted, isSettled }: Run,
  stopped: () => boolean,
): Promise<void> {
  const { steps: done } = result;
  const besides: Promise<void>[] = [];
  const isStopped = () => done.some(({ state }) => state === "not run");
  for (const step of steps) {
    if (!inventory || stopped() || hasFailed(result) || isStopped()) {
      done.push(notRun(step));
      continue;
    }
    const alone = step.needs?.some((need) => !hasHad(done, need));
    const isIdle = isSettled && done.every(({ changed }) => changed === 0);
    const options = { alone, besides, objects: wanted.get(step), isSettled: isIdle };
    done.push(await runStep(step, inventory, report, options));
  }
  // Nothing of ours may be at work when the lock is given back.
  await Promise.all(besides);
  report.now(hasFailed(result) ? "failed" : isStopped() ? "stopped" : "done", true);
}

// The central cluster catches up with edges that are deployed without it. That it cannot be reached,
// or is not there yet, is no failure of theirs: a warning names the command that makes up for it.
import { type Cluster, text } from "../core/cluster.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError, ExitCode } from "../core/error.ts";
import type { Manifest } from "../core/object.ts";
import { lock, type LockOptions } from "../kube/lock.ts";
import { checkTarget, type TargetSeen } from "../kube/target.ts";
import { deltasOf, shareLooks } from "../apply/inventory.ts";
import { plan, type Planned } from "./plan.ts";
import { Report } from "../io/report.ts";
import { desired, notRun, runStep, type Step, type StepResult } from "./step.ts";

/** Seconds that another run at central is waited for. */
const PATIENCE = 60;

/**
 * Runs on central what the steps want it to know of the edges (ids) that had them, as every deploy does: when it
 * is the right cluster, under its lock, and where the plan that was approved says the same.
 */
export async function tellCentral(
  steps: Step[],
  edgesWith: (step: Step) => string[],
  central: Cluster,
  { approve, stealLock }: {
    approve?: (cluster: Cluster) => Promise<void>;
    stealLock?: boolean;
  } = {},
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const report = new Report(`${central.id} | `);
  const say = (text: string) => report.warn(text);
  for (const step of steps) {
    const edges = edgesWith(step);
    if (!step.centralPart || edges.length === 0) continue;
    const part = step.centralPart(edges);
    const seen = await reachCentral(part, edges, central, report);
    if (!seen) {
      results.push(notRun(part));
      continue;
    }
    try {
      await using _held = await lockWithin(PATIENCE, central, seen.lease, {
        steal: stealLock,
        say,
      });
      await approve?.(central);
      results.push(await runStep(part, central, report));
    } catch (error) {
      if (!(error instanceof DeployError)) throw error;
      tellMissed(part, edges, central, report, error.message);
      results.push(notRun(part));
    }
  }
  return results;
}

/** As {@link lock}; another run is waited for. */
async function lockWithin(
  seconds: number,
  cluster: Cluster,
  lease: Manifest | undefined,
  options: LockOptions,
): Promise<AsyncDisposable> {
  for (const end = Date.now() + seconds * 1000;;) {
    try {
      return await lock(cluster, lease, options);
    } catch (error) {
      const isHeld = error instanceof DeployError && error.exitCode === ExitCode.locked;
      if (!isHeld || Date.now() > end) throw error;
      await sleep(3000);
      ({ lease } = await checkTarget(cluster));
    }
  }
}

/** What {@link tellCentral} would change, were all steps run on these edges (ids). */
export async function planCentral(
  steps: Step[],
  edges: string[],
  central: Cluster,
): Promise<Planned[]> {
  const report = new Report(`${central.id} | `);
  const parts = steps.flatMap(({ centralPart }) => centralPart?.(edges) ?? []);
  const plans = parts.map(async (part) => {
    if (!await reachCentral(part, edges, central, report)) return [];
    const entries = await plan(central, await desired(part, central), [part.name]);
    // Only a part of the step is wanted here: the rest of it is not surplus.
    return entries.filter(({ action }) => action !== "delete" && action !== "kept");
  });
  return (await Promise.all(plans)).flat();
}

/** What the guard has seen of central; undefined where it cannot be told, which a warning says. */
async function reachCentral(
  part: Step,
  edges: string[],
  central: Cluster,
  report: Report,
): Promise<TargetSeen | undefined> {
  let reason = "it was never deployed";
  try {
    // A marker to write means that no deploy has been there.
    const seen = await checkTarget(central);
    if (!seen.marker) {
      shareLooks(central);
      const deltas = await deltasOf(central, await desired(part, central));
      if ([...deltas.values()].some(({ state }) => state !== "missing")) return seen;
    }
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    reason = error.message;
  }
  tellMissed(part, edges, central, report, reason);
}

function tellMissed(
  part: Step,
  edges: string[],
  central: Cluster,
  report: Report,
  reason: string,
): void {
  report.warn(
    `${text(central, "CLUSTER_NAME")} does not know of ${edges.join(", ")} yet (${reason}): ` +
      `make ${part.name} CLUSTER=${central.id}`,
  );
}

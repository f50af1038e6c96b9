// The run on one cluster: what is known and held there, its steps in order, and what came of them.
import type { Inventory } from "../apply/inventory.ts";
import type { Cluster } from "../core/cluster.ts";
import { isCutOff } from "../core/error.ts";
import type { Manifest } from "../core/object.ts";
import { Report } from "../io/report.ts";
import { type ClusterResult, hasFailed, hasHad, notRun } from "./results.ts";
import { runStep, type Step } from "./step.ts";

export interface Run {
  cluster: Cluster;
  report: Report;
  result: ClusterResult;
  isWritten?: boolean;
  inventory?: Inventory; // undefined: it could not be reached
  /** What the steps are about there, all of it, so that a bad manifest of the last is known before the first. */
  objects?: Manifest[];
  isSettled?: boolean; // all was as wanted, and ready, at the beginning, and verification follows
}

/** A run on one of so many clusters that is not begun. */
export function runOn(cluster: Cluster, clusters = Infinity): Run {
  const report = new Report(clusters > 1 ? `${cluster.id} | ` : "");
  return { cluster, report, result: { cluster, steps: [] } };
}

/** Tells and keeps why a run has failed; one that Ctrl-C ends before anything is written has not. */
export function failRun({ cluster, report, result, isWritten }: Run, error: unknown): void {
  if (isCutOff(error) && !isWritten) return;
  report.error(error, cluster);
  result.error = error;
}

/** Runs the steps until one fails, or the whole run is `stopped`; the rest of them has not run. */
export async function runSteps(
  steps: Step[],
  { report, result, inventory, objects, isSettled }: Run,
  stopped = () => false,
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
    const own = objects?.filter((object) => inventory.stepOf(object) === step.name);
    const options = { alone, besides, objects: own, isSettled: isIdle };
    done.push(await runStep(step, inventory, report, options));
  }
  // Nothing of ours may be at work when the lock is given back.
  await Promise.all(besides);
  report.now(hasFailed(result) ? "failed" : isStopped() ? "stopped" : "done", true);
}

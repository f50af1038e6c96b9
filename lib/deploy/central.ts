// The central cluster catches up with edges that are deployed without it. That it cannot be reached,
// or is not there yet, is no failure of theirs: a warning names the command that makes up for it. Ctrl-C ends the run.
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, isCutOff } from "../core/error.ts";
import { lock } from "../kube/lock.ts";
import type { Manifest } from "../core/object.ts";
import { connect } from "../kube/target.ts";
import { keep } from "../apply/apply.ts";
import { Inventory } from "../apply/inventory.ts";
import { plan, type Planned } from "./plan.ts";
import { Report } from "../io/report.ts";
import type { StepContext } from "./context.ts";
import { desired, notRun, runStep, type Step, type StepResult } from "./step.ts";

/** Seconds that another run at central is waited for; one that is gone is known to be so by then. */
const PATIENCE = 100;

/**
 * Runs on central what the steps want it to know of the edges (ids) that had them, as every deploy does: when it
 * is the right cluster, under its lock, and where the plan that was approved says the same.
 */
export async function tellCentral(
  steps: Step[],
  edgesWith: (step: Step) => string[],
  central: Cluster,
  { approve, stealLock, take }: {
    approve?: (inventory: Inventory) => Promise<void>;
    stealLock?: boolean;
    take?: string[];
  } = {},
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const report = new Report(`${central.id} | `);
  const say = (text: string) => report.warn(text);
  for (const step of steps) {
    const edges = edgesWith(step);
    if (!step.centralPart || edges.length === 0) continue;
    const part = step.centralPart(edges);
    if (part.skips?.(central)) continue;
    try {
      const reached = await reachCentral(part, edges, central, report, take);
      if (!reached) {
        results.push(notRun(part));
        continue;
      }
      await using held = await lock(central, reached.lease, {
        steal: stealLock,
        patience: PATIENCE,
        say,
      });
      const inventory = held.hasWaited
        ? new Inventory(await connect(central), take)
        : reached.inventory;
      await approve?.(inventory);
      const run = async (context: StepContext) => {
        await keep(inventory, context.objects);
        await part.run(context);
      };
      results.push(await runStep({ ...part, run }, inventory, report));
    } catch (error) {
      if (!(error instanceof DeployError)) throw error;
      tellMissed(part, edges, central, report, error.message);
      // The run ends as interrupted, though nothing has failed.
      results.push({ ...notRun(part), ...(isCutOff(error) ? { error } : {}) });
    }
  }
  return results;
}

/** What {@link tellCentral} would change, were all steps run on these edges (ids). */
export async function planCentral(
  steps: Step[],
  edges: string[],
  central: Cluster,
  take?: string[],
): Promise<Planned[]> {
  const report = new Report(`${central.id} | `);
  const parts = steps.flatMap(({ centralPart }) => centralPart?.(edges) ?? [])
    .filter(({ skips }) => !skips?.(central));
  const plans = parts.map(async (part) => {
    const reached = await reachCentral(part, edges, central, report, take);
    if (!reached) return [];
    const objects = await desired(part, central);
    const entries = await plan(reached.inventory, objects, { steps: [part.name] });
    // Only a part of the step is wanted here: the rest of it is not surplus.
    return entries.filter(({ action }) => action !== "delete" && action !== "kept");
  });
  return (await Promise.all(plans)).flat();
}

/** What is known of central; undefined where it cannot be told, which a warning says. @throws when it is cut off. */
async function reachCentral(
  part: Step,
  edges: string[],
  central: Cluster,
  report: Report,
  take?: string[],
): Promise<{ lease?: Manifest; inventory: Inventory } | undefined> {
  let reason = "it was never deployed";
  try {
    // A marker to write means that no deploy has been there.
    const connection = await connect(central);
    if (!connection.marker) {
      const inventory = new Inventory(connection, take);
      const deltas = await inventory.deltas(await desired(part, central));
      if ([...deltas.values()].some(({ state }) => state !== "missing")) {
        return { lease: connection.lease, inventory };
      }
    }
  } catch (error) {
    if (!(error instanceof DeployError) || isCutOff(error)) throw error;
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

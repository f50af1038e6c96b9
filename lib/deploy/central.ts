// The central cluster catches up with edges that are deployed without it. That it cannot be reached,
// or is not there yet, is no failure of theirs: a warning names the command that makes up for it.
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError } from "../core/error.ts";
import { checkTarget } from "../kube/target.ts";
import { deltasOf, shareLooks } from "../apply/inventory.ts";
import { plan, type Planned } from "./plan.ts";
import { Report } from "../io/report.ts";
import { desired, notRun, runStep, type Step, type StepResult } from "./step.ts";

/** Runs on central what the steps want it to know of the edges (ids) that had them. */
export async function tellCentral(
  steps: Step[],
  edgesWith: (step: Step) => string[],
  central: Cluster,
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const report = new Report(`${central.id} | `);
  for (const step of steps) {
    const edges = edgesWith(step);
    if (!step.centralPart || edges.length === 0) continue;
    const part = step.centralPart(edges);
    const ready = await canReachCentral(part, edges, central, report);
    results.push(ready ? await runStep(part, central, report) : notRun(part));
  }
  return results;
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
    if (!await canReachCentral(part, edges, central, report)) return [];
    const entries = await plan(central, await desired(part, central), [part.name]);
    // Only a part of the step is wanted here: the rest of it is not surplus.
    return entries.filter(({ action }) => action !== "delete" && action !== "kept");
  });
  return (await Promise.all(plans)).flat();
}

/** Whether central can be told; if not, a warning says why and what to do. */
async function canReachCentral(
  part: Step,
  edges: string[],
  central: Cluster,
  report: Report,
): Promise<boolean> {
  let reason = "it was never deployed";
  try {
    // A marker to write means that no deploy has been there.
    const { marker } = await checkTarget(central);
    if (!marker) {
      shareLooks(central);
      const objects = await desired(part, central);
      const deltas = await deltasOf(central, objects);
      if ([...deltas.values()].some(({ state }) => state !== "missing")) return true;
    }
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    reason = error.message;
  }
  report.warn(
    `${text(central, "CLUSTER_NAME")} does not know of ${edges.join(", ")} yet (${reason}): ` +
      `make ${part.name} CLUSTER=${central.id}`,
  );
  return false;
}

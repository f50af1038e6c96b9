// The central cluster catches up with edges that are deployed without it; that it is away is no failure of theirs.
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode, isCutOff } from "../core/error.ts";
import { lock } from "../kube/lock.ts";
import { connect } from "../kube/target.ts";
import { Inventory, type Powers } from "../apply/inventory.ts";
import { plan, type Planned } from "./plan.ts";
import { Report } from "../io/report.ts";
import type { StepContext, StepResult } from "./context.ts";
import { desired, notRun, runStep, type Step } from "./step.ts";

/** Seconds that another run at central is waited for; one that is gone is known to be so by then. */
const PATIENCE = 100;

/** What a step wants central to know, and of which edges (ids). */
type News = { part: Step; edges: string[] };

function newsOf(steps: Step[], edgesWith: (step: Step) => string[], central: Cluster): News[] {
  return steps.flatMap((step) => {
    const edges = edgesWith(step);
    const part = edges.length > 0 ? step.centralPart?.(edges) : undefined;
    return part && !part.skips?.(central) ? [{ part, edges }] : [];
  });
}

export interface TellOptions extends Pick<Powers, "take" | "replace"> {
  /** Throws when a cluster, which is locked by then, is not what the operator has approved. */
  approve?: (inventory: Inventory) => Promise<void>;
  stealLock?: boolean; // go on though another run holds the cluster's lock
}

/** Deploys to central what the steps want it to know of the edges (ids) that had them. */
export async function tellCentral(
  steps: Step[],
  edgesWith: (step: Step) => string[],
  central: Cluster,
  { approve, stealLock, ...allowed }: TellOptions = {},
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const report = new Report(`${central.id} | `);
  const powers = { ...allowed, say: report.note };
  const options = { steal: stealLock, patience: PATIENCE, say: report.warn };
  for (const news of newsOf(steps, edgesWith, central)) {
    const { part } = news;
    try {
      const { lease, inventory: seen, objects } = await reachCentral(part, central, powers);
      await using held = await lock(central, lease, options);
      const inventory = held.hasWaited ? new Inventory(await connect(central), powers) : seen;
      await approve?.(inventory);
      const run = async (context: StepContext) => {
        await inventory.keep(objects);
        await part.run(context);
      };
      results.push(await runStep({ ...part, run }, inventory, report, { objects }));
    } catch (error) {
      tellMissed(news, central, error);
      // The run ends as interrupted, though nothing has failed.
      results.push({ ...notRun(part), error: isCutOff(error) ? error : undefined });
    }
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
    const reached = await reachCentral(news.part, central, powers).catch((error): undefined => {
      if (isCutOff(error)) throw error;
      tellMissed(news, central, error);
    });
    if (!reached) return [];
    // Only a part of the step is wanted here: the rest of it is not surplus.
    return await plan(reached.inventory, reached.objects);
  });
  return (await Promise.all(plans)).flat();
}

async function reachCentral(part: Step, central: Cluster, powers?: Powers) {
  const connection = await connect(central), { marker, lease } = connection;
  const inventory = new Inventory(connection, powers);
  const objects = await desired(part, central);
  // A marker to write means that no deploy has been there.
  const deltas = marker ? undefined : await inventory.deltas(objects);
  const isThere = deltas?.values().some(({ state }) => state !== "missing");
  if (isThere) return { lease, inventory, objects };
  throw new DeployError("it was never deployed", { exitCode: ExitCode.prerequisite });
}

function tellMissed({ part, edges }: News, central: Cluster, error: unknown): void {
  if (!(error instanceof DeployError)) throw error;
  new Report(`${central.id} | `).warn(
    `${text(central, "CLUSTER_NAME")} does not know of ${edges.join(", ")} yet ` +
      `(${error.message}): make ${part.name} CLUSTER=${central.id}`,
  );
}

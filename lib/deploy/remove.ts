// What is wanted no longer: named after a deploy, deleted with --prune, or all of it. Data stays: volumes, buckets.
import type { Cluster } from "../core/cluster.ts";
import { connect } from "../kube/target.ts";
import { Inventory, isKept, pruneCommand } from "../apply/inventory.ts";
import { lock } from "../kube/lock.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { Report } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import type { ClusterResult } from "./results.ts";
import { failRun, type Run, runOn, runSteps } from "./run.ts";
import { runStep, type Step } from "./step.ts";
import { missingBundles } from "../render/bundle.ts";
import { refusalError } from "../core/error.ts";
import { counted, shortList } from "../core/short_list.ts";

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
      run.inventory = new Inventory(connection);
      run.objects = await run.inventory.unwanted(removals.map(({ name }) => name), new Set());
    } catch (error) {
      failRun(run, error);
    }
    await runSteps(removals, run);
    return run.result;
  });
}

/** What a step has on a cluster goes, or is only named. */
function removal(step: Step, really: boolean): Step {
  return {
    name: step.name,
    objects: () => Promise.resolve([]),
    async run({ inventory, objects, report, prune }) {
      const kept = objects.filter(isKept);
      const doomed = await deletable(objects, [step], inventory, report);
      if (kept.length > 0) report.say(`  stays    ${kept.map(idOf).join(", ")}`);
      if (really) return await prune(doomed);
      for (const [kind, ones] of Map.groupBy(doomed, ({ kind }) => kind)) {
        const names = ones.map((object) => idOf(object).slice(kind.length + 1));
        report.say(`  deletes  ${ones.length} ${kind}  ${names.join(", ")}`);
      }
    },
  };
}

/** Those of the objects that may go; `report` tells of a step that says why its own stay. */
async function deletable(
  found: Manifest[],
  steps: Step[],
  inventory: Inventory,
  report: Report,
): Promise<Manifest[]> {
  const free = found.filter((object) => !isKept(object));
  const ofSteps = Map.groupBy(free, (object) => inventory.stepOf(object));
  const parts = [...ofSteps].map(async ([name, objects]) => {
    const reason = await steps.find((step) => step.name === name)?.keeps?.(inventory.cluster);
    if (!reason) return objects;
    report.warn(`${counted(objects.length, "object")} of ${name} stay: ${reason}`);
    return [];
  });
  return (await Promise.all(parts)).flat();
}

export interface TidyOptions {
  /** The steps are all that there are, so what carries the name of another is surplus. */
  all?: boolean;
  prune?: boolean; // delete what is surplus, and not only name it
  pruneMost?: boolean; // the same, also when it is the greater part of what is there
}

/** Warns of what steps that went well have beside the objects of the run, or deletes it, which is a row of its result. */
export async function nameSurplus(
  steps: Step[],
  { cluster, report, result, inventory, objects = [] }: Run,
  { prune: deletes = false, pruneMost = false, all = false }: TidyOptions = {},
): Promise<void> {
  // A bundle that could not be had is wanted all the same.
  if (!inventory || missingBundles().length > 0) return;
  const done = steps.filter(({ name }) =>
    result.steps.some(({ step, state }) => step === name && (state === "ok" || state === "skipped"))
  );
  // After a step that failed it is not known what it wants.
  const isAll = all && done.length === steps.length;
  const wanted = new Set(objects.map(idOf));
  const found = await inventory.unwanted(done.map(({ name }) => name), wanted, isAll);
  const surplus = await deletable(found, done, inventory, report);
  if (surplus.length === 0) return;
  if (!deletes && !pruneMost) {
    const ids = shortList(surplus.map(idOf)), way = pruneCommand(cluster.id);
    report.warn(`no step wants any more: ${ids}; delete with: ${way}`);
    return;
  }
  const row: Step = {
    name: "prune",
    objects: () => Promise.resolve(surplus),
    async run({ prune }) {
      if (!pruneMost) refuseMost(surplus, wanted.size, cluster);
      await prune(surplus);
    },
  };
  result.steps.push(await runStep(row, inventory, report, { objects: surplus }));
}

/** Many objects, more than stay: settings or files are rather lost than meant so. */
function refuseMost(surplus: Manifest[], stays: number, { id }: Cluster): void {
  if (surplus.length < 10 || surplus.length <= stays) return;
  throw refusalError(`Refused: to delete ${surplus.length} objects on ${id} and keep ${stays}`, {
    where: surplus.slice(0, 5).map(idOf).concat(`and ${surplus.length - 5} more`),
    fix: "make plan names them all; if they are to go: ARGS=--prune-most",
  });
}

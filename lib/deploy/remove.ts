// What is wanted no longer: named after a deploy, deleted with --prune, or all of it. Data stays: volumes, buckets.
import { type Cluster, text } from "../core/cluster.ts";
import { connect } from "../kube/target.ts";
import { Inventory, isKept, pruneCommand } from "../apply/inventory.ts";
import { lock } from "../kube/lock.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { Report } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { begun, type ClusterResult, notRun, type StepResult } from "./results.ts";
import type { Step } from "./step.ts";
import { missingBundles } from "../render/bundle.ts";
import { DeployError, ExitCode, isCutOff } from "../core/error.ts";
import { counted, shortList } from "../core/short_list.ts";

/** Removes the steps from all clusters side by side (or only says what would go); one that fails stops no other. */
export async function removeFleet(
  steps: Step[],
  clusters: Cluster[],
  { really = false, stealLock }: { really?: boolean; stealLock?: boolean } = {},
): Promise<ClusterResult[]> {
  const own = steps.filter(({ afterFleet }) => !afterFleet).toReversed();
  return await sideBySide(clusters, CLUSTERS_AT_ONCE, async (cluster) => {
    const report = new Report(clusters.length > 1 ? `${cluster.id} | ` : "");
    const result: ClusterResult = { cluster, steps: [] };
    let isTouched = false;
    try {
      const connection = await connect(cluster), how = { steal: stealLock, say: report.warn };
      await using held = really ? await lock(cluster, connection.lease, how) : undefined;
      const inventory = new Inventory(held?.hasWaited ? await connect(cluster) : connection);
      isTouched = really;
      for (const step of own) result.steps.push(await removeStep(step, inventory, report, really));
    } catch (error) {
      // After Ctrl-C it is as it was, and that is no failure of it.
      if (isTouched || !isCutOff(error)) {
        report.error(error, cluster);
        result.error = error;
      }
    }
    result.steps.push(...own.slice(result.steps.length).map(notRun));
    return result;
  });
}

async function removeStep(
  step: Step,
  inventory: Inventory,
  report: Report,
  really: boolean,
): Promise<StepResult> {
  const started = performance.now();
  const result = begun(step.name);
  report.heading(`remove ${step.name}  ${text(inventory.cluster, "CLUSTER_NAME")}`);
  const found = await inventory.unwanted([step.name], new Set());
  const kept = found.filter(isKept), doomed = await deletable(found, [step], inventory, report);
  if (kept.length > 0) report.say(`  stays    ${kept.map(idOf).join(", ")}`);
  if (really) {
    const changes = await inventory.prune(doomed, report.waiting);
    report.changes(changes);
    result.changed = changes.length;
  } else {
    for (const [kind, ones] of Map.groupBy(doomed, ({ kind }) => kind)) {
      const names = ones.map((object) => idOf(object).slice(kind.length + 1));
      report.say(`  deletes  ${ones.length} ${kind}  ${names.join(", ")}`);
    }
  }
  result.objects = found.length;
  result.seconds = (performance.now() - started) / 1000;
  return result;
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

/** Warns of what steps that went well have beside these objects, or deletes it: that, and a failure, is a row. */
export async function nameSurplus(
  steps: Step[],
  objects: Manifest[],
  results: StepResult[],
  inventory: Inventory,
  report: Report,
  { prune: deletes = false, pruneMost = false, all = false }: TidyOptions = {},
): Promise<StepResult[]> {
  // A bundle that could not be had is wanted all the same.
  if (missingBundles().length > 0) return [];
  const started = performance.now();
  const row = begun("prune"), { cluster } = inventory;
  try {
    const done = steps.filter(({ name }) =>
      results.some(({ step, state }) => step === name && (state === "ok" || state === "skipped"))
    );
    // After a step that failed it is not known what it wants.
    const isAll = all && done.length === steps.length;
    const names = done.map(({ name }) => name);
    const wanted = new Set(objects.map(idOf));
    const found = await inventory.unwanted(names, wanted, isAll);
    const surplus = await deletable(found, done, inventory, report);
    if (surplus.length === 0) return [];
    if (!deletes && !pruneMost) {
      const ids = shortList(surplus.map(idOf)), way = pruneCommand(cluster.id);
      report.warn(`no step wants any more: ${ids}; delete with: ${way}`);
      return [];
    }
    report.heading("prune  what no step wants any more");
    if (!pruneMost) refuseMost(surplus, wanted.size, cluster);
    const changes = await inventory.prune(surplus, report.waiting);
    report.changes(changes);
    row.changed = row.objects = changes.length;
  } catch (error) {
    report.error(error, cluster);
    row.state = "failed";
    row.error = error;
  }
  row.seconds = (performance.now() - started) / 1000;
  return [row];
}

/** Many objects, more than stay: settings or files are rather lost than meant so. */
function refuseMost(surplus: Manifest[], stays: number, { id }: Cluster): void {
  if (surplus.length < 10 || surplus.length <= stays) return;
  throw new DeployError(`Refused: to delete ${surplus.length} objects on ${id} and keep ${stays}`, {
    exitCode: ExitCode.refused,
    where: surplus.slice(0, 5).map(idOf).concat(`and ${surplus.length - 5} more`),
    fix: "make plan names them all; if they are to go: ARGS=--prune-most",
  });
}

// What is wanted no longer: named after a deploy, deleted with --prune, and all of it when a cluster is to be
// without us, last step first. Data stays: volumes, claims, namespaces, definitions, the buckets.
import { type Cluster, text } from "../core/cluster.ts";
import { connect } from "../kube/target.ts";
import { Inventory } from "../apply/inventory.ts";
import { lock } from "../kube/lock.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { isKept, prune, pruneCommand, unwanted } from "../apply/prune.ts";
import { Report } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import type { StepResult } from "./context.ts";
import type { ClusterResult } from "./results.ts";
import { begun, notRun, type Step } from "./step.ts";
import { missingBundles } from "../render/bundle.ts";
import { DeployError, ExitCode, isCutOff } from "../core/error.ts";
import { counted, shortList } from "../core/short_list.ts";

export interface RemoveOptions {
  /** false: only says what would be deleted. */
  really?: boolean;
  /** Deletes though another run holds the cluster's lock. */
  stealLock?: boolean;
}

/** Removes the steps from all clusters side by side; one that fails does not stop the others. */
export async function removeFleet(
  steps: Step[],
  clusters: Cluster[],
  options: RemoveOptions = {},
): Promise<ClusterResult[]> {
  return await sideBySide(clusters, CLUSTERS_AT_ONCE, async (cluster) => {
    const report = new Report(clusters.length > 1 ? `${cluster.id} | ` : "");
    const result: ClusterResult = { cluster, steps: [] };
    const own = steps.filter(({ afterFleet }) => !afterFleet).toReversed();
    let isTouched = false;
    try {
      const connection = await connect(cluster);
      await using held = options.really
        ? await lock(cluster, connection.lease, { steal: options.stealLock, say: report.warn })
        : undefined;
      const inventory = new Inventory(held?.hasWaited ? await connect(cluster) : connection);
      isTouched = options.really === true;
      for (const step of own) {
        result.steps.push(await removeStep(step, inventory, report, options));
      }
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
  { really = false }: RemoveOptions,
): Promise<StepResult> {
  const started = performance.now();
  const { cluster } = inventory;
  const result = begun(step.name);
  report.heading(`remove ${step.name}  ${text(cluster, "CLUSTER_NAME")}`);
  const found = await unwanted(inventory, [step.name], new Set());
  const [kept, doomed] = [found.filter(isKept), found.filter((object) => !isKept(object))];
  const reason = doomed.length > 0 ? await step.keeps?.(cluster) : undefined;
  if (reason) report.warn(`${counted(doomed.length, "object")} stay: ${reason}`);
  if (kept.length > 0) report.say(`  stays    ${kept.map(idOf).join(", ")}`);
  if (!reason && really) {
    const changes = await prune(inventory, doomed, report.waiting);
    report.changes(changes);
    result.changed = changes.length;
  } else if (!reason) {
    for (const line of byKind(doomed)) report.say(`  deletes  ${line}`);
  }
  result.objects = found.length;
  result.seconds = (performance.now() - started) / 1000;
  return result;
}

/** One line per kind: `3 Service  monitoring/grafana, monitoring/prometheus, ...`. */
function byKind(objects: Manifest[]): string[] {
  return [...Map.groupBy(objects, ({ kind }) => kind)].map(([kind, ones]) => {
    const names = ones.map((object) => idOf(object).slice(kind.length + 1));
    return `${ones.length} ${kind}  ${names.join(", ")}`;
  });
}

export interface TidyOptions {
  /** true: the steps are all that there are, so what carries the name of another is surplus. */
  all?: boolean;
  /** Delete what is surplus, and not only name it. */
  prune?: boolean;
  /** The same, also when it is the greater part of what is there. */
  pruneMost?: boolean;
}

/** Fewer objects than these may be any part of what is there. */
const MANY = 10;

/**
 * Deletes what the steps of a deploy that went well (`results`) no longer want, or warns of it
 * without `prune`. Volumes, claims, namespaces and definitions always stay, and so does everything of
 * a step that says why (`keeps`). Gives a row for the closing table when something was deleted or the
 * look failed.
 */
export async function nameSurplus(
  steps: Step[],
  results: StepResult[],
  inventory: Inventory,
  report: Report,
  { prune: deletes = false, pruneMost = false, all = false }: TidyOptions = {},
): Promise<StepResult[]> {
  // A bundle that could not be had is wanted all the same.
  if (missingBundles().length > 0) return [];
  const started = performance.now();
  const row = begun("prune");
  try {
    const surplus = await deletable(steps, results, inventory, report, all);
    if (surplus.length === 0) return [];
    if (!deletes && !pruneMost) {
      const names = shortList(surplus.map(idOf)), way = pruneCommand(inventory.cluster.id);
      report.warn(`no step wants any more: ${names}; delete with: ${way}`);
      return [];
    }
    report.heading("prune  what no step wants any more");
    if (!pruneMost) refuseMost(surplus, results, inventory.cluster);
    const changes = await prune(inventory, surplus, report.waiting);
    report.changes(changes);
    row.changed = row.objects = changes.length;
  } catch (error) {
    report.error(error, inventory.cluster);
    row.state = "failed";
    row.error = error;
  }
  row.seconds = (performance.now() - started) / 1000;
  return [row];
}

/** Refuses (exit 4) to delete more than stays: settings or files are rather lost than meant so. */
function refuseMost(surplus: Manifest[], results: StepResult[], { id }: Cluster): void {
  const stays = results.reduce((sum, { wanted }) => sum + wanted.length, 0);
  if (surplus.length < MANY || surplus.length <= stays) return;
  throw new DeployError(`Refused: to delete ${surplus.length} objects on ${id} and keep ${stays}`, {
    exitCode: ExitCode.refused,
    where: surplus.slice(0, 5).map(idOf).concat(`and ${surplus.length - 5} more`),
    fix: "make plan names them all; if they are to go: ARGS=--prune-most",
  });
}

/** What may be deleted; what may not is said. */
async function deletable(
  steps: Step[],
  results: StepResult[],
  inventory: Inventory,
  report: Report,
  all: boolean,
): Promise<Manifest[]> {
  const done = steps.filter(({ name }) =>
    results.some(({ step, state }) => step === name && isDone(state))
  );
  const wanted = new Set(results.flatMap(({ wanted }) => wanted));
  // After a step that failed it is not known what it wants.
  const isAll = all && done.length === steps.length;
  const names = done.map(({ name }) => name);
  const surplus = await unwanted(inventory, names, wanted, { all: isAll });
  const found = surplus.filter((object) => !isKept(object));
  const parts = [...Map.groupBy(found, (object) => inventory.stepOf(object))].map(
    async ([name, objects]) => {
      const reason = await done.find((step) => step.name === name)?.keeps?.(inventory.cluster);
      if (!reason) return objects;
      report.warn(`${counted(objects.length, "object")} of ${name} stay: ${reason}`);
      return [];
    },
  );
  return (await Promise.all(parts)).flat();
}

function isDone(state: StepResult["state"]): boolean {
  return state === "ok" || state === "skipped";
}

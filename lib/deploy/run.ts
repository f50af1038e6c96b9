// The run on one cluster: what is known and held there, its steps in order, and what no step wants any more. Data stays.
import { type Inventory, isKept, pruneCommand } from "../apply/inventory.ts";
import type { Cluster } from "../core/cluster.ts";
import { isCutOff, refusalError } from "../core/error.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { counted, shortList } from "../core/short_list.ts";
import { Report } from "../io/report.ts";
import { missingBundles } from "../render/bundle.ts";
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

/** What a step has on a cluster goes, or is only named. */
export function removal(step: Step, really: boolean): Step {
  return {
    name: step.name,
    objects: () => Promise.resolve([]),
    async run({ inventory, objects, report, prune }) {
      report.say(really ? "  removal" : "  what a removal would do; nothing is deleted");
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
      report.say("  what no step wants any more");
      if (!pruneMost) refuseMost(surplus, wanted.size, cluster);
      await prune(surplus);
    },
  };
  result.steps.push(await runStep(row, inventory, report, { objects: surplus }));
  report.now(hasFailed(result) ? "failed" : "done", true);
}

/** Many objects, more than stay: settings or files are rather lost than meant so. */
function refuseMost(surplus: Manifest[], stays: number, { id }: Cluster): void {
  if (surplus.length < 10 || surplus.length <= stays) return;
  throw refusalError(`Refused: to delete ${surplus.length} objects on ${id} and keep ${stays}`, {
    where: surplus.slice(0, 5).map(idOf).concat(`and ${surplus.length - 5} more`),
    fix: "make plan names them all; if they are to go: ARGS=--prune-most",
  });
}

// One step: a desired state and the runbook that brings it about on one cluster.
import { apply, staleAmong } from "../apply/apply.ts";
import type { Inventory } from "../apply/inventory.ts";
import { waitReady } from "../apply/readiness.ts";
import { growVolumes } from "../apply/volumes.ts";
import { type Check, type CheckVerdict, hiddenBy } from "../core/check.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { prerequisiteError } from "../core/error.ts";
import { type Manifest, signed } from "../core/object.ts";
import { putResources, type Resources } from "../core/resource.ts";
import { counted } from "../core/short_list.ts";
import type { Change, Report } from "../io/report.ts";
import { hasRun } from "../kube/target.ts";
import { imagesIn } from "../render/render.ts";
import { begun, type StepResult } from "./results.ts";

/** The Secret in which a step's programs find their key for S3. */
export interface S3KeyHolder {
  program: string; // as its settings begin: `THANOS` of THANOS_BUCKET
  keeps: string; // what is in its bucket, in a word
  namespace: string;
  name: string;
  /** The key in the values of the Secret. */
  read: (values: Record<string, string>) => { accessKey?: string; secretKey?: string };
}

/** What lets in whoever reaches it, in the same words on every cluster, and the setting that closes it. */
export interface OpenDoor {
  what: string;
  closedBy: string;
}

export interface Step {
  /** `30-thanos`; also the label of everything the step owns. */
  name: string;
  /** Steps that must have run before: checked by the Services they leave. */
  needs?: string[];
  /** It looks at other clusters: it runs when all of them have had the rest. */
  afterFleet?: boolean;
  /** The part of it that tells central of these edges (ids), which had the step when central itself did not. */
  centralPart?: (edges: string[]) => Step;
  /** Why the step has nothing to do on this cluster, as a sentence; undefined when it has. */
  skips?: (cluster: Cluster) => string | undefined;
  /** Why what the step has left on the cluster may not be deleted yet, as a sentence. */
  keeps?: (cluster: Cluster) => Promise<string | undefined>;
  /** Pinned upstream objects, patched in code; left out of the golden files. */
  bundles?: (cluster: Cluster) => Promise<Manifest[]>;
  /** Our own desired objects; pure, so that plan and golden files use the same. */
  objects: (cluster: Cluster) => Promise<Manifest[]>;
  opens?: (cluster: Cluster) => OpenDoor[];
  /** What it wants beside objects, as the runbook puts it; plans look at it. */
  resources?: Resources[];
  /** What preflight and 50-verify look at, in the order in which the data goes. */
  checks?: Check[];
  s3Key?: S3KeyHolder;
  /** The runbook: phases in order. */
  run: (context: StepContext) => Promise<void>;
}

/** Declares a step. */
export function step(definition: Step): Step {
  return definition;
}

/** Everything a step wants on a cluster, signed; nothing when it skips the cluster. */
export async function desired(step: Step, cluster: Cluster): Promise<Manifest[]> {
  if (step.skips?.(cluster)) return [];
  const [bundles, own] = await Promise.all([step.bundles?.(cluster) ?? [], step.objects(cluster)]);
  return signed([...bundles, ...own], step.name);
}

/** Everything that several steps want on a cluster. */
export async function desiredOf(steps: Step[], cluster: Cluster): Promise<Manifest[]> {
  return (await Promise.all(steps.map((step) => desired(step, cluster)))).flat();
}

/** Images with a tag and no digest of the steps' own objects: what comes in bundles takes none. */
export async function taggedImages(steps: Step[], cluster: Cluster): Promise<string[]> {
  const those = steps.filter(({ skips }) => !skips?.(cluster));
  return imagesIn((await Promise.all(those.map((step) => step.objects(cluster)))).flat(), cluster);
}

/** Runs a step, `alone` without those it needs; a failure is a result. `besides` gets what goes on when it is done. */
export async function runStep(
  step: Step,
  inventory: Inventory,
  report: Report,
  { alone = false, objects: known, besides = [], isSettled }: {
    alone?: boolean;
    isSettled?: boolean;
    objects?: Manifest[];
    besides?: Promise<void>[];
  } = {},
): Promise<StepResult> {
  const started = performance.now();
  const { cluster } = inventory;
  const result = begun(step.name);
  const context = text(cluster, "KUBE_CONTEXT");
  report.heading(`${step.name}  ${text(cluster, "CLUSTER_NAME")}  context ${context}`);
  report.now(step.name);
  function failed(error: unknown): void {
    report.error(error, cluster);
    result.state = "failed";
    result.error = error;
  }
  try {
    const reason = step.skips?.(cluster);
    if (reason) {
      report.say(`  ${reason}`);
      return { ...result, state: "skipped" };
    }
    const objects = known ?? await desired(step, cluster);
    if (alone) await refuseTooEarly(step, objects, inventory);
    result.objects = objects.length;
    const beside = (work: Promise<void>) => void besides.push(work.catch(failed));
    await step.run(contextOf(inventory, objects, report, result, beside, isSettled));
  } catch (error) {
    failed(error);
  }
  result.seconds = (performance.now() - started) / 1000;
  report.now(`${step.name}  ${result.state}`);
  const counts = `${counted(result.changed, "change")}, ${counted(result.objects, "object")}`;
  const verdict = result.state === "ok" ? "done" : "FAILED";
  report.say(`  ${verdict}: ${counts}, ${result.seconds.toFixed(1)}s`);
  return result;
}

/** Refuses a step before those that it needs, also where they have run as an older revision has them. */
async function refuseTooEarly(
  { name, needs = [] }: Step,
  objects: Manifest[],
  inventory: Inventory,
): Promise<void> {
  const { cluster } = inventory;
  const refuse = (need: string, why: string) => {
    throw prerequisiteError(`Cannot run ${name} on ${cluster.id}: ${why}`, {
      fix: `make ${need} CLUSTER=${cluster.id}`,
    });
  };
  for (const need of needs) {
    if (!await hasRun(need, cluster)) refuse(need, `${need} has not run there`);
  }
  const live = await inventory.live(), need = needs.join(" ");
  // Without their class pods of ours would go, and the API server would refuse the new ones.
  const missing = objects.map(({ spec }) => spec?.template?.spec?.priorityClassName)
    .find((name) => name && !live.has(`PriorityClass/${name}`));
  if (missing) refuse(need, `there is no PriorityClass ${missing} yet, which ${need} brings`);
}

/** What a step's runbook may use. */
export type StepContext = ReturnType<typeof contextOf>;

/** What a step changes is told, and counted in its result; `goesOn` gets what outlives it. */
function contextOf(
  inventory: Inventory,
  objects: Manifest[],
  report: Report,
  result: StepResult,
  goesOn: (work: Promise<void>) => void,
  isSettled = false,
) {
  const { cluster } = inventory;

  async function phase<T>(title: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    report.now(`${result.step}  ${title}`);
    const value = await work();
    report.phase(title, (performance.now() - started) / 1000);
    return value;
  }

  /** A phase that needs running pods: not shown on simulated nodes, nor where `program` is one of STAND_INS. */
  async function live(title: string, work: () => Promise<void>, program?: string): Promise<void> {
    const reason = hiddenBy(cluster, program);
    if (!reason) return await phase(title, work);
    result.notShown.push(title);
    report.notShown(title, reason);
  }

  /** A change that is none of an object. */
  function changed(what: string): void {
    report.say(`    changed    ${what}`);
    inventory.changedAt = Date.now();
    result.changed += 1;
  }

  function made(changes: Change[]): void {
    report.changes(changes);
    result.changed += changes.filter(({ action }) => action !== "unchanged").length;
  }

  return {
    cluster,
    inventory,
    objects,
    report,
    phase,
    /** Whether the run has, by now, nothing to change or to wait for here, and is going to verify it. */
    isIdle: (): boolean => isSettled && result.changed === 0,
    live,
    changed,
    /** As `live`, beside the steps that follow: when it fails none of them is begun any more. The lock outlives it. */
    beside(title: string, work: () => Promise<void>): Promise<void> {
      return Promise.resolve(goesOn(live(title, work)));
    },
    /** A phase that puts what of the step's resources is not as wanted. */
    async put(resources: Resources): Promise<void> {
      if (resources.of(cluster).length === 0) return;
      const work = () => putResources(resources, cluster, { warn: report.warn, changed });
      await (resources.live ? live : phase)(resources.title, work, resources.program);
    },
    /** Grows volumes where the objects want it, and applies them. */
    async apply(objects: Manifest[]): Promise<void> {
      const stale = await staleAmong(inventory, objects);
      if (stale.length === 0) return;
      for (const growth of await growVolumes(inventory, stale)) changed(growth);
      made(await apply(inventory, objects));
    },
    /** Deletes the objects, but those that are kept. */
    async prune(objects: Manifest[]): Promise<void> {
      made(await inventory.prune(objects, report.waiting));
    },
    async ready(objects: Manifest[], minutes = 10): Promise<void> {
      await waitReady(inventory, objects, { seconds: minutes * 60, say: report.waiting });
    },
    /** Keeps what its checks have found for who reads the results. */
    found(checks: CheckVerdict[]): void {
      result.checks = checks;
      const hidden = checks.filter(({ state }) => state === "hidden");
      result.notShown.push(...hidden.map(({ name }) => name));
    },
  };
}

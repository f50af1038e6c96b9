// One step: a desired state and the runbook that brings it about on one cluster.
import { apply, staleAmong } from "../apply/apply.ts";
import type { Inventory } from "../apply/inventory.ts";
import { growVolumes } from "../apply/volumes.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { type Check, hiddenBy } from "../core/check.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { hasRun } from "../kube/deployed.ts";
import { idOf, type Manifest, signed } from "../core/object.ts";
import { waitReady } from "../apply/readiness.ts";
import { changeCount, type Report } from "../io/report.ts";
import type { Resources } from "../core/resource.ts";
import { putResources } from "./resources.ts";

/** The Secret in which a step's programs find their key for S3. */
export interface S3KeyHolder {
  /** As its settings begin: `THANOS` of THANOS_BUCKET. */
  program: string;
  /** What is in its bucket, in a word. */
  keeps: string;
  namespace: string;
  name: string;
  /** The key in the values of the Secret. */
  read: (values: Record<string, string>) => { accessKey?: string; secretKey?: string };
}

export interface StepDefinition {
  /** `30-thanos`; also the label of everything the step owns. */
  name: string;
  /** Steps that must have run before: checked by the Services they leave. */
  needs?: string[];
  /** true for a step that looks at other clusters: it runs when all of them have had the rest. */
  afterFleet?: boolean;
  /**
   * What central has to know once these edges (ids) had the step and central itself did not: a step of
   * the same name, which applies a part of central's objects.
   */
  centralPart?: (edges: string[]) => Step;
  /** Why the step has nothing to do on this cluster, as a sentence; undefined when it has. */
  skips?: (cluster: Cluster) => string | undefined;
  /** Why what the step has left on the cluster may not be deleted yet, as a sentence. */
  keeps?: (cluster: Cluster) => Promise<string | undefined>;
  /** Pinned upstream objects, patched in code; left out of the golden files. */
  bundles?: (cluster: Cluster) => Promise<Manifest[]>;
  /** Our own desired objects; pure, so that plan and golden files use the same. */
  objects: (cluster: Cluster) => Promise<Manifest[]>;
  /** What it wants beside objects, as the runbook puts it; plans look at it. */
  resources?: Resources[];
  /** What preflight and 50-verify look at, in the order in which the data goes. */
  checks?: Check[];
  /** Of a step whose programs have a bucket. */
  s3Key?: S3KeyHolder;
  /** The runbook: phases in order. */
  run: (context: StepContext) => Promise<void>;
}

export interface Step extends StepDefinition {
  needs: string[];
}

/** What a step's runbook may use. */
export interface StepContext {
  cluster: Cluster;
  /** What is known of ours on it. */
  inventory: Inventory;
  /** All clusters of the site, this one included. */
  fleet: Cluster[];
  /** Bundles and own objects, signed as this step's. */
  objects: Manifest[];
  report: Report;
  /** A titled, timed phase. */
  phase<T>(title: string, work: () => Promise<T>): Promise<T>;
  /**
   * A phase that needs running pods: on simulated nodes it is listed as not shown here, and so it is
   * where STAND_INS names the `program` it needs.
   */
  live(title: string, work: () => Promise<void>, program?: string): Promise<void>;
  /** A phase that puts what of the step's resources is not as wanted; reports and counts it. */
  put(resources: Resources): Promise<void>;
  /** Counts what cannot be shown on this cluster. */
  notShown(title: string): void;
  /** Grows volumes where the objects want it, applies them, reports and counts what changed. */
  apply(objects: Manifest[]): Promise<void>;
  /** Waits until the objects are ready; `minutes` at most (10). */
  ready(objects: Manifest[], minutes?: number): Promise<void>;
  /** Reports and counts a change that is none of an object or a resource. */
  changed(what: string): void;
}

/** How a step ended on one cluster. */
export interface StepResult {
  step: string;
  state: "ok" | "failed" | "skipped" | "not run";
  objects: number;
  /** Ids of the objects that the step wants there. */
  wanted: string[];
  changed: number;
  seconds: number;
  /** Phases that simulated nodes or stand-ins could not show. */
  notShown: string[];
  error?: unknown;
}

/** Declares a step. */
export function step(definition: StepDefinition): Step {
  return { needs: [], ...definition };
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

/** The result of a step that was not begun. */
export function notRun({ name }: Step): StepResult {
  return { ...begun(name), state: "not run" };
}

/** The result of a step (or of another part of a deploy) that has only just begun. */
export function begun(step: string): StepResult {
  return { step, state: "ok", objects: 0, wanted: [], changed: 0, seconds: 0, notShown: [] };
}

/**
 * Runs a step on a cluster; a failure is a result, so that other clusters go on. `objects` are what it wants
 * there, when that is known already.
 */
export async function runStep(
  step: Step,
  inventory: Inventory,
  report: Report,
  { alone = false, fleet = [inventory.cluster], replace, objects: known }: {
    alone?: boolean;
    fleet?: Cluster[];
    replace?: ReadonlySet<string>;
    objects?: Manifest[];
  } = {},
): Promise<StepResult> {
  const started = performance.now();
  const { cluster } = inventory;
  const result = begun(step.name);
  const context = text(cluster, "KUBE_CONTEXT");
  report.heading(`${step.name}  ${text(cluster, "CLUSTER_NAME")}  context ${context}`);
  report.now(step.name);
  try {
    const reason = step.skips?.(cluster);
    if (reason) {
      report.say(`  ${reason}`);
      return { ...result, state: "skipped" };
    }
    if (alone) await checkNeeds(step, cluster);
    const objects = known ?? await desired(step, cluster);
    result.objects = objects.length;
    result.wanted = objects.map(idOf);
    await step.run(contextOf(inventory, fleet, objects, report, result, replace));
  } catch (error) {
    report.error(error, cluster);
    result.state = "failed";
    result.error = error;
  }
  result.seconds = (performance.now() - started) / 1000;
  report.now(`${step.name}  ${result.state}`);
  const { changed, objects, seconds, state } = result;
  const end = `${changeCount(changed)}, ${objects} objects, ${seconds.toFixed(1)}s`;
  report.say(`  ${state === "ok" ? "done" : "FAILED"}: ${end}`);
  return result;
}

function contextOf(
  inventory: Inventory,
  fleet: Cluster[],
  objects: Manifest[],
  report: Report,
  result: StepResult,
  replace?: ReadonlySet<string>,
): StepContext {
  async function phase<T>(title: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    report.now(`${result.step}  ${title}`);
    const value = await work();
    report.phase(title, (performance.now() - started) / 1000);
    return value;
  }
  function changed(what: string): void {
    report.say(`    changed    ${what}`);
    result.changed += 1;
  }
  const notShown = (title: string) => void result.notShown.push(title);
  const context: StepContext = {
    cluster: inventory.cluster,
    inventory,
    fleet,
    objects,
    report,
    phase,
    notShown,
    async live(title, work, program) {
      const reason = hiddenBy(inventory.cluster, program);
      if (!reason) return await phase(title, work);
      notShown(title);
      report.notShown(title, reason);
    },
    async put(resources) {
      const work = () => putResources(resources, context);
      await (resources.live ? context.live : phase)(resources.title, work, resources.program);
    },
    async apply(objects) {
      const stale = await staleAmong(inventory, objects);
      if (stale.length === 0) return;
      const say = (text: string) => report.note(text);
      for (const growth of await growVolumes(inventory, stale, { say })) changed(growth);
      const changes = await apply(inventory, objects, { say, replace });
      report.changes(changes);
      result.changed += changes.filter(({ action }) => action !== "unchanged").length;
    },
    async ready(objects, minutes = 10) {
      const say = (missing: string) => report.waiting(missing);
      await waitReady(inventory, objects, { seconds: minutes * 60, say });
    },
    changed,
  };
  return context;
}

async function checkNeeds(step: Step, cluster: Cluster): Promise<void> {
  for (const need of step.needs) {
    if (await hasRun(need, cluster)) continue;
    throw new DeployError(`Cannot run ${step.name} on ${cluster.id}: ${need} has not run there`, {
      exitCode: ExitCode.prerequisite,
      fix: `make ${need} CLUSTER=${cluster.id}`,
    });
  }
}

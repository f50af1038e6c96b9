// One step: a desired state and the runbook that brings it about on one cluster.
import type { Inventory } from "../apply/inventory.ts";
import { type Cluster, text } from "../core/cluster.ts";
import type { Check } from "../core/check.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { contextOf, type StepContext, type StepResult } from "./context.ts";
import { hasRun } from "../kube/deployed.ts";
import { type Manifest, signed } from "../core/object.ts";
import type { Report } from "../io/report.ts";
import type { Resources } from "../core/resource.ts";
import { counted } from "../core/short_list.ts";
import { imagesIn } from "../render/render.ts";

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

/** The result of a step that was not begun. */
export function notRun({ name }: Step): StepResult {
  return { ...begun(name), state: "not run" };
}

/** The result of a step (or of another part of a deploy) that has only just begun. */
export function begun(step: string): StepResult {
  return { step, state: "ok", objects: 0, changed: 0, seconds: 0, notShown: [] };
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
  const refusal = (need: string, why: string) =>
    new DeployError(`Cannot run ${name} on ${cluster.id}: ${why}`, {
      exitCode: ExitCode.prerequisite,
      fix: `make ${need} CLUSTER=${cluster.id}`,
    });
  for (const need of needs) {
    if (!await hasRun(need, cluster)) throw refusal(need, `${need} has not run there`);
  }
  const live = await inventory.live();
  // Without their class pods of ours would go, and the API server would refuse the new ones.
  const missing = objects.map(({ spec }) => spec?.template?.spec?.priorityClassName)
    .find((name) => name && !live.has(`PriorityClass/${name}`));
  if (!missing) return;
  const need = needs.join(" ");
  throw refusal(need, `there is no PriorityClass ${missing} yet, which ${need} brings`);
}

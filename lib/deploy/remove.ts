// A cluster without us: everything that the steps made is deleted, last step first. Data stays: volumes,
// claims, namespaces, definitions, and all that lies in the buckets.
import { type Cluster, text } from "../core/cluster.ts";
import { checkTarget } from "../kube/target.ts";
import { shareLooks } from "../apply/inventory.ts";
import { lock } from "../kube/lock.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { isKept, prune, unwanted } from "../apply/prune.ts";
import { Report } from "../io/report.ts";
import type { ClusterResult } from "./results.ts";
import { begun, type Step, type StepResult } from "./step.ts";

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
  return await Promise.all(clusters.map(async (cluster) => {
    const report = new Report(clusters.length > 1 ? `${cluster.id} | ` : "");
    const result: ClusterResult = { cluster, steps: [] };
    try {
      const { lease } = await checkTarget(cluster);
      shareLooks(cluster);
      const say = (text: string) => report.warn(text);
      await using _held = options.really
        ? await lock(cluster, lease, { steal: options.stealLock, say })
        : undefined;
      for (const step of steps.filter(({ afterFleet }) => !afterFleet).toReversed()) {
        result.steps.push(await removeStep(step, cluster, report, options));
      }
    } catch (error) {
      report.error(error);
      result.error = error;
    }
    return result;
  }));
}

async function removeStep(
  step: Step,
  cluster: Cluster,
  report: Report,
  { really = false }: RemoveOptions,
): Promise<StepResult> {
  const started = performance.now();
  const result = begun(step.name);
  report.heading(`remove ${step.name}  ${text(cluster, "CLUSTER_NAME")}`);
  const found = await unwanted(cluster, [step.name], new Set());
  const [kept, doomed] = [found.filter(isKept), found.filter((object) => !isKept(object))];
  const reason = doomed.length > 0 ? await step.keeps?.(cluster) : undefined;
  if (reason) report.warn(`${doomed.length} objects stay: ${reason}`);
  if (kept.length > 0) report.say(`  stays    ${kept.map(idOf).join(", ")}`);
  if (!reason && really) {
    const changes = await prune(cluster, doomed);
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

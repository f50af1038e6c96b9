// When an object counts as ready: one rule per kind, over the object as the API server shows it.
import type { Cluster } from "../core/cluster.ts";
import { notReadyError } from "../core/error.ts";
import type { Inventory } from "./inventory.ts";
import { owned } from "./live.ts";
import { conditionOf } from "../kube/api.ts";
import { idOf, kindsOf, type Manifest } from "../core/object.ts";
import { diagnose, type Trouble } from "./diagnose.ts";
import { until, type UntilOptions } from "../io/wait.ts";

const UNSEEN: Trouble = { reason: "the controller has not seen the last change yet" };

/** What keeps a live object from being ready; undefined: it is, and so is all without a rule once it exists. */
export function notReady(object: Manifest): Trouble | undefined {
  return RULES[object.kind]?.(object);
}

const RULES: Record<string, (object: Manifest) => Trouble | undefined> = {
  Namespace: (object) => inPhase(object, "Active"),
  PersistentVolumeClaim: (object) => inPhase(object, "Bound"),
  Deployment(object) {
    const { spec: { replicas }, status = {} } = object;
    const refused = conditionOf(object, "ReplicaFailure");
    const progressing = conditionOf(object, "Progressing");
    if (!isSeen(object)) return UNSEEN;
    if (refused?.status === "True") return { reason: `${refused.reason}: ${refused.message}` };
    if (progressing?.reason === "ProgressDeadlineExceeded") return failed(progressing.message);
    return counted("updated", status.updatedReplicas, replicas) ??
      counted("available", status.availableReplicas, replicas) ??
      counted("in all, old ones included,", status.replicas, replicas);
  },
  StatefulSet(object) {
    const { spec: { replicas, updateStrategy }, status = {} } = object;
    if (!isSeen(object)) return UNSEEN;
    const isHeld = (updateStrategy?.rollingUpdate?.partition ?? 0) > 0;
    const isRolling = status.updateRevision !== status.currentRevision && !isHeld;
    return counted("ready", status.readyReplicas, replicas) ??
      (isRolling ? counted("updated", status.updatedReplicas, replicas) : undefined);
  },
  DaemonSet(object) {
    const { desiredNumberScheduled: wanted, ...status } = object.status ?? {};
    if (!isSeen(object)) return UNSEEN;
    return counted("updated", status.updatedNumberScheduled, wanted) ??
      counted("available", status.numberAvailable, wanted);
  },
  Job(object) {
    if (conditionOf(object, "Complete")?.status === "True") return undefined;
    const end = conditionOf(object, "Failed");
    return end?.status === "True" ? failed(end.message) : { reason: "not complete" };
  },
  Prometheus: operated,
  Alertmanager: operated,
};

/** By the operator's verdict: Reconciled says that it understood the resource, Available that pods run. */
function operated(object: Manifest): Trouble | undefined {
  // A held operator does nothing, and its old verdict stays as it is.
  if (object.spec?.paused) return { reason: "held by a run that was cut off: run the step again" };
  for (const type of ["Reconciled", "Available"]) {
    const verdict = conditionOf(object, type);
    if (!verdict) return { reason: `the operator has not said ${type} yet` };
    if ((verdict.observedGeneration ?? 0) < object.metadata.generation) {
      return { reason: "the operator has not seen the last change yet" };
    }
    if (verdict.status !== "True") {
      return { reason: `${type} is ${verdict.status}: ${verdict.reason} ${verdict.message}` };
    }
  }
}

function inPhase({ status }: Manifest, wanted: string): Trouble | undefined {
  return status?.phase === wanted ? undefined : { reason: `phase ${status?.phase ?? "unknown"}` };
}

function isSeen({ metadata, status }: Manifest): boolean {
  return (status?.observedGeneration ?? 0) >= metadata.generation;
}

function counted(what: string, actual = 0, wanted = 1): Trouble | undefined {
  return actual === wanted ? undefined : { reason: `${actual} of ${wanted} ${what}` };
}

function failed(reason = "no reason given"): Trouble {
  return { reason, final: true };
}

export async function waitReady(inventory: Inventory, objects: Manifest[], options: UntilOptions) {
  if (await areReady(inventory, objects)) return;
  const look = () => unready(inventory.cluster, objects, inventory.changedAt);
  await until("objects to become ready", look, { every: 1, ...options });
}

/** Whether all were ready already in the look of a moment ago, which is enough where nothing was changed since. */
export async function areReady(inventory: Pick<Inventory, "live">, objects: Manifest[]) {
  const ruled = objects.filter(({ kind }) => kind in RULES);
  if (ruled.length === 0) return true;
  const live = await inventory.live();
  return ruled.map((object) => live.get(idOf(object)))
    .every((now) => now !== undefined && !notReady(now));
}

/** Objects that are not ready, a line each with the reason; exit 7 when one cannot be, by what came after `since` (ms). */
export async function unready(cluster: Cluster, objects: Manifest[], since = 0): Promise<string[]> {
  const ruled = objects.filter(({ kind }) => kind in RULES);
  if (ruled.length === 0) return [];
  const live = await owned(cluster, kindsOf(ruled));
  const missing: string[] = [], hopeless: string[] = [];
  for (const object of ruled) {
    const found = live.get(idOf(object));
    const own: Trouble | undefined = found ? notReady(found) : { reason: "does not exist" };
    if (!own) continue;
    // Until the controller has seen a change, the pods that were mended by it look like the present ones.
    const trouble = found && own !== UNSEEN ? await diagnose(cluster, found, since) : undefined;
    const line = `${idOf(object)}: ${(trouble ?? own).reason}`;
    (own.final || trouble?.final ? hopeless : missing).push(line);
  }
  if (hopeless.length === 0) return missing;
  throw notReadyError(`Cannot become ready on ${cluster.id}`, {
    where: hopeless,
    fix:
      "look at the pods' events and logs (kubectl describe pod), correct the cause (an image that " +
      "is not there: its version, or IMAGE_REGISTRY), run again",
  });
}

// When an object counts as ready: one rule per kind, over the object as the API server shows it.
import type { Cluster } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import type { Inventory } from "./inventory.ts";
import { owned } from "./live.ts";
import { conditionOf } from "../kube/list.ts";
import { idOf, kindsOf, type Manifest } from "../core/object.ts";
import { diagnose } from "./diagnose.ts";
import { until } from "../io/wait.ts";

/** Ready, or not yet (why), or never (why): waiting longer for the last would be pointless. */
export type Readiness = { state: "ready" } | { state: "waiting" | "failed"; reason: string };

const READY: Readiness = { state: "ready" };
const UNSEEN = waiting("the controller has not seen the last change yet");

/** Readiness of a live object by its kind; kinds without a rule are ready once they exist. */
export function readiness(object: Manifest): Readiness {
  return RULES[object.kind]?.(object) ?? READY;
}

const RULES: Record<string, (object: Manifest) => Readiness> = {
  Namespace: ({ status }) =>
    status?.phase === "Active" ? READY : waiting(`phase ${status?.phase ?? "unknown"}`),
  PersistentVolumeClaim: ({ status }) =>
    status?.phase === "Bound" ? READY : waiting(`phase ${status?.phase ?? "unknown"}`),
  Deployment(object) {
    const { spec, status = {} } = object;
    const unseen = observed(object);
    if (unseen) return unseen;
    const refused = conditionOf(object, "ReplicaFailure");
    if (refused?.status === "True") return waiting(`${refused.reason}: ${refused.message}`);
    const progressing = conditionOf(object, "Progressing");
    if (progressing?.reason === "ProgressDeadlineExceeded") return failed(progressing.message);
    return counted("updated", status.updatedReplicas, spec.replicas) ??
      counted("available", status.availableReplicas, spec.replicas) ??
      counted("in all, old ones included,", status.replicas, spec.replicas) ?? READY;
  },
  StatefulSet(object) {
    const { spec, status = {} } = object;
    const partition = spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    return observed(object) ??
      counted("ready", status.readyReplicas, spec.replicas) ??
      (status.updateRevision === status.currentRevision || partition > 0
        ? undefined
        : counted("updated", status.updatedReplicas, spec.replicas)) ??
      READY;
  },
  DaemonSet(object) {
    const { status = {} } = object;
    return observed(object) ??
      counted("updated", status.updatedNumberScheduled, status.desiredNumberScheduled) ??
      counted("available", status.numberAvailable, status.desiredNumberScheduled) ?? READY;
  },
  Job(object) {
    if (conditionOf(object, "Complete")?.status === "True") return READY;
    const end = conditionOf(object, "Failed");
    return end?.status === "True" ? failed(end.message) : waiting("not complete");
  },
  // The operator's verdict: Reconciled says it understood the resource, Available that pods run.
  Prometheus: operated,
  Alertmanager: operated,
};

function operated(object: Manifest): Readiness {
  // A held operator does nothing, and its old verdict stays as it is.
  if (object.spec?.paused) return waiting("held by a run that was cut off: run the step again");
  for (const type of ["Reconciled", "Available"]) {
    const verdict = conditionOf(object, type);
    if (!verdict) return waiting(`the operator has not said ${type} yet`);
    if ((verdict.observedGeneration ?? 0) < object.metadata.generation) {
      return waiting("the operator has not seen the last change yet");
    }
    if (verdict.status !== "True") {
      return waiting(`${type} is ${verdict.status}: ${verdict.reason} ${verdict.message}`);
    }
  }
  return READY;
}

function observed({ metadata, status }: Manifest): Readiness | undefined {
  if ((status?.observedGeneration ?? 0) >= metadata.generation) return undefined;
  return UNSEEN;
}

function counted(what: string, actual = 0, wanted = 1): Readiness | undefined {
  return actual === wanted ? undefined : waiting(`${actual} of ${wanted} ${what}`);
}

function waiting(reason: string): Readiness {
  return { state: "waiting", reason };
}

function failed(reason = "no reason given"): Readiness {
  return { state: "failed", reason };
}

/**
 * Waits until every object of a kind with a rule is ready: one list of each kind per look. Throws exit 7
 * with the reason per object, at once when one can never become ready.
 */
export async function waitReady(
  inventory: Inventory,
  objects: Manifest[],
  { seconds, say }: { seconds: number; say?: (missing: string) => void },
): Promise<void> {
  if (await areReady(inventory, objects)) return;
  await until("objects to become ready", () => unready(inventory.cluster, objects), {
    seconds,
    every: 1,
    say,
  });
}

/** Whether all were ready already in the look of a moment ago, which is enough where nothing was changed since. */
export async function areReady(
  inventory: Pick<Inventory, "live">,
  objects: Manifest[],
): Promise<boolean> {
  const wanted = objects.filter(({ kind }) => kind in RULES);
  if (wanted.length === 0) return true;
  const live = await inventory.live();
  return wanted.every((object) => {
    const now = live.get(idOf(object));
    return now !== undefined && readiness(now).state === "ready";
  });
}

/** Objects that are not ready, one line each with the reason; throws when one has failed for good. */
export async function unready(cluster: Cluster, objects: Manifest[]): Promise<string[]> {
  const wanted = objects.filter(({ kind }) => kind in RULES);
  if (wanted.length === 0) return [];
  const live = await owned(cluster, kindsOf(wanted));
  const missing: string[] = [];
  const hopeless: string[] = [];
  for (const object of wanted) {
    const found = live.get(idOf(object));
    const result = found ? readiness(found) : waiting("does not exist");
    if (result.state === "ready") continue;
    // Until the controller has seen a change, the pods that were mended by it look like the present ones.
    const trouble = found && result !== UNSEEN ? await diagnose(cluster, found) : undefined;
    const line = `${idOf(object)}: ${trouble?.reason ?? result.reason}`;
    (result.state === "failed" || trouble?.final ? hopeless : missing).push(line);
  }
  if (hopeless.length === 0) return missing;
  throw new DeployError(`Cannot become ready on ${cluster.id}`, {
    exitCode: ExitCode.notReady,
    where: hopeless,
    fix:
      "look at the pods' events and logs (kubectl describe pod), correct the cause (an image that " +
      "is not there: its version, or IMAGE_REGISTRY), run again",
  });
}

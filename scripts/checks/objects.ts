// Checks of Kubernetes itself: objects, readiness, volumes.
import type { Finding, Subject } from "../../lib/core/check.ts";
import { sizeOf } from "../../lib/apply/volumes.ts";
import type { Delta, State } from "../../lib/apply/diff.ts";
import type { Inventory } from "../../lib/apply/inventory.ts";
import { liveObjects } from "../../lib/kube/list.ts";
import { idOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { bytesOf } from "../../lib/core/quantity.ts";
import { unready } from "../../lib/apply/readiness.ts";
import { shortList } from "../../lib/core/short_list.ts";

/** Every object of every step is there, as it was applied. */
export async function existing(
  { cluster, objects }: Subject,
  inventory: Inventory,
): Promise<Finding[]> {
  const wanted = await objects();
  return objectFindings(await inventory.deltas(wanted), wanted, cluster.id);
}

/**
 * Objects that are not there (fail), or are not as wanted (warn: they may do their work): one finding for each
 * step that should see to it.
 */
export function objectFindings(
  deltas: Map<string, Delta>,
  objects: Manifest[],
  cluster: string,
): Finding[] {
  const among = (state: Finding["state"], states: State[], what: string, cause: string) => {
    const found = objects.filter((object) => states.includes(deltas.get(idOf(object))!.state));
    const steps = Map.groupBy(found, ({ metadata }) => metadata.labels?.[STEP_LABEL]);
    return [...steps].map(([step, those]) => ({
      state,
      what: `${what} of ${step}: ${shortList(those.map(idOf))}`,
      cause,
      fix: `make plan-${cluster} says what it is; make ${step} CLUSTER=${cluster}`,
    }));
  };
  return [
    ...among(
      "fail",
      ["missing", "deleting"],
      "missing",
      "the step has not run, stopped early, or somebody deleted the objects",
    ),
    ...among(
      "warn",
      ["stale", "drifted"],
      "not as wanted",
      "somebody has changed them since, or the settings or manifests are newer than the last deploy",
    ),
  ];
}

/** Workloads run, claims are bound, the operator says Available and Reconciled. */
export async function readyObjects({ cluster, objects }: Subject): Promise<Finding[]> {
  return (await unready(cluster, await objects())).map((line) => {
    const [, namespace, name] = line.split(":")[0]!.split("/");
    return {
      what: line,
      cause: "a pod cannot be scheduled, cannot pull its image, or fails its probe",
      fix: `kubectl -n ${namespace} ` +
        `get pods,events | grep ${name}`,
    };
  });
}

const CLAIMING = new Set(["StatefulSet", "Prometheus", "Alertmanager"]);

/** Claims that StatefulSets made are bound and as large as they ask; those we made ourselves are among the ready objects. */
export async function claims({ cluster, objects }: Subject): Promise<Finding[]> {
  const namespaces = [
    ...new Set(
      (await objects()).filter(({ kind }) => CLAIMING.has(kind)).map(({ metadata }) =>
        metadata.namespace!
      ),
    ),
  ];
  const lists = await Promise.all(
    namespaces.map((namespace) => liveObjects(cluster, "persistentvolumeclaims", namespace)),
  );
  return claimProblems(lists.flat());
}

/** Claims that are not bound, or have less than they ask for. */
export function claimProblems(claims: Manifest[]): Finding[] {
  return claims.flatMap((claim) => {
    const name = `the class ${claim.spec.storageClassName ?? "(none)"}`;
    const fix = `kubectl -n ${claim.metadata.namespace} describe pvc ${claim.metadata.name}`;
    if (claim.status?.phase !== "Bound") {
      const what = `${idOf(claim)} is ${status(claim)}`;
      return [{ what, cause: `${name} has no provisioner or no room`, fix }];
    }
    const asked = sizeOf(claim), has = claim.status.capacity?.storage;
    if (!asked || !has || bytesOf(has) >= bytesOf(asked)) return [];
    const what = `${idOf(claim)} asked for ${asked}, has ${has}`;
    return [{ what, cause: `${name} has not grown it yet, or has no room`, fix }];
  });
}

function status(claim: Manifest): string {
  return claim.status?.phase ?? "without a phase";
}

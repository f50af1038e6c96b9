// Checks of Kubernetes itself: objects, readiness, volumes.
import type { Finding, Subject } from "../../lib/core/check.ts";
import { sizeOf } from "../../lib/apply/volumes.ts";
import { absent } from "../../lib/apply/inventory.ts";
import { liveObjects } from "../../lib/kube/list.ts";
import { idOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { bytesOf } from "../../lib/core/quantity.ts";
import { unready } from "../../lib/apply/readiness.ts";

/** Every object of every step is there. */
export async function existing({ cluster, objects }: Subject): Promise<Finding[]> {
  const wanted = await objects();
  return absenceProblems(await absent(cluster, wanted), wanted, cluster.id);
}

/** Absent objects, one line per step that should have made them. */
export function absenceProblems(ids: string[], objects: Manifest[], cluster: string): Finding[] {
  const steps = Map.groupBy(
    objects.filter((object) => ids.includes(idOf(object))),
    ({ metadata }) => metadata.labels?.[STEP_LABEL],
  );
  return [...steps].map(([step, absent]) => {
    const more = absent.length > 3 ? ` and ${absent.length - 3} more` : "";
    return {
      what: `missing of ${step}: ${absent.slice(0, 3).map(idOf).join(", ")}${more}`,
      cause: "the step has not run, stopped early, or somebody deleted the objects",
      fix: `make ${step} CLUSTER=${cluster}`,
    };
  });
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

// Checks of Kubernetes itself: objects, readiness, volumes.
import { type Finding, type Findings, type Subject, warn } from "../../lib/core/check.ts";
import { sizeOf } from "../../lib/apply/volumes.ts";
import type { State } from "../../lib/apply/diff.ts";
import type { Inventory } from "../../lib/apply/inventory.ts";
import { objectsEverywhere } from "../../lib/kube/list.ts";
import { idOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { bytesOf } from "../../lib/core/quantity.ts";
import { areReady, unready } from "../../lib/apply/readiness.ts";
import { shortList } from "../../lib/core/short_list.ts";

/** Every object of every step is there, or fails, and as wanted, or warns (it may do its work); told by step. */
export async function existing(
  { cluster: { id }, objects }: Subject,
  inventory: Pick<Inventory, "deltas">,
): Promise<Findings> {
  const wanted = await objects();
  const deltas = await inventory.deltas(wanted);
  const among = (state: Finding["state"], states: State[], what: string, cause: string) => {
    const found = wanted.filter((object) => states.includes(deltas.get(idOf(object))!.state));
    const steps = Map.groupBy(found, ({ metadata }) => metadata.labels?.[STEP_LABEL]);
    return [...steps].map(([step, those]) => ({
      state,
      what: `${what} of ${step}: ${shortList(those.map(idOf))}`,
      cause,
      fix: `make plan-${id} says what it is; make ${step} CLUSTER=${id}`,
    }));
  };
  const gone = "the step has not run, stopped early, or somebody deleted the objects";
  const changed =
    "somebody has changed them since, or the settings or manifests are newer than the last deploy";
  return [
    among("fail", ["missing", "deleting"], "missing", gone),
    among("warn", ["stale", "drifted"], "not as wanted", changed),
  ];
}

/** Workloads run, claims are bound, the operator says Available and Reconciled. */
export async function readyObjects(
  { cluster, objects }: Subject,
  inventory: Pick<Inventory, "live">,
): Promise<Findings> {
  const wanted = await objects();
  const live = await inventory.live();
  // Ready is what has the pods that it asks for now, and somebody may have changed that.
  const fewer = wanted.map((object) => {
    const id = idOf(object), now = live.get(id)?.spec?.replicas, want = object.spec?.replicas;
    const fix = `make ${object.metadata.labels?.[STEP_LABEL]} CLUSTER=${cluster.id}`;
    return now < want &&
      warn(`${id}: asks for ${now} of the ${want} replicas that are wanted`, fix);
  });
  if (await areReady(inventory, wanted)) return fewer;
  return [
    fewer,
    (await unready(cluster, wanted)).map((line): Finding => {
      const [, namespace, name] = line.split(":")[0]!.split("/");
      return {
        what: line,
        cause: "a pod cannot be scheduled, cannot pull its image, or fails its probe",
        fix: `kubectl -n ${namespace} get pods,events | grep ${name}; later than an hour after: ` +
          `make logs CLUSTER=${cluster.id} NAMESPACE=${namespace} POD=${name} SINCE=1d ARGS=--events`,
      };
    }),
  ];
}

/** Claims that StatefulSets made are bound and as large as they ask; those of ours are among the ready objects. */
export async function claims({ cluster, objects }: Subject): Promise<Findings> {
  const namespaces = (await objects())
    .filter(({ kind }) => ["StatefulSet", "Prometheus", "Alertmanager"].includes(kind))
    .map(({ metadata }) => metadata.namespace);
  const live = await objectsEverywhere(cluster, "persistentvolumeclaims");
  return live.filter(({ metadata }) => namespaces.includes(metadata.namespace)).map(claimProblem);
}

function claimProblem(claim: Manifest): Finding | undefined {
  const { metadata: { namespace, name }, spec, status } = claim;
  const where = `the class ${spec.storageClassName ?? "(none)"}`;
  const fix = `kubectl -n ${namespace} describe pvc ${name}`;
  if (status?.phase !== "Bound") {
    const what = `${idOf(claim)} is ${status?.phase ?? "without a phase"}`;
    return { what, cause: `${where} has no provisioner or no room`, fix };
  }
  const asked = sizeOf(claim), has = status.capacity?.storage;
  if (!asked || !has || bytesOf(has) >= bytesOf(asked)) return undefined;
  const what = `${idOf(claim)} asked for ${asked}, has ${has}`;
  return { what, cause: `${where} has not grown it yet, or has no room`, fix };
}

// What 50-verify shows of Kubernetes itself: objects, readiness, volumes; and how a step that only looks runs its checks.
import type { State } from "../../lib/apply/diff.ts";
import type { Inventory } from "../../lib/apply/inventory.ts";
import { areReady, unready } from "../../lib/apply/readiness.ts";
import { sizeOf } from "../../lib/apply/volumes.ts";
import { type Check, type Findings, type Subject, warn } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { idOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { bytesOf } from "../../lib/core/quantity.ts";
import { shortList } from "../../lib/core/short_list.ts";
import type { StepContext } from "../../lib/deploy/step.ts";
import { objectsEverywhere } from "../../lib/kube/api.ts";
import { openSubject, runChecks, tableOf, verdictsOf } from "../../lib/probe/check.ts";

/** Runs every check until it is well, or its time (`until`, as of `Date.now()`) is over. @throws exit 11 of what failed. */
export async function verifyBy(
  checks: Check[],
  { cluster, phase, found, report }: StepContext,
  until: (check: Check) => number,
  objects: () => Manifest[] | Promise<Manifest[]> = () => [],
): Promise<void> {
  await using subject = openSubject(cluster, { when: "after", objects, say: report.waiting });
  const rows = await phase(`${checks.length} checks`, () => runChecks(checks, subject, { until }));
  found(verdictsOf(rows));
  report.say(tableOf(rows));
  const failed = rows.filter(({ state }) => state === "fail");
  if (failed.length === 0) return;
  const name = text(cluster, "CLUSTER_NAME");
  const causes = rows.filter(({ check, state }) => check.first && state === "warn")
    .flatMap(({ check: { name }, findings }) =>
      findings.filter(({ state }) => state === "warn")
        .map(({ what, fix }) => `${name}: ${what}: that first (${fix})`)
    );
  throw new DeployError(`${failed.length} of ${rows.length} checks failed on ${name}`, {
    exitCode: ExitCode.verification,
    where: [...causes, ...failed.map(({ check: { name, hop } }) => `${name} (${hop})`)],
    fix: "follow the fixes above, from the top: a broken hop breaks those behind it",
  });
}

/** Every object of every step is there, or fails, and as wanted, or warns (it may do its work); told by step. */
export async function existing(subject: Subject, inventory: Pick<Inventory, "deltas">) {
  const { id } = subject.cluster, wanted = await subject.objects();
  const deltas = await inventory.deltas(wanted);
  const among = (state: "fail" | "warn", states: State[], what: string, cause: string) => {
    const found = wanted.filter((object) => states.includes(deltas.get(idOf(object))!.state));
    const steps = Map.groupBy(found, ({ metadata }) => metadata.labels?.[STEP_LABEL]);
    return [...steps].map(([step, those]) => ({
      state,
      what: `${what} of ${step}: ${shortList(those.map(idOf))}`,
      cause,
      fix: `make plan-${id} says what it is; make ${step} CLUSTER=${id}`,
    }));
  };
  return [
    among("fail", ["missing", "deleting"], "missing", "the step did not end, or they were deleted"),
    among("warn", ["stale", "drifted"], "not as wanted", "changed by hand, or not yet by a deploy"),
  ];
}

/** Workloads run, claims are bound, the operator says Available and Reconciled. */
export async function readyObjects(subject: Subject, inventory: Pick<Inventory, "live">) {
  const { cluster } = subject, wanted = await subject.objects();
  const live = await inventory.live();
  // Ready is what has the pods that it asks for now, and somebody may have changed that.
  const fewer = wanted.map((object) => {
    const id = idOf(object), now = live.get(id)?.spec?.replicas, want = object.spec?.replicas;
    const fix = `make ${object.metadata.labels?.[STEP_LABEL]} CLUSTER=${cluster.id}`;
    return now < want &&
      warn(`${id}: asks for ${now} of the ${want} replicas that are wanted`, fix);
  });
  const waiting = await areReady(inventory, wanted) ? [] : await unready(cluster, wanted);
  return [
    fewer,
    waiting.map((line) => {
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

function claimProblem(claim: Manifest): Findings {
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

// Why an object does not become ready, looked for in its claim and its pods.
import type { Cluster } from "../core/cluster.ts";
import { kubectl } from "../kube/kubectl.ts";
import { conditionOf, liveObjects } from "../kube/list.ts";
import type { Manifest } from "../core/object.ts";

/** What keeps an object from becoming ready; waiting longer for a `final` one would be pointless. */
export interface Trouble {
  reason: string;
  final: boolean;
  /** A pod has no node yet. */
  unscheduled?: boolean;
}

/** Restarts after which a crashing container is not waited for any longer. */
const CRASHES = 3;

/** Why an object is not ready, from its claim or its pods; undefined when it just starts. */
export async function diagnose(
  cluster: Cluster,
  object: Manifest,
): Promise<Trouble | undefined> {
  if (object.kind === "PersistentVolumeClaim") return await claimTrouble(cluster, object);
  const trouble = await podTrouble(cluster, object);
  // Of a pod without its volume the scheduler says only that a claim is not bound.
  return trouble?.unscheduled ? await claimTrouble(cluster, object) ?? trouble : trouble;
}

/**
 * Why a claim, or a claim that a StatefulSet's pods wait for, has no volume: its class and the last
 * thing that was said about it.
 */
async function claimTrouble(cluster: Cluster, object: Manifest): Promise<Trouble | undefined> {
  const { kind, metadata: { name, namespace } } = object;
  const names: string[] = kind === "PersistentVolumeClaim"
    ? [name]
    : (object.spec?.volumeClaimTemplates ?? []).flatMap(({ metadata }: Manifest) =>
      Array.from({ length: object.spec.replicas ?? 1 }, (_, n) => `${metadata.name}-${name}-${n}`)
    );
  if (names.length === 0) return undefined;
  const list = await kubectl(["get", "pvc,events", "-n", namespace!, "-o", "json"], { cluster });
  const items: Manifest[] = JSON.parse(list).items;
  const claim = items.find((item) =>
    item.kind === "PersistentVolumeClaim" && names.includes(item.metadata.name) &&
    item.status?.phase === "Pending"
  );
  if (!claim) return undefined;
  const event = items.filter(({ kind, involvedObject }) =>
    kind === "Event" && involvedObject?.kind === "PersistentVolumeClaim" &&
    involvedObject.name === claim.metadata.name
  ).sort(byTime).at(-1);
  const said = event ? `${event.reason}: ${event.message}` : "nothing was said about it";
  const storageClass = claim.spec.storageClassName || "no class: there is no default one";
  return {
    reason: `claim ${claim.metadata.name} (${storageClass}) has no volume: ${said}`,
    final: false,
  };
}

async function podTrouble(cluster: Cluster, object: Manifest): Promise<Trouble | undefined> {
  const selector = object.spec?.selector?.matchLabels;
  if (!selector) return undefined;
  const labels = Object.entries(selector).map(([key, value]) => `${key}=${value}`).join(",");
  const list = await kubectl(
    ["get", "pods", "-n", object.metadata.namespace!, "-l", labels, "-o", "json"],
    { cluster },
  );
  const pods: Manifest[] = JSON.parse(list).items;
  const wanted = object.spec.replicas ?? object.status?.desiredNumberScheduled ?? 1;
  return pods.map(diagnosePod).find(Boolean) ??
    (pods.length < wanted ? await creationTrouble(cluster, object) : undefined);
}

function byTime(a: Manifest, b: Manifest): number {
  return String(a.lastTimestamp).localeCompare(String(b.lastTimestamp));
}

/** Why the controller of an object cannot even make its pods: a quota, an admission webhook. */
async function creationTrouble(
  cluster: Cluster,
  { kind, metadata: { name, namespace } }: Manifest,
): Promise<Trouble | undefined> {
  const events = await liveObjects(cluster, "events", namespace!);
  const last = events.filter(({ reason, involvedObject }) =>
    reason === "FailedCreate" && involvedObject?.kind === kind && involvedObject.name === name
  ).sort(byTime).at(-1);
  return last && { reason: `FailedCreate: ${last.message}`, final: false };
}

/** Why a pod does not run, from its conditions and container states; undefined when it just starts. */
export function diagnosePod(pod: Manifest): Trouble | undefined {
  const name = pod.metadata.name;
  const scheduled = conditionOf(pod, "PodScheduled");
  if (scheduled?.status === "False") {
    const reason = `pod ${name} is not scheduled: ${scheduled.message}`;
    return { reason, final: false, unscheduled: true };
  }
  const containers = [
    ...pod.status?.initContainerStatuses ?? [],
    ...pod.status?.containerStatuses ?? [],
  ];
  for (const { name: container, state, restartCount, lastState } of containers) {
    const { reason, message = "" } = state?.waiting ?? {};
    if (!reason || reason === "PodInitializing" || reason === "ContainerCreating") continue;
    const exit = lastState?.terminated?.exitCode;
    const detail = exit === undefined
      ? message
      : `last exit code ${exit}, ${restartCount} restarts`;
    return {
      reason: `pod ${name}, container ${container}: ${reason} ${detail}`.trim(),
      final: reason === "CrashLoopBackOff" && restartCount >= CRASHES ||
        reason === "ErrImageNeverPull" || reason === "InvalidImageName",
    };
  }
  return undefined;
}

// Why an object does not become ready, looked for in its claim and its pods.
import type { Cluster } from "../core/cluster.ts";
import { kubectl } from "../kube/kubectl.ts";
import { conditionOf, liveObjects } from "../kube/list.ts";
import type { Manifest } from "../core/object.ts";
import { lastWriteOf } from "./managers.ts";

/** What keeps an object from becoming ready; waiting longer for a `final` one would be pointless. */
export interface Trouble {
  reason: string;
  final: boolean;
  /** A pod has no node yet. */
  unscheduled?: boolean;
}

/** Restarts after which a crashing container is not waited for any longer. */
const CRASHES = 3;

/** What a container runtime says of a pull when the registry has answered that it has no such image. */
const NO_SUCH_IMAGE = /failed to resolve (image|reference).*: not found$|manifest unknown\b/s;

/** Seconds of a pod for which that is not believed: a mirror says so too while what it mirrors is away. */
const PULL_PATIENCE = 60;

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
  const event = lastOf(items, claim);
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
  const kinds = object.kind === "Deployment" ? "pods,replicasets" : "pods";
  const list = await kubectl(
    ["get", kinds, "-n", object.metadata.namespace!, "-l", labels, "-o", "json"],
    { cluster },
  );
  const items: Manifest[] = JSON.parse(list).items;
  const pods = items.filter(({ kind, metadata }) =>
    kind !== "ReplicaSet" && !metadata.deletionTimestamp
  );
  const [label, present, maker] = revisionOf(object, items);
  const isPresent = ({ metadata }: Manifest) => !present || metadata.labels?.[label] === present;
  const now = pods.filter(isPresent), old = pods.filter((pod) => !isPresent(pod));
  const wanted = object.spec.replicas ?? object.status?.desiredNumberScheduled ?? 1;
  return now.map(diagnosePod).find(Boolean) ??
    (now.length < wanted ? await creationTrouble(cluster, object, maker) : undefined) ??
    // They go when the new ones come, unless they stand in their way.
    old.map(diagnosePod).flatMap((trouble) => trouble ? { ...trouble, final: false } : []).at(0);
}

/**
 * The label by which pods tell their revision, and the present one; undefined where nothing tells it. Last what makes
 * the pods, which are said to be its own: of a Deployment the ReplicaSet of that revision.
 */
function revisionOf(
  object: Manifest,
  items: Manifest[],
): [label: string, present: string | undefined, maker: Manifest | undefined] {
  const { kind, metadata, status } = object;
  if (kind === "StatefulSet") return ["controller-revision-hash", status?.updateRevision, object];
  if (kind === "DaemonSet") {
    const generation = metadata.annotations?.["deprecated.daemonset.template.generation"];
    return ["pod-template-generation", generation, object];
  }
  const number = ({ metadata }: Manifest) =>
    Number(metadata.annotations?.["deployment.kubernetes.io/revision"] ?? 0);
  const newest = items.filter(({ kind }) => kind === "ReplicaSet")
    .sort((a, b) => number(b) - number(a))[0];
  return ["pod-template-hash", newest?.metadata.labels?.["pod-template-hash"], newest];
}

/** The last event about an object. */
function lastOf(events: Manifest[], { metadata: { uid } }: Manifest): Manifest | undefined {
  return events.filter(({ involvedObject }) => involvedObject?.uid === uid)
    .sort((a, b) => timeOf(a) - timeOf(b)).at(-1);
}

/** When it was said last, in ms; 0 where that is not known. */
function timeOf({ lastTimestamp, series, eventTime }: Manifest): number {
  return Date.parse(lastTimestamp ?? series?.lastObservedTime ?? eventTime) || 0;
}

/** Why pods cannot even be made, a quota, an admission webhook; `maker` has said so since the object was last changed. */
async function creationTrouble(
  cluster: Cluster,
  object: Manifest,
  maker: Manifest | undefined,
): Promise<Trouble | undefined> {
  if (!maker) return undefined;
  const events = await liveObjects(cluster, "events", object.metadata.namespace!);
  const last = lastOf(events.filter(({ reason }) => reason === "FailedCreate"), maker);
  // An edit beside the fields, as of the scale, has no time; what was said before it counts then.
  if (!last || timeOf(last) < Date.parse(lastWriteOf(object).last?.at ?? "1970-01-01")) {
    return undefined;
  }
  return { reason: `FailedCreate: ${last.message}`, final: false };
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
    const last = lastState?.terminated;
    const detail = last === undefined
      ? message
      : `last exit code ${last.exitCode}, ${restartCount} restarts${lastWords(last)}`;
    // ImagePullBackOff may be about a pull of minutes ago: the next one finds what was pushed meanwhile.
    const isAbsent = reason === "ErrImageNeverPull" || reason === "InvalidImageName" ||
      reason === "ErrImagePull" && NO_SUCH_IMAGE.test(message) && hasWaited(pod, PULL_PATIENCE);
    return {
      reason: `pod ${name}, container ${container}: ${reason} ${detail}`.trim(),
      final: isAbsent || reason === "CrashLoopBackOff" && restartCount >= CRASHES,
    };
  }
  return undefined;
}

function hasWaited({ status }: Manifest, seconds: number): boolean {
  return Date.now() - Date.parse(status?.startTime) > seconds * 1000;
}

/** What a program said at its end, where its status has it: the reason, and the last of its words. */
function lastWords({ reason, message }: { reason?: string; message?: string }): string {
  const said = message?.trim().split("\n").at(-1)?.slice(-LAST_WORDS);
  return (reason === "OOMKilled" ? `: ${reason}` : "") + (said ? `: ${said}` : "");
}

/** Characters of it that are shown. */
const LAST_WORDS = 300;

// Why an object does not become ready, looked for in its claim and its pods.
import type { Cluster } from "../core/cluster.ts";
import type { Manifest } from "../core/object.ts";
import { conditionOf, liveObjects } from "../kube/api.ts";
import { kubectl } from "../kube/kubectl.ts";
import { lastWriteOf } from "./managers.ts";

/** Why an object is not ready. */
export interface Trouble {
  reason: string;
  final?: boolean; // waiting longer would be pointless
  unscheduled?: boolean;
  log?: string[]; // kubectl's words for the log whose last line says more than the status has room for
}

/** So many restarts of a container are waited for, and so many characters of its last words are told. */
const CRASHES = 3, LAST_WORDS = 300;

/** Longest time in ms until a pod that runs has a changed Secret in its files: kubelet's period and its cache. */
const SPREAD = 120_000;

/** Bytes of a container's log that kubelet keeps in its status: of a longer line the beginning is lost. */
const KEPT = 2048;

/** What a container runtime says of a pull when the registry has answered that it has no such image. */
const NO_SUCH_IMAGE = /failed to resolve (image|reference).*: not found$|manifest unknown\b/s;

/** Seconds of a pod for which that is not believed: a mirror says so too while what it mirrors is away. */
const PULL_PATIENCE = 60;

/** Why an object is not ready, from its claim or its pods; undefined when it just starts. `since`: as {@link diagnosePod}. */
export async function diagnose(cluster: Cluster, object: Manifest, since = 0) {
  if (object.kind === "PersistentVolumeClaim") return await claimTrouble(cluster, object);
  const trouble = await podTrouble(cluster, object, since);
  if (trouble?.final && trouble.log) {
    const words = ["logs", ...trouble.log, "--namespace", object.metadata.namespace!];
    const log = await kubectl([...words, "--previous", "--tail=1"], { cluster }).catch(() => "");
    return { ...trouble, reason: trouble.reason + lastWords({ message: log }) };
  }
  // Of a pod without its volume the scheduler says only that a claim is not bound.
  return trouble?.unscheduled ? await claimTrouble(cluster, object) ?? trouble : trouble;
}

async function claimTrouble(cluster: Cluster, object: Manifest): Promise<Trouble | undefined> {
  const { kind, metadata: { name, namespace }, spec } = object;
  const names: string[] = kind === "PersistentVolumeClaim"
    ? [name]
    : (spec?.volumeClaimTemplates ?? []).flatMap(({ metadata }: Manifest) =>
      Array.from({ length: spec.replicas ?? 1 }, (_, n) => `${metadata.name}-${name}-${n}`)
    );
  if (names.length === 0) return undefined;
  const items = await liveObjects(cluster, "persistentvolumeclaims,events", namespace!);
  const claim = items.find(({ kind, metadata, status }) =>
    kind === "PersistentVolumeClaim" && names.includes(metadata.name) && status?.phase === "Pending"
  );
  if (!claim) return undefined;
  const event = lastOf(items, claim);
  const said = event ? `${event.reason}: ${event.message}` : "nothing was said about it";
  const storageClass = claim.spec.storageClassName || "no class: there is no default one";
  return { reason: `claim ${claim.metadata.name} (${storageClass}) has no volume: ${said}` };
}

async function podTrouble(
  cluster: Cluster,
  object: Manifest,
  since: number,
): Promise<Trouble | undefined> {
  const { kind, metadata, spec, status } = object;
  const selector = spec?.selector?.matchLabels;
  if (!selector) return undefined;
  const labels = Object.entries(selector).map((label) => label.join("=")).join();
  const kinds = kind === "Deployment" ? "pods,replicasets" : "pods";
  const items = await liveObjects(cluster, kinds, metadata.namespace!, labels);
  const pods = items.filter(({ kind, metadata }) => kind === "Pod" && !metadata.deletionTimestamp);
  const maker = kind === "Deployment" ? newestSet(items) : object;
  const [label = "", presentOf] = REVISIONS[kind] ?? [];
  const present = maker && presentOf?.(maker);
  const now = pods.filter(({ metadata }) => !present || metadata.labels?.[label] === present);
  const wanted = spec.replicas ?? status?.desiredNumberScheduled ?? 1;
  const trouble = now.map((pod) => diagnosePod(pod, since)).find(Boolean);
  if (trouble) return trouble;
  const refused = now.length < wanted && maker && await creationTrouble(cluster, maker);
  if (refused) return refused;
  // Older ones go when the new ones come, unless they stand in their way.
  const older = pods.map((pod) => diagnosePod(pod)).find(Boolean);
  return older && { ...older, final: false };
}

function newestSet(items: Manifest[]): Manifest | undefined {
  const number = ({ metadata }: Manifest) =>
    Number(metadata.annotations?.["deployment.kubernetes.io/revision"] ?? 0);
  return items.filter(({ kind }) => kind === "ReplicaSet").sort((a, b) => number(b) - number(a))[0];
}

const REVISIONS: Record<string, [label: string, of: (maker: Manifest) => string | undefined]> = {
  Deployment: ["pod-template-hash", ({ metadata }) => metadata.labels?.["pod-template-hash"]],
  StatefulSet: ["controller-revision-hash", ({ status }) => status?.updateRevision],
  DaemonSet: [
    "pod-template-generation",
    ({ metadata }) => metadata.annotations?.["deprecated.daemonset.template.generation"],
  ],
};

function lastOf(events: Manifest[], { metadata: { uid } }: Manifest): Manifest | undefined {
  return events.filter(({ involvedObject }) => involvedObject?.uid === uid)
    .sort((a, b) => timeOf(a) - timeOf(b)).at(-1);
}

function timeOf({ lastTimestamp, series, eventTime }: Manifest): number {
  return Date.parse(lastTimestamp ?? series?.lastObservedTime ?? eventTime) || 0;
}

/** Why pods cannot even be made (a quota, an admission webhook), said since their maker was last changed. */
async function creationTrouble(cluster: Cluster, maker: Manifest): Promise<Trouble | undefined> {
  const events = await liveObjects(cluster, "events", maker.metadata.namespace!);
  const last = lastOf(events.filter(({ reason }) => reason === "FailedCreate"), maker);
  // An edit beside the fields, as of the scale, has no time; what was said before it counts then.
  const changed = Date.parse(lastWriteOf(maker).last?.at ?? "1970-01-01");
  return last && timeOf(last) >= changed ? { reason: `FailedCreate: ${last.message}` } : undefined;
}

/** Why a pod does not run; undefined when it just starts. What changed at `since` (ms) may have mended an older one. */
export function diagnosePod(pod: Manifest, since = 0): Trouble | undefined {
  const { name } = pod.metadata;
  const scheduled = conditionOf(pod, "PodScheduled");
  if (scheduled?.status === "False") {
    const reason = `pod ${name} is not scheduled: ${scheduled.message}`;
    return { reason, unscheduled: true };
  }
  const { initContainerStatuses: init = [], containerStatuses: main = [] } = pod.status ?? {};
  const age = (Date.now() - Date.parse(pod.status?.startTime)) / 1000;
  for (const { name: container, state, restartCount, lastState } of [...init, ...main]) {
    const { reason, message = "" } = state?.waiting ?? {};
    if (!reason || reason === "PodInitializing" || reason === "ContainerCreating") continue;
    const last = lastState?.terminated, said: string = last?.message?.trim() ?? "";
    const isCut = said.length > KEPT - 2 && !said.includes("\n");
    const detail = last === undefined
      ? message
      : `last exit code ${last.exitCode}, ${restartCount} restarts${isCut ? "" : lastWords(last)}`;
    const mayBeMended = Date.parse(pod.status.startTime) < since - 1000 &&
      Date.parse(last?.finishedAt) < since + SPREAD;
    const isOver = restartCount >= CRASHES && !mayBeMended;
    // ImagePullBackOff may be about a pull of minutes ago: the next one finds what was pushed meanwhile.
    const isAbsent = reason === "ErrImageNeverPull" || reason === "InvalidImageName" ||
      reason === "ErrImagePull" && NO_SUCH_IMAGE.test(message) && age > PULL_PATIENCE;
    return {
      reason: `pod ${name}, container ${container}: ${reason} ${detail}`.trim(),
      final: isAbsent || reason === "CrashLoopBackOff" && isOver,
      ...isCut && { log: [name, `--container=${container}`] },
    };
  }
  return undefined;
}

function lastWords({ reason, message }: { reason?: string; message?: string }): string {
  const line = message?.trim().split("\n").at(-1) ?? "";
  // Of an error that a Go program logs with its stack, in one line, the beginning says what it is.
  const [first, ...stack] = line.split("\\n");
  const said = stack.length > 0 ? first!.slice(0, LAST_WORDS) : line.slice(-LAST_WORDS);
  return (reason === "OOMKilled" ? `: ${reason}` : "") + (said ? `: ${said}` : "");
}

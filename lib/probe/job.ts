// A short Job that shows something from inside a cluster, and what it needs for that.
import type { Cluster } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf, SlowError } from "../core/error.ts";
import { kubectl } from "../kube/kubectl.ts";
import { liveObjects } from "../kube/list.ts";
import type { Manifest } from "../core/object.ts";
import { readiness } from "../apply/readiness.ts";
import { diagnosePod } from "../apply/diagnose.ts";
import { rewriteImages } from "../render/render.ts";
import { retried } from "../kube/retry.ts";
import { until } from "../io/wait.ts";

/** What a Job of this run alone is called: somebody may run the same check at the same time. */
export function runName(check: string): string {
  return `${check}-${crypto.randomUUID().slice(0, 8)}`;
}

interface JobOptions {
  /** What its pod does, for messages: `looks for S3`. */
  does: string;
  /** Objects of the Job's namespace that live as long as it does. */
  needs?: Manifest[];
  /** Told what is waited for. */
  say?: (text: string) => void;
}

/**
 * Runs the Job, which has a {@link runName}, for `spec.activeDeadlineSeconds`. True when it succeeded: it is removed
 * then. One that failed, or that nobody waits for any more, stays for its `ttlSecondsAfterFinished`.
 * @throws {DeployError} exit 7 when its pod did not start, with the reason; a {@link SlowError} when nothing
 * was wrong with it.
 */
export async function runJob(
  cluster: Cluster,
  job: Manifest,
  options: JobOptions,
): Promise<boolean> {
  const remove = await start(cluster, job, options.needs);
  const succeeded = await end(cluster, job, options);
  if (succeeded) await remove();
  return succeeded;
}

/**
 * As {@link runJob}, but gives what its pod has written, however it ended; the Job never stays. A pod that hung is
 * gone with its words: a {@link SlowError}.
 */
export async function readJob(
  cluster: Cluster,
  job: Manifest,
  options: JobOptions,
): Promise<string> {
  const { name, namespace } = job.metadata;
  const remove = await start(cluster, job, options.needs);
  try {
    const succeeded = await end(cluster, job, options);
    const words = ["logs", `job/${name}`, "--namespace", namespace!];
    return await kubectl(words, { cluster, seconds: 20 }).catch((error) => {
      if (succeeded) throw error;
      const { activeDeadlineSeconds: seconds } = job.spec;
      throw new SlowError(`The pod that ${options.does} did not end within ${seconds} s`, {
        where: messageOf(error),
        fix: "something on the node may hang, as a network file system that is away",
      });
    });
  } finally {
    await remove().catch(() => options.say?.(`Job ${namespace}/${name} goes by itself in minutes`));
  }
}

/** Makes the Job and what it needs; gives what removes both. */
async function start(
  cluster: Cluster,
  job: Manifest,
  needs: Manifest[] = [],
): Promise<() => Promise<unknown>> {
  const { name, namespace } = job.metadata;
  const remove = () =>
    kubectl(["delete", "job", name, "--namespace", namespace!, "--ignore-not-found"], { cluster });
  const [fitted] = rewriteImages([job], cluster);
  const { metadata: { uid } } = JSON.parse(
    await create(cluster, fitted!).catch(() =>
      // The API server was away for a moment; it may be there although that was not told.
      retried(async () => {
        await remove();
        return await create(cluster, fitted!);
      })
    ),
  );
  // Owned by the Job: whatever happens to us, they go with it.
  const owner = { apiVersion: "batch/v1", kind: "Job", name, uid };
  for (const object of needs) {
    const metadata = { ...object.metadata, ownerReferences: [owner] };
    await create(cluster, { ...object, metadata });
  }
  return remove;
}

async function create(cluster: Cluster, object: Manifest): Promise<string> {
  const input = JSON.stringify(object);
  return await kubectl(["create", "--filename", "-", "--output", "json"], { cluster, input });
}

async function end(
  cluster: Cluster,
  { metadata: { name, namespace = "default" }, spec }: Manifest,
  { does, say = () => {} }: JobOptions,
): Promise<boolean> {
  const seconds: number = spec.activeDeadlineSeconds;
  let state: string = "waiting", hasPod = false;
  let stuck: ReturnType<typeof reasonOf>;
  await until(`the pod that ${does}`, async () => {
    const items = await liveObjects(cluster, "jobs,pods", namespace);
    const job = items.find(({ kind, metadata }) => kind === "Job" && metadata.name === name);
    const verdict = job ? readiness(job).state : "waiting";
    const pod = items.find(({ kind, metadata }) =>
      kind === "Pod" && metadata.labels?.["batch.kubernetes.io/job-name"] === name
    );
    hasPod ||= pod !== undefined;
    // Its controller says so a second or two later.
    state = pod?.status?.phase === "Succeeded" ? "ready" : verdict;
    if (state !== "waiting") return [];
    stuck = pod && reasonOf(pod);
    const reason = stuck?.reason ??
      (hasPod
        ? "its pod has not ended"
        : "no pod was made for it, does the controller manager run?");
    return [`Job ${namespace}/${name}: ${reason}`];
  }, { seconds: seconds + 15, every: 0.5, say });
  // A Job whose time is over takes its pod along, and the reason with it.
  if (state !== "failed" || (hasPod && !stuck)) return state === "ready";
  const what = `The pod that ${does} did not start within ${seconds} s`;
  const said = await warnings(cluster, namespace, name);
  if (stuck?.slow && said.length === 0) {
    const fix = "the node may still be pulling its image: run again in a moment";
    throw new SlowError(what, { where: stuck.reason, fix });
  }
  throw new DeployError(what, {
    exitCode: ExitCode.notReady,
    where: [...stuck ? [stuck.reason] : [], ...said],
    fix: "mend what is named above (an image that cannot be pulled: IMAGE_REGISTRY), run again",
  });
}

/** Why a pod does not run yet; `slow`: nothing is known to be wrong. */
function reasonOf(pod: Manifest): { reason: string; slow: boolean } | undefined {
  if (pod.status?.phase !== "Pending") return undefined;
  const trouble = diagnosePod(pod);
  if (trouble) return { reason: trouble.reason, slow: false };
  const what = "waits for its image, its volumes or its network";
  return { reason: `pod ${pod.metadata.name} ${what}`, slow: true };
}

/**
 * The last thing that was said of each object whose name begins like the Job's, as those of no other run do; but that
 * its time is over, which is no reason.
 */
async function warnings(cluster: Cluster, namespace: string, name: string): Promise<string[]> {
  const events = await liveObjects(cluster, "events", namespace);
  const own = events.filter(({ type, reason, involvedObject }) =>
    type === "Warning" && reason !== "DeadlineExceeded" && involvedObject?.name.startsWith(name)
  );
  const last = new Map(own.map(({ involvedObject: { kind, name }, reason, message }) => [
    `${kind}/${name}`,
    `${kind} ${name}: ${reason}: ${message}`,
  ]));
  return [...last.values()];
}

// A short Job that shows something from inside a cluster, and what it needs for that.
import type { Cluster } from "../core/cluster.ts";
import { messageOf, notReadyError, SlowError } from "../core/error.ts";
import { kubectl } from "../kube/kubectl.ts";
import { liveObjects } from "../kube/api.ts";
import { type Manifest, withValue } from "../core/object.ts";
import { sendList } from "../apply/live.ts";
import { notReady } from "../apply/readiness.ts";
import { diagnosePod } from "../apply/diagnose.ts";
import { rewriteImages } from "../render/render.ts";
import { until } from "../io/wait.ts";

/** A Job's name of this run alone: somebody may run the same check at the same time. */
export function runName(check: string): string {
  return `${check}-${crypto.randomUUID().slice(0, 8)}`;
}

/** What its pod does, for messages (`looks for S3`), and objects of its namespace that live as long as the Job. */
interface Options {
  does: string;
  needs?: Manifest[];
  say?: (text: string) => void;
}

/** Runs the Job, named by {@link runName}: true, and gone, when it succeeded. @throws exit 7, or {@link SlowError}. */
export async function runJob(cluster: Cluster, job: Manifest, options: Options): Promise<boolean> {
  await start(cluster, job, options.needs);
  const succeeded = await end(cluster, job, options);
  if (succeeded) await remove(cluster, job);
  return succeeded;
}

/** As {@link runJob}, but gives what its pod wrote, however it ended, and the Job never stays. SlowError: it hung. */
export async function readJob(cluster: Cluster, job: Manifest, options: Options): Promise<string> {
  const { metadata: { name, namespace }, spec } = job, { does, needs, say } = options;
  await start(cluster, job, needs);
  try {
    const succeeded = await end(cluster, job, options);
    const words = ["logs", `job/${name}`, "--namespace", namespace!];
    return await kubectl(words, { cluster, seconds: 20 }).catch((error) => {
      if (succeeded) throw error;
      const what = `The pod that ${does} did not end within ${spec.activeDeadlineSeconds} s`;
      const fix = "something on the node may hang, as a network file system that is away";
      throw new SlowError(what, { where: messageOf(error), fix });
    });
  } finally {
    const left = `Job ${namespace}/${name} goes by itself in minutes`;
    await remove(cluster, job).catch(() => say?.(left));
  }
}

/** Server-side apply makes one Job, whose name is of this run alone, however often it is sent. */
async function start(cluster: Cluster, job: Manifest, needs: Manifest[] = []): Promise<void> {
  const [made] = (await sendList(cluster, rewriteImages([job], cluster))).values();
  const { name } = job.metadata, { uid } = made!.metadata;
  // Owned by the Job: whatever happens to us, they go with it.
  const ownerReferences = [{ apiVersion: "batch/v1", kind: "Job", name, uid }];
  const owned = needs.map((object) =>
    withValue(object, ["metadata", "ownerReferences"], ownerReferences)
  );
  if (owned.length > 0) await sendList(cluster, owned);
}

async function remove(cluster: Cluster, { metadata: { name, namespace } }: Manifest) {
  const words = ["delete", "job", name, "--namespace", namespace!, "--ignore-not-found"];
  await kubectl(words, { cluster });
}

async function end(cluster: Cluster, wanted: Manifest, { does, say = () => {} }: Options) {
  const { metadata: { name, namespace = "default" }, spec } = wanted;
  const seconds: number = spec.activeDeadlineSeconds;
  let succeeded = false, pod: Manifest | undefined;
  await until(`the pod that ${does}`, async () => {
    const items = await liveObjects(cluster, "jobs,pods", namespace);
    const job = items.find(({ kind, metadata }) => kind === "Job" && metadata.name === name);
    const now = items.find(({ kind, metadata }) =>
      kind === "Pod" && metadata.labels?.["batch.kubernetes.io/job-name"] === name
    );
    const trouble = job ? notReady(job) : { reason: "it is not there" };
    // Its controller says so a second or two later.
    succeeded = !trouble || now?.status?.phase === "Succeeded";
    const isOver = succeeded || trouble?.final;
    // A Job whose time is over takes its pod along, and the reason with it.
    pod = isOver ? pod ?? now : now ?? pod;
    if (isOver) return [];
    const nothing = "no pod was made for it, does the controller manager run?";
    const reason = pod ? reasonOf(pod)?.reason ?? "its pod has not ended" : nothing;
    return [`Job ${namespace}/${name}: ${reason}`];
  }, { seconds: seconds + 15, every: 0.5, say });
  const stuck = pod && reasonOf(pod);
  if (succeeded || pod && !stuck) return succeeded;
  const what = `The pod that ${does} did not start within ${seconds} s`;
  const said = await warnings(cluster, namespace, name);
  if (stuck?.slow && said.length === 0) {
    const fix = "the node may still be pulling its image: run again in a moment";
    throw new SlowError(what, { where: stuck.reason, fix });
  }
  throw notReadyError(what, {
    where: [...stuck ? [stuck.reason] : [], ...said],
    fix: "mend what is named above (an image that cannot be pulled: IMAGE_REGISTRY), run again",
  });
}

/** Why a pod does not run yet; `slow`: nothing is known to be wrong. */
function reasonOf(pod: Manifest): { reason: string; slow: boolean } | undefined {
  if (pod.status?.phase !== "Pending") return undefined;
  const starting = `pod ${pod.metadata.name} waits for its image, its volumes or its network`;
  const trouble = diagnosePod(pod);
  return { reason: trouble?.reason ?? starting, slow: !trouble };
}

/** What was said last of each object whose name begins like the Job's; that its time is over is no reason. */
async function warnings(cluster: Cluster, namespace: string, name: string): Promise<string[]> {
  const events = await liveObjects(cluster, "events", namespace);
  const own = events.filter(({ type, reason, involvedObject }) =>
    type === "Warning" && reason !== "DeadlineExceeded" && involvedObject?.name.startsWith(name)
  );
  const last = new Map<string, string>();
  for (const { involvedObject: { kind, name }, reason, message } of own) {
    last.set(`${kind} ${name}`, `${reason}: ${message}`);
  }
  return [...last].map((said) => said.join(": "));
}

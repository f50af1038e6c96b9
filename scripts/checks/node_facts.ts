// Facts of the nodes themselves, which no API tells: read by one short pod on each, a Job that the
// cluster removes by itself when we cannot.
import { readFile } from "node:fs/promises";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode, SlowError } from "../../lib/core/error.ts";
import type { Subject } from "../../lib/core/check.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { conditionOf, objectsEverywhere } from "../../lib/kube/list.ts";
import { asList, type Manifest } from "../../lib/core/object.ts";
import { diagnosePod } from "../../lib/apply/diagnose.ts";
import { runName, shortJob } from "../../lib/probe/job.ts";
import { rewriteImages } from "../../lib/render/render.ts";
import { until } from "../../lib/io/wait.ts";
import { busyBox } from "./volume.ts";

/** What a check says that cannot do without them. */
export const UNKNOWN_NODES = "not looked at: see Nodes";

/** The facts of every node, for all checks of a subject; the check Nodes says why they are not known. */
export function factsOf({ cluster, once, say }: Subject): Promise<NodeFacts[]> {
  return once("facts of the nodes", () => nodeFacts(cluster, say));
}

const NAMESPACE = "kube-system";
const RUN = "deploy.miribit.lab/preflight";
/** Seconds that a pod is waited for, the pull of its image included. */
const PATIENCE = 120;

/**
 * The facts of every Linux node that is ready.
 * @throws {DeployError} exit 3 when a pod cannot tell them, a {@link SlowError} when it has not yet after two
 * minutes.
 */
export async function nodeFacts(
  cluster: Cluster,
  say: (text: string) => void = () => {},
  seconds = PATIENCE,
): Promise<NodeFacts[]> {
  const nodes = (await objectsEverywhere(cluster, "nodes"))
    .filter(({ metadata }) => (metadata.labels?.["kubernetes.io/os"] ?? "linux") === "linux")
    .filter((node) => conditionOf(node, "Ready")?.status === "True")
    .map(({ metadata }) => metadata.name);
  if (nodes.length === 0) return [];
  const run = runName("preflight");
  const script = await readFile(projectPath("scripts/checks/node.sh"), "utf8");
  const jobs = nodes.map((node, index) => factsJob(cluster, `${run}-${index}`, run, node, script));
  const from = Date.now();
  try {
    const input = asList(rewriteImages(jobs, cluster));
    await kubectl(["create", "-f", "-", "-o", "name"], { cluster, input, seconds: 20 });
    return await Promise.all(nodes.map(async (node, index) => {
      const answer = await output(cluster, `${run}-${index}`, seconds, say);
      return parseFacts(node, answer, { from, to: Date.now() });
    }));
  } finally {
    const gone = ["--ignore-not-found", "--wait=false"];
    await kubectl(["delete", "jobs.batch", "-n", NAMESPACE, "-l", `${RUN}=${run}`, ...gone], {
      cluster,
      seconds: 20,
    }).catch(() => say("the pods of the preflight go by themselves in ten minutes"));
  }
}

/** No network of its own, so that it works where the one of pods does not. */
export function factsJob(
  cluster: Cluster,
  name: string,
  run: string,
  nodeName: string,
  script: string,
): Manifest {
  return shortJob({
    name,
    namespace: NAMESPACE,
    labels: { [RUN]: run },
    // Then the cluster ends and removes what we could not.
    seconds: 2 * PATIENCE,
    kept: 2 * PATIENCE,
    containers: [{
      ...busyBox(cluster, "facts", script, "node.sh", text(cluster, "LONGHORN_DATA_PATH")),
      securityContext: {
        runAsUser: 0,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      },
      volumeMounts: [{
        name: "host",
        mountPath: "/host",
        readOnly: true,
        mountPropagation: "HostToContainer",
      }],
    }],
    volumes: [{ name: "host", hostPath: { path: "/" } }],
    pod: {
      // Not through the scheduler: a full node is one of the things to tell.
      nodeName,
      tolerations: [{ operator: "Exists" }],
      hostPID: true,
      hostNetwork: true,
      terminationGracePeriodSeconds: 0,
      securityContext: {},
    },
  });
}

/** What the pod of a Job wrote, once it has ended. */
async function output(
  cluster: Cluster,
  job: string,
  seconds: number,
  say: (text: string) => void,
): Promise<string> {
  const ofJob = ["get", "pods", "-n", NAMESPACE, "-l", `job-name=${job}`, "-o", "json"];
  let pod: Manifest | undefined;
  try {
    await until("the pod that looks at the node", async () => {
      pod = JSON.parse(await kubectl(ofJob, { cluster, seconds: 20 })).items[0];
      if (["Succeeded", "Failed"].includes(pod?.status?.phase)) return [];
      return [(pod && diagnosePod(pod)?.reason) ?? `pod of ${job} has not run yet`];
    }, { seconds, every: 0.5, say });
  } catch (error) {
    if (!(error instanceof DeployError) || error.exitCode !== ExitCode.notReady) throw error;
    if (pod && diagnosePod(pod)) throw unseen(error.where);
    throw new SlowError(`The pod that looks at the node has told nothing in ${seconds} s`, {
      where: error.where,
      fix: "the node may still be pulling its image: run again in a moment",
    });
  }
  const words = ["logs", "-n", NAMESPACE, pod!.metadata.name];
  return await kubectl(words, { cluster, seconds: 20 });
}

function unseen(where: string[]): DeployError {
  return new DeployError("Cannot look at the node: the pod that should told nothing", {
    exitCode: ExitCode.prerequisite,
    where,
    fix: "look at what the node says (kubectl describe node), and whether it can pull images",
  });
}

/** What node.sh found on a node; sizes in bytes. */
export type NodeFacts = ReturnType<typeof parseFacts>;

/**
 * Reads the lines of node.sh; `from` and `to` (as of `Date.now()`) are when the pod was asked for and
 * when its answer was there.
 * @throws {DeployError} exit 3 when the answer is cut short.
 */
export function parseFacts(
  node: string,
  answer: string,
  { from, to }: { from: number; to: number },
) {
  const facts = new Map(
    [...answer.matchAll(/^(.*?)=(.*)$/gm)].map(([, name, value]) => [name, value!.trim()]),
  );
  if (!facts.has("end")) throw unseen([`node ${node} answered: ${answer.trim().slice(-300)}`]);
  const of = (name: string) => facts.get(name) ?? "";
  const count = (name: string) => Number(facts.get(name) ?? NaN);
  const bytes = (name: string) => count(name) * 1024;
  const words = (name: string) => of(name).split(" ").filter(Boolean);
  const yes = (name: string) => of(name) === "yes";
  return {
    node,
    /** Seconds by which the node's clock is ahead of ours. */
    ahead: aheadOf(count("time"), from, to),
    /** ID and ID_LIKE of its system, such as `ubuntu debian`. */
    os: `${of("os")} ${of("os_like")}`.trim(),
    kernel: of("kernel"),
    mapCount: count("max_map_count"),
    inotifyInstances: count("max_user_instances"),
    inotifyWatches: count("max_user_watches"),
    cgroup: count("cgroup"),
    /** iscsid runs, or systemd starts it at the first login. */
    iscsid: yes("iscsid") || yes("iscsi_socket"),
    iscsiadm: yes("iscsiadm"),
    iscsiTcp: of("iscsi_tcp") as "loaded" | "available" | "missing",
    multipathd: yes("multipathd"),
    /** Program that keeps the clock right. */
    timeSync: facts.get("time_sync"),
    /** New mounts of the node spread into pods. */
    mountsShared: yes("mounts_shared"),
    /** Of the disk of LONGHORN_DATA_PATH. */
    diskBytes: bytes("disk_kib"),
    diskFreeBytes: bytes("disk_free_kib"),
    /** TCP ports that something listens on. */
    listens: words("listens").map(Number),
    /** A firewall that is switched on. */
    firewall: facts.get("firewall"),
    /** Search domains of its names that answer for every name. */
    wildcards: words("wildcards"),
    /** Where its container runtime keeps images and containers, and that disk. */
    imagesPath: of("images_path"),
    imagesBytes: bytes("images_kib"),
    imagesFreeBytes: bytes("images_free_kib"),
  };
}

/**
 * Seconds by which a clock is ahead of ours that said `time`, in whole seconds, between `from` and `to` (ms); 0
 * where that cannot be told apart, or it has said nothing (NaN).
 */
export function aheadOf(time: number, from: number, to: number): number {
  if (time + 1 < from / 1000) return time - from / 1000;
  return time > to / 1000 ? time - to / 1000 : 0;
}

// Facts of the nodes themselves, which no API tells: read by one short pod on each, a Job that the
// cluster removes by itself when we cannot.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode, SlowError } from "../../lib/core/error.ts";
import { type NodeFacts, parseFacts, unseen } from "./node_answer.ts";
import type { Subject } from "../../lib/core/check.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { conditionOf } from "../../lib/kube/list.ts";
import { asList, type Manifest } from "../../lib/core/object.ts";
import { diagnosePod } from "../../lib/apply/diagnose.ts";
import { rewriteImages } from "../../lib/render/render.ts";
import { until } from "../../lib/io/wait.ts";

/** What a check says that cannot do without them. */
export const UNKNOWN_NODES = "not looked at: see Nodes";

/** The facts of every node, for all checks of a subject; the check Nodes says why they are not known. */
export function factsOf({ cluster, once, say }: Subject): Promise<NodeFacts[]> {
  return once("facts of the nodes", () => nodeFacts(cluster, say));
}

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
  const nodes = await readyNodes(cluster);
  if (nodes.length === 0) return [];
  const run = `preflight-${randomUUID().slice(0, 8)}`;
  const script = await readFile(projectPath("scripts/checks/node.sh"), "utf8");
  const jobs = nodes.map((node, index) => factsJob(cluster, `${run}-${index}`, run, node, script));
  const startedAt = Date.now();
  try {
    const input = asList(rewriteImages(jobs, cluster));
    await kubectl(["create", "-f", "-", "-o", "name"], { cluster, input, seconds: 20 });
    return await Promise.all(nodes.map(async (node, index) => {
      const answer = await output(cluster, `${run}-${index}`, seconds, say);
      return parseFacts(node, answer, { from: startedAt, to: Date.now() });
    }));
  } finally {
    const gone = ["--ignore-not-found", "--wait=false"];
    await kubectl(["delete", "jobs.batch", "-n", NAMESPACE, "-l", `${RUN}=${run}`, ...gone], {
      cluster,
      seconds: 20,
    }).catch(() => say("the pods of the preflight go by themselves in ten minutes"));
  }
}

const NAMESPACE = "kube-system";
const RUN = "deploy.miribit.lab/preflight";
/** Seconds that a pod is waited for, the pull of its image included. */
const PATIENCE = 120;
/** Seconds after which the cluster ends and removes what we could not. */
const DEADLINE = 2 * PATIENCE;

async function readyNodes(cluster: Cluster): Promise<string[]> {
  const answer = await kubectl(["get", "nodes", "-o", "json"], { cluster, seconds: 15 });
  const nodes: Manifest[] = JSON.parse(answer).items;
  return nodes
    .filter(({ metadata }) => (metadata.labels?.["kubernetes.io/os"] ?? "linux") === "linux")
    .filter((node) => conditionOf(node, "Ready")?.status === "True")
    .map(({ metadata }) => metadata.name);
}

/** No network of its own, so that it works where the one of pods does not. */
export function factsJob(
  cluster: Cluster,
  name: string,
  run: string,
  nodeName: string,
  script: string,
): Manifest {
  const labels = { [RUN]: run };
  const version = text(cluster, "ELASTICSEARCH_EXPORTER_VERSION");
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: NAMESPACE, labels },
    spec: {
      backoffLimit: 0,
      activeDeadlineSeconds: DEADLINE,
      ttlSecondsAfterFinished: DEADLINE,
      template: {
        metadata: { labels },
        spec: {
          restartPolicy: "Never",
          // Not through the scheduler: a full node is one of the things to tell.
          nodeName,
          tolerations: [{ operator: "Exists" }],
          hostPID: true,
          hostNetwork: true,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 0,
          containers: [{
            name: "facts",
            // An image of 40-logging; it is here for its BusyBox.
            image: `quay.io/prometheuscommunity/elasticsearch-exporter:${version}`,
            imagePullPolicy: "IfNotPresent",
            command: ["/bin/busybox", "sh", "-c", script, "node.sh"],
            args: [text(cluster, "LONGHORN_DATA_PATH")],
            resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { memory: "64Mi" } },
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
        },
      },
    },
  };
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

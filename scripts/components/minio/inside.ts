// Whether pods reach S3, which this machine reaches on another way: Thanos lists each bucket with its key in a Job.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { runJob, runName } from "../../../lib/probe/job.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { type Manifest, secret, withValue } from "../../../lib/core/object.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { type Bucket, bucketsOf, objstoreConfig } from "./buckets.ts";

const NAMESPACE = "default", NAME = "s3-reach", CA_FILE = "/etc/s3-reach/ca.crt";

/** Lists every bucket from inside. @throws {DeployError} exit 8 with logs, the Job stays then; 7: no pod starts. */
export async function reachFromInside(cluster: Cluster, say = (_: string) => {}): Promise<void> {
  const name = runName(NAME), needs = [keysOf(cluster, name)];
  if (await runJob(cluster, reachJob(cluster, name), { does: "looks for S3", needs, say })) return;
  const logs = ["logs", `job/${name}`, "--namespace", NAMESPACE, "--tail=3", "--container"];
  const reasons = bucketsOf(cluster).map(async (bucket) => {
    const log = kubectl([...logs, containerOf(bucket)], { cluster });
    const reason = reasonIn(await log.catch((error) => error.message));
    return reason ? [`${bucket.name}: ${reason}`] : [];
  });
  const context = text(cluster, "KUBE_CONTEXT");
  throw new DeployError(`Pods of ${cluster.id} cannot list every bucket, and this machine can`, {
    exitCode: ExitCode.service,
    where: (await Promise.all(reasons)).flat(),
    fix:
      "see to route, firewall, DNS and clock of the nodes, and S3_CA_FILE; the log, for ten minutes: " +
      `kubectl --context ${context} -n ${NAMESPACE} logs job/${name} --all-containers`,
  });
}

/** One container per bucket; its Secret has its name. */
export function reachJob(cluster: Cluster, name = NAME): Manifest {
  const jobs = bucketsOf(cluster).map((bucket) =>
    renderFile("checks/s3-reach.yaml", cluster, { NAME: name, PROGRAM: containerOf(bucket) })
  );
  const named = withValue(jobs[0]!, ["metadata", "name"], name);
  const containers = jobs.flatMap(({ spec }) => spec.template.spec.containers);
  return withValue(named, ["spec", "template", "spec", "containers"], containers);
}

function containerOf({ program }: Bucket): string {
  return program.toLowerCase();
}

function keysOf(cluster: Cluster, name: string): Manifest {
  const files = bucketsOf(cluster).map((bucket) => [
    `${containerOf(bucket)}.yml`,
    objstoreConfig(cluster, bucket, CA_FILE),
  ]);
  const ca = cluster.s3Ca ? { "ca.crt": cluster.s3Ca } : {};
  return secret(name, NAMESPACE, { ...Object.fromEntries(files), ...ca });
}

/** The error in a log of Thanos, without its stack; the last line where there is none. */
function reasonIn(log: string): string {
  const error = /\berr="((?:[^"\\]|\\.)*)"/.exec(log)?.[1];
  if (error) return error.split("\\n")[0]!.replaceAll('\\"', '"');
  return /level=info/.test(log) ? "" : log.trim().split("\n").at(-1)!;
}

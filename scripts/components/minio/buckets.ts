// The three buckets: who uses which, how much it may hold, what its user may do, and whether pods reach it, for which
// Thanos lists each with its key in a Job.
import { SETTINGS } from "../../../lib/config/schema.ts";
import { basePathOf, type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { serviceError } from "../../../lib/core/error.ts";
import { type Manifest, secret, withValue } from "../../../lib/core/object.ts";
import { bytesOf } from "../../../lib/core/quantity.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { runJob, runName } from "../../../lib/probe/job.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { PROBE_PREFIX } from "../../../lib/s3/bucket.ts";
import { keyOf } from "../../../lib/s3/client.ts";
import type { Policy } from "./admin.ts";

/** Programs that keep something on S3, as the settings name them: THANOS of THANOS_BUCKET. */
export const PROGRAMS = Object.keys(SETTINGS).filter((name) => name.endsWith("_BUCKET"))
  .map((name) => name.replace(/_BUCKET$/, ""));

/** The bucket of each program: quota in bytes (0: none), this cluster's folder (blocks have none), who has its key. */
export function bucketsOf(cluster: Cluster) {
  return PROGRAMS.map((program) => {
    const quota = text(cluster, `${program}_BUCKET_QUOTA`);
    const key = keyOf(cluster, program);
    return {
      name: text(cluster, `${program}_BUCKET`),
      quota: quota === "" ? 0 : bytesOf(quota),
      folder: program === "THANOS" ? "" : `${basePathOf(cluster.id)}/`,
      program,
      container: program.toLowerCase(), // of the Job that lists it
      key,
      watches: program === "THANOS" && flag(cluster, "MINIO_METRICS"),
      holders: holdersOf(cluster, program, key.accessKey),
    };
  });
}

/** The clusters whose program has this key. */
export function holdersOf({ fleet }: Cluster, program: string, keyId: string): Cluster[] {
  return fleet.filter((one) => keyOf(one, program).accessKey === keyId);
}

/** The bucket of a program. */
export type Bucket = ReturnType<typeof bucketsOf>[number];

/** How the names of our policies begin; the name of a bucket follows. */
export const POLICY_PREFIX = "thanos-multi-cluster-";

/** The policy of the user of a bucket. That of all clusters stays while they change to keys of their own. */
export function policyNameOf({ fleet }: Cluster, { name, holders }: Bucket): string {
  return POLICY_PREFIX + name + (holders.length === fleet.length ? "" : `-${holders[0]!.id}`);
}

/** What the holders of a bucket's key need, and no more: none of them may delete it, or old versions of objects. */
export function policyOf({ name, program, watches, holders }: Bucket): Policy {
  const isCentral = holders.some(({ role }) => role === "central");
  const bucket = `arn:aws:s3:::${name}`;
  const folders = holders.map(({ id }) => `${basePathOf(id)}/*`);
  const ofBlocks = program === "THANOS", ofLogs = program === "OPENSEARCH";
  const all = isCentral ? ["*"] : undefined;
  const probes = [`${PROBE_PREFIX}*`];
  // Blocks are read and deleted by central's Compactor alone; it reads all logs, too (`make restore-logs FROM=`).
  const reads = ofBlocks ? all ?? ["*/meta.json", ...probes] : ofLogs && all || folders;
  const writes = ofBlocks ? all ?? ["*/meta.json", "*/index", "*/chunks/*", ...probes] : folders;
  const deletes = ofBlocks ? all ?? probes : folders;
  const seesAll = ofBlocks || reads === all;
  const prefixes = { StringLike: { "s3:prefix": folders } };
  const allow = (Action: string[], paths?: string[]) => ({
    Effect: "Allow" as const,
    Action,
    Resource: paths?.map((path) => `${bucket}/${path}`) ?? [bucket],
  });
  return {
    Version: "2012-10-17",
    Statement: [
      {
        ...allow(ofLogs ? ["s3:ListBucket", "s3:ListBucketVersions"] : ["s3:ListBucket"]),
        ...seesAll ? {} : { Condition: prefixes },
      },
      allow(["s3:GetObject"], reads),
      allow(["s3:PutObject"], writes),
      allow(["s3:DeleteObject"], deletes),
      ...ofLogs
        ? [
          allow(["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]),
          allow(["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], folders),
        ]
        : [],
      // MinIO takes the right to delete an object for the right to delete its versions.
      { ...allow(["s3:DeleteObjectVersion"], ["*"]), Effect: "Deny" },
      ...watches && isCentral
        ? [{ ...allow(["admin:Prometheus"]), Resource: ["arn:aws:s3:::*"] }]
        : [],
    ],
  };
}

/** A bucket as Thanos is told of it, the file for `--objstore.config-file`; `caFile`: where a private CA lies. */
export function objstoreConfig(cluster: Cluster, { name, key, folder }: Bucket, caFile: string) {
  return toYaml({
    type: "S3",
    config: {
      bucket: name,
      endpoint: text(cluster, "S3_HOST"),
      region: text(cluster, "S3_REGION"),
      access_key: key.accessKey,
      secret_key: key.secretKey,
      insecure: false, // plain HTTP, that is; certificates are always checked
      bucket_lookup_type: "path",
      ...(cluster.s3Ca ? { http_config: { tls_config: { ca_file: caFile } } } : {}),
    },
    ...folder ? { prefix: folder } : {},
  });
}

const NAMESPACE = "default", NAME = "s3-reach", CA_FILE = "/etc/s3-reach/ca.crt";

/** Lists every bucket from inside. @throws {DeployError} exit 8 with logs, the Job stays then; 7: no pod starts. */
export async function reachFromInside(cluster: Cluster, say = (_: string) => {}): Promise<void> {
  const name = runName(NAME), job = reachJob(cluster, name), buckets = bucketsOf(cluster);
  const fileOf = (one: Bucket) => [`${one.container}.yml`, objstoreConfig(cluster, one, CA_FILE)];
  const files = Object.fromEntries(buckets.map(fileOf));
  const ca = cluster.s3Ca ? { "ca.crt": cluster.s3Ca } : {};
  const needs = [secret(name, NAMESPACE, { ...files, ...ca })];
  if (await runJob(cluster, job, { does: "looks for S3", needs, say })) return;
  const logs = ["logs", `job/${name}`, "--namespace", NAMESPACE, "--tail=3", "--container"];
  const reasons = buckets.map(async (bucket) => {
    const log = kubectl([...logs, bucket.container], { cluster });
    const reason = reasonIn(await log.catch((error) => error.message));
    return reason ? [`${bucket.name}: ${reason}`] : [];
  });
  const context = text(cluster, "KUBE_CONTEXT");
  throw serviceError(`Pods of ${cluster.id} cannot list every bucket, and this machine can`, {
    where: (await Promise.all(reasons)).flat(),
    fix:
      "see to route, firewall, DNS and clock of the nodes, and S3_CA_FILE; the log, for ten minutes: " +
      `kubectl --context ${context} -n ${NAMESPACE} logs job/${name} --all-containers`,
  });
}

/** One container per bucket; its Secret has its name. */
export function reachJob(cluster: Cluster, name = NAME): Manifest {
  const jobs = bucketsOf(cluster).map(({ container: PROGRAM }) =>
    renderFile("checks/s3-reach.yaml", cluster, { NAME: name, PROGRAM })
  );
  const named = withValue(jobs[0]!, ["metadata", "name"], name);
  const containers = jobs.flatMap(({ spec }) => spec.template.spec.containers);
  return withValue(named, ["spec", "template", "spec", "containers"], containers);
}

/** The error in a log of Thanos, without its stack; the last line where there is none. */
function reasonIn(log: string): string {
  const error = /\berr="((?:[^"\\]|\\.)*)"/.exec(log)?.[1];
  if (error) return error.split("\\n")[0]!.replaceAll('\\"', '"');
  return /level=info/.test(log) ? "" : log.trim().split("\n").at(-1)!;
}

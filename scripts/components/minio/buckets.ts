// The three buckets: who uses which, how much it may hold, and what its user may do.
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import type { Policy } from "./admin.ts";
import { bytesOf } from "../../../lib/core/quantity.ts";
import { keyOf } from "../../../lib/s3/client.ts";

/** Programs that keep something on S3, as the settings name them: THANOS of THANOS_BUCKET. */
export const PROGRAMS = Object.keys(SETTINGS).filter((name) => name.endsWith("_BUCKET"))
  .map((name) => name.replace(/_BUCKET$/, ""));

/** The bucket of each program, its quota in bytes (0: no limit), and whether its key also reads MinIO's metrics. */
export function bucketsOf(cluster: Cluster) {
  return PROGRAMS.map((program) => {
    const quota = text(cluster, `${program}_BUCKET_QUOTA`);
    return {
      name: text(cluster, `${program}_BUCKET`),
      quota: quota === "" ? 0 : bytesOf(quota),
      program,
      key: keyOf(cluster, program),
      watches: program === "THANOS" && flag(cluster, "MINIO_METRICS"),
    };
  });
}

/** The bucket of a program. */
export type Bucket = ReturnType<typeof bucketsOf>[number];

/** How the names of our policies begin; the name of a bucket follows. */
export const POLICY_PREFIX = "thanos-multi-cluster-";

/**
 * What a bucket's program needs, and no more. Nobody who writes may delete the bucket, or old
 * versions of objects: with S3_KEEP_DELETED_DAYS a key that leaks cannot destroy what is there.
 */
export function policyOf({ name, program, watches }: Bucket): Policy {
  const [itself, inside] = [[`arn:aws:s3:::${name}`], [`arn:aws:s3:::${name}/*`]];
  const look = ["s3:ListBucket"];
  const use = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
  if (program === "OPENSEARCH") {
    look.push("s3:GetBucketLocation", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions");
    use.push("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts");
  }
  return {
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Action: look, Resource: itself },
      { Effect: "Allow", Action: use, Resource: inside },
      // MinIO takes the right to delete an object for the right to delete its versions.
      { Effect: "Deny", Action: ["s3:DeleteObjectVersion"], Resource: inside },
      ...watches
        ? [{ Effect: "Allow" as const, Action: ["admin:Prometheus"], Resource: ["arn:aws:s3:::*"] }]
        : [],
    ],
  };
}

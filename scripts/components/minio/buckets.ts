// The three buckets: who uses which, how much it may hold, and what its user may do.
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import type { Policy } from "./admin.ts";
import { bytesOf } from "../../../lib/core/quantity.ts";
import { keyOf, type S3Key, siteKey } from "../../../lib/s3/client.ts";

export interface Bucket {
  name: string;
  /** Setting that holds its quota. */
  quotaSetting: string;
  /** Most bytes in it; 0: no limit. */
  quota: number;
  program: string;
  key: S3Key;
  /** Whether its key also reads MinIO's metrics. */
  watches: boolean;
}

/** Programs that keep something on S3, as the settings name them: THANOS of THANOS_BUCKET. */
export const PROGRAMS = Object.keys(SETTINGS).filter((name) => name.endsWith("_BUCKET"))
  .map((name) => name.replace(/_BUCKET$/, ""));

/** The bucket of each program. */
export function bucketsOf(cluster: Cluster): Bucket[] {
  return PROGRAMS.map((program) => {
    const quotaSetting = `${program}_BUCKET_QUOTA`;
    const quota = text(cluster, quotaSetting);
    return {
      name: text(cluster, `${program}_BUCKET`),
      quotaSetting,
      quota: quota === "" ? 0 : bytesOf(quota),
      program,
      key: keyOf(cluster, program),
      watches: program === "THANOS" && flag(cluster, "MINIO_METRICS"),
    };
  });
}

/** Buckets whose program has a key of its own. */
export function ownKeys(cluster: Cluster): Bucket[] {
  const { accessKey } = siteKey(cluster);
  return bucketsOf(cluster).filter(({ key }) => key.accessKey !== accessKey);
}

/** How the names of our policies begin. */
export const POLICY_PREFIX = "thanos-multi-cluster-";

/** Name of the policy of a bucket's user. */
export function policyName({ name }: Bucket): string {
  return POLICY_PREFIX + name;
}

const MORE: Partial<Record<string, { bucket: string[]; objects: string[] }>> = {
  OPENSEARCH: {
    bucket: ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions"],
    objects: ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
  },
};

/**
 * What a bucket's program needs, and no more. Nobody who writes may delete the bucket, or old
 * versions of objects: with S3_KEEP_DELETED_DAYS a key that leaks cannot destroy what is there.
 */
export function policyOf({ name, program, watches }: Bucket): Policy {
  const { bucket, objects } = MORE[program] ?? { bucket: [], objects: [] };
  const [itself, inside] = [[`arn:aws:s3:::${name}`], [`arn:aws:s3:::${name}/*`]];
  const use = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", ...objects];
  return {
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Action: ["s3:ListBucket", ...bucket], Resource: itself },
      { Effect: "Allow", Action: use, Resource: inside },
      // MinIO takes the right to delete an object for the right to delete its versions.
      { Effect: "Deny", Action: ["s3:DeleteObjectVersion"], Resource: inside },
      ...watches
        ? [{ Effect: "Allow" as const, Action: ["admin:Prometheus"], Resource: ["arn:aws:s3:::*"] }]
        : [],
    ],
  };
}

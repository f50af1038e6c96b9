// What only a MinIO and a key that may administrate it can do: quotas, and a user for each bucket.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { type Administration, ensurePolicy, ensureUser, quotaOf, setQuota } from "./admin.ts";
import { type S3, s3Of } from "../../../lib/s3/client.ts";
import { type Bucket, bucketsOf, ownKeys, POLICY_PREFIX, policyName, policyOf } from "./buckets.ts";

/** What was done, and what the operator should know, as sentences. */
export interface Done {
  changes: string[];
  notes: string[];
  warnings: string[];
}

/** Sets the quotas of the settings; one that no setting wants is told, and left. */
export async function ensureQuotas(s3: S3, cluster: Cluster): Promise<Done> {
  const done: Done = { changes: [], notes: [], warnings: [] };
  for (const { name, quota, quotaSetting } of bucketsOf(cluster)) {
    const found = await quotaOf(s3, name);
    if (found === quota) continue;
    if (quota === 0) {
      done.warnings.push(
        `bucket "${name}" has a quota of ${found} bytes, and ${quotaSetting} is empty ` +
          `(mc quota clear ALIAS/${name})`,
      );
      continue;
    }
    await setQuota(s3, name, quota);
    done.changes.push(`bucket ${name} may hold ${text(cluster, quotaSetting)}`);
  }
  return done;
}

/** Gives each key of the settings a user, with the rights to its own buckets alone. */
export async function ensureUsers(s3: S3, cluster: Cluster): Promise<Done> {
  const done: Done = { changes: [], notes: [], warnings: [] };
  const users = Map.groupBy(ownKeys(cluster), ({ key }) => key.accessKey);
  for (const buckets of users.values()) {
    for (const bucket of buckets) {
      const changed = await ensurePolicy(s3, policyName(bucket), policyOf(bucket));
      if (changed) done.changes.push(`policy ${policyName(bucket)}`);
    }
    const [{ key, name }] = buckets as [Bucket];
    using user = s3Of(cluster, { key });
    const policies = buckets.map(policyName);
    const { changes, left } = await ensureUser(s3, user, {
      policies,
      ours: POLICY_PREFIX,
      bucket: name,
    });
    done.changes.push(...changes);
    if (left) done.warnings.push(`${left}: it is left as it is`);
  }
  const names = sharing(cluster).map(({ program }) => `${program}_S3_ACCESS_KEY`);
  if (names.length > 0) {
    done.warnings.push(
      `S3_ACCESS_KEY may administrate the server, and clusters get it: set ${names.join(", ")}`,
    );
  }
  return done;
}

function sharing(cluster: Cluster): Bucket[] {
  const own = new Set(ownKeys(cluster).map(({ program }) => program));
  return bucketsOf(cluster).filter(({ program }) => !own.has(program));
}

/** What is left to the operator where {@link ensureQuotas} and {@link ensureUsers} cannot be used. */
export function leftToOperator(cluster: Cluster, may: Administration): Done {
  const why = may === "no MinIO"
    ? "the server is no MinIO"
    : "S3_ACCESS_KEY may not administrate the server";
  const quotas = bucketsOf(cluster).filter(({ quota }) => quota > 0);
  const users = ownKeys(cluster);
  return {
    changes: [],
    warnings: quotas.length === 0 ? [] : [
      `no quota is set, as ${why}: limit ${listOf(quotas)} there, or empty ` +
      quotas.map(({ quotaSetting }) => quotaSetting).join(", "),
    ],
    notes: users.length === 0 ? [] : [
      `no user is made, as ${why}: see to it that the key of each program may use ` +
      `its bucket alone (${listOf(users)})`,
    ],
  };
}

function listOf(buckets: Bucket[]): string {
  return buckets.map(({ name }) => name).join(", ");
}

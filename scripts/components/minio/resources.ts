// What the S3 server shall have: buckets; of a MinIO that the key may administrate quotas and a user for each, too.
import { type Cluster, flag, number } from "../../../lib/core/cluster.ts";
import { isFields } from "../../../lib/core/object.ts";
import { compared, differing } from "../../../lib/core/resource.ts";
import type { Look, Resource, Resources } from "../../../lib/core/resource.ts";
import { bucketVersions, ensureBucket, hasBucket, listing } from "../../../lib/s3/bucket.ts";
import { codeOf } from "../../../lib/s3/call.ts";
import { keyOf, type S3, s3Of } from "../../../lib/s3/client.ts";
import * as admin from "./admin.ts";
import type { Bucket } from "./buckets.ts";
import { bucketsOf, holdersOf, POLICY_PREFIX, policyNameOf, policyOf } from "./buckets.ts";

type Store = { s3: S3; may: admin.Administration; isMinio: boolean };

/** Everything of a cluster on the server; old versions last, when the bucket is there. */
export const storage: Resources<Store> = {
  title: "Buckets and users",
  async open(cluster) {
    await using stack = new AsyncDisposableStack();
    const s3 = stack.use(s3Of(cluster)), may = await admin.administration(s3);
    return Object.assign(stack.move(), { s3, may, isMinio: may !== "no MinIO" });
  },
  of(cluster) {
    const days = number(cluster, "S3_KEEP_DELETED_DAYS");
    const site = keyOf(cluster).accessKey;
    const all = bucketsOf(cluster);
    const own = all.filter(({ key }) => key.accessKey !== site);
    // With what another cluster uses the key for.
    const keys = new Map(own.map(({ key }) => [key.accessKey, key]));
    const users = [...keys].map(([id, key]) =>
      all.map((bucket) => ({ ...bucket, key, holders: holdersOf(cluster, bucket.program, id) }))
        .filter(({ holders }) => holders.length > 0)
    );
    return [
      ...all.map(bucketItself),
      serverItself(cluster, all.filter((bucket) => !own.includes(bucket))),
      ...all.map(quotaIn),
      ...users.flat().map((bucket) => s3Policy(policyNameOf(cluster, bucket), policyOf(bucket))),
      ...users.map((buckets) => s3User(cluster, buckets)),
      ...all.map(({ name }) => bucketVersions(name, days)),
    ];
  },
};

function bucketItself({ name }: Bucket): Resource<Store> {
  return {
    id: `Bucket/${name}`,
    look: async ({ s3 }) => ({ state: await hasBucket(s3, name) ? "as wanted" : "missing" }),
    put: async ({ s3 }) => await ensureBucket(s3, name) === "created",
  };
}

/** What of the server is told and stays as it is; `shared`: whose programs have no key but that of the site. */
function serverItself(cluster: Cluster, shared: Bucket[]): Resource<Store> {
  const keys = shared.map(({ program }) => `${program}_S3_ACCESS_KEY`).join(", ");
  const tooMuch = "S3_ACCESS_KEY may administrate the server, and clusters get it: " +
    `set S3_KEY_PER_CLUSTER=true, or ${keys}`;
  const another = "the server is no MinIO, so S3EndpointDown will fire: set S3_IS_MINIO=false";
  return {
    id: "S3Server",
    look({ may }) {
      const warnings = may === "yes" && keys !== "" ? [tooMuch] : [];
      if (may === "no MinIO" && flag(cluster, "S3_IS_MINIO")) warnings.push(another);
      return Promise.resolve({ state: "as wanted", warnings });
    },
    put: () => Promise.resolve(false),
  };
}

function quotaIn({ name, quota, program }: Bucket): Resource<Store> {
  return {
    id: `BucketQuota/${name}`,
    async look({ s3, may }) {
      if (may !== "yes") return quota === 0 ? { state: "as wanted" } : left(may, NO_QUOTA);
      const found = await admin.quotaOf(s3, name);
      if (quota > 0) return compared({ bytes: found || undefined }, { bytes: quota });
      const much = `a quota of ${found} bytes, and ${program}_BUCKET_QUOTA is empty`;
      const warning = `bucket "${name}" has ${much} (mc quota clear ALIAS/${name})`;
      return { state: "as wanted", warnings: found > 0 ? [warning] : [] };
    },
    put: ({ s3 }) => admin.setQuota(s3, name, quota).then(() => true),
  };
}

function s3Policy(name: string, policy: admin.Policy): Resource<Store> {
  return {
    id: `S3Policy/${name}`,
    async look({ s3, may }) {
      if (may !== "yes") return left(may, NO_USER);
      const found = await admin.policyAt(s3, name);
      return compared(found && { statements: sorted(found) }, { statements: sorted(policy) });
    },
    put: ({ s3 }) => admin.putPolicy(s3, name, policy).then(() => true),
  };
}

/** In an order of their own: MinIO sorts what it is given. */
function sorted({ Statement }: admin.Policy) {
  const texts = [Statement].flat().map((statement) => JSON.stringify(inOrder(statement)));
  return texts.sort().map((text) => JSON.parse(text));
}

function inOrder(value: unknown): unknown {
  if (!isFields(value)) return [value].flat().sort();
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, inOrder(value[key])]));
}

// The user of the key of these buckets. Of our policies, what it need not have is taken away; a user with others is
// somebody else's and left alone, and one that is disabled stays so.
function s3User(cluster: Cluster, buckets: Bucket[]): Resource<Store> {
  const [{ key, name }] = buckets as [Bucket];
  const policies = buckets.map((bucket) => policyNameOf(cluster, bucket));
  const setting = key.setting!;
  const ask = async (s3: S3) => {
    using user = s3Of(cluster, { key });
    const found = await admin.userInfo(s3, key.accessKey, setting);
    const code = codeOf(await user.send(listing(name, `try the key of ${setting}`, "max-keys=1")));
    // Any other code is about its rights.
    const refused = ["InvalidAccessKeyId", "SignatureDoesNotMatch"].includes(code) ? code : "";
    const has = found?.policies ?? [];
    const missing = policies.filter((policy) => !has.includes(policy));
    const spare = has.filter((policy) => !policies.includes(policy));
    return { found, refused, missing, spare };
  };
  return {
    id: `S3User/${setting}`,
    async look({ s3, may }) {
      if (may !== "yes") return left(may, NO_USER);
      const { found, refused, missing, spare } = await ask(s3);
      // A key that is there but no user of MinIO's own, such as a service account, is the operator's.
      if (!found) return { state: refused ? "missing" : "as wanted" };
      const foreign = [
        ...found.policies.filter((policy) => !policy.startsWith(POLICY_PREFIX)),
        ...found.groups.map((group) => `group ${group}`),
      ];
      const why = foreign.length > 0
        ? `has rights of its own (${foreign.join(", ")})`
        : !found.enabled && "is disabled";
      const warning = `the user of ${setting} ${why}: it is left as it is`;
      if (why) return { state: "as wanted", warnings: [warning] };
      return differing([
        ...missing.map((policy) => ({ path: "policies", old: undefined, now: policy })),
        ...spare.map((policy) => ({ path: "policies", old: policy, now: undefined })),
        ...refused === "SignatureDoesNotMatch"
          ? [{ path: "secret key", old: "another", now: "that of the settings" }]
          : [],
      ]);
    },
    async put({ s3 }) {
      const { refused, missing, spare } = await ask(s3);
      using user = s3Of(cluster, { key });
      if (refused) await admin.putUser(s3, user);
      await admin.attach(s3, user, missing);
      await admin.attach(s3, user, spare, "detach");
      return refused !== "" || missing.length + spare.length > 0;
    },
  };
}

const NO_QUOTA = ["no quota is set", "limit the bucket there, or empty its setting"];
const NO_USER = ["no user is made", "see that the key of each program may use its bucket alone"];

function left(may: admin.Administration, [what, fix]: string[]): Look {
  const mayNot = "S3_ACCESS_KEY may not administrate the server";
  const why = may === "no MinIO" ? "the server is no MinIO" : mayNot;
  return { state: "not looked at", fields: [`${what}, as ${why}: ${fix}`] };
}

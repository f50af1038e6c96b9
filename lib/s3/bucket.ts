// Buckets of an S3 server: made when they are missing, proven to be of use, and what becomes of deleted objects.
import { createHash, randomUUID } from "node:crypto";
import { differing, type Lack, type Resource } from "../core/resource.ts";
import { codeOf, element, must, type S3, type S3Call, S3Error, s3Refusal, s3Xml } from "./call.ts";

/** Whether a bucket is there. @throws {S3Error} also where the key may not see it. */
export async function hasBucket(s3: S3, name: string): Promise<boolean> {
  // Neither HEAD, whose answer carries no reason, nor `?location`, which MinIO answers in any region.
  const call = listing(name, `look at bucket "${name}"`, "max-keys=1");
  return (await must(s3, call, 404)).status !== 404;
}

/** The call that lists a bucket. */
export function listing(bucket: string, what: string, query: string): S3Call {
  return { method: "GET", bucket, query: `list-type=2&${query}`, what, action: "s3:ListBucket" };
}

/** Makes a bucket unless it is there; safe when several clusters do it at once. */
export async function ensureBucket(s3: S3, name: string): Promise<"created" | "exists"> {
  if (await hasBucket(s3, name)) return "exists";
  const constraint = `<LocationConstraint>${s3.region}</LocationConstraint>`;
  // AWS refuses us-east-1 as a constraint: there the default is said by saying nothing.
  const isDefault = s3.region === "us-east-1", what = `create bucket "${name}"`;
  const body = isDefault ? undefined : s3Xml("CreateBucketConfiguration", constraint);
  const create: S3Call = { method: "PUT", bucket: name, body, what, action: "s3:CreateBucket" };
  const ours = "BucketAlreadyOwnedByYou", taken = "BucketAlreadyExists";
  const put = await must(s3, create, ours, taken);
  if (put.status < 300) return "created";
  // Some servers give the loser of a race the second code; a foreign bucket does not answer a look.
  if (codeOf(put) === ours || await hasBucket(s3, name).catch(() => false)) return "exists";
  throw s3Refusal(s3, create, put);
}

/** Every object whose key begins so, and when it was written (ms as of `Date.now()`). @throws {S3Error} exit 8. */
export async function listObjects(s3: S3, bucket: string, prefix = "") {
  const listed: { key: string; at: number }[] = [];
  for (let token = "";;) {
    const query = new URLSearchParams({ prefix });
    if (token) query.set("continuation-token", token);
    const { body } = await must(s3, listing(bucket, `list the bucket "${bucket}"`, `${query}`));
    for (const xml of body.split("<Contents>").slice(1)) {
      listed.push({ key: element(xml, "Key"), at: Date.parse(element(xml, "LastModified")) });
    }
    token = element(body, "NextContinuationToken");
    if (!token) return listed;
  }
}

/** How the names of the objects begin that {@link probeBucket} writes. */
export const PROBE_PREFIX = ".thanos-multi-cluster-probe-";

/** Proves that a key may put, get, list and delete (in a `folder/`). @throws {S3Error} of the verb that it may not. */
export async function probeBucket(s3: S3, bucket: string, folder = ""): Promise<void> {
  const key = folder + PROBE_PREFIX + randomUUID();
  const body = `written to prove access; safe to delete: ${key}`;
  const call = (method: S3Call["method"], right: string, what: string): S3Call => (
    { method, bucket, key, action: `s3:${right}`, what: `${what} bucket "${bucket}"` }
  );
  const put = { ...call("PUT", "PutObject", "put a probe object into"), body };
  const remove = call("DELETE", "DeleteObject", "delete the probe object from");
  const errorOf = (work: Promise<unknown>) => work.then(() => undefined, (error) => error);

  async function getAndList(): Promise<void> {
    const get = call("GET", "GetObject", "get the probe object from");
    const answer = await must(s3, get);
    if (answer.body !== body) throw s3Refusal(s3, get, answer, "it came back with other content");
    const what = `list the probe object of bucket "${bucket}"`;
    const list = listing(bucket, what, `max-keys=2&prefix=${encodeURIComponent(key)}`);
    const listed = await must(s3, list);
    if (element(listed.body, "Key") === key) return;
    throw s3Refusal(s3, list, listed, "it is not in the list");
  }

  let failure = await errorOf(must(s3, put));
  // It left nothing behind; one that failed or got no answer may have.
  if (failure instanceof S3Error && failure.isRefusal) throw failure;
  failure ??= await errorOf(getAndList());
  const left = await errorOf(must(s3, remove));
  failure ??= left;
  if (left && failure instanceof S3Error) {
    failure.where.push(`could not be removed: ${bucket}/${key}`);
  }
  if (failure) throw failure;
}

type Server = { s3: S3; isMinio: boolean };

/** Old versions go after so many days (0: none), aborted uploads after a week, no current object; a refusal is only told. */
export function bucketVersions(bucket: string, days: number): Resource<Server> {
  return {
    id: `BucketVersions/${bucket}`,
    async look(server) {
      try {
        const { steps, warnings } = await judge(server, bucket, days);
        return { ...differing(steps.flatMap(({ lacks }) => lacks)), warnings };
      } catch (error) {
        return { state: "not looked at", fields: [refusalOf(error)] };
      }
    },
    async put(server, warn) {
      const { steps } = await judge(server, bucket, days);
      for (const [done, { put }] of steps.entries()) {
        const refusal = await must(server.s3, put).then(() => undefined, refusalOf);
        if (refusal === undefined) continue;
        warn(refusal);
        return done > 0;
      }
      return steps.length > 0;
    },
  };
}

/** A refusal that may be done without, as a sentence; any other error is thrown on. */
function refusalOf(error: unknown): string {
  if (!(error instanceof S3Error && error.isRefusal && error.status !== 507)) throw error;
  return `${error.message} (${error.fix})`;
}

const ABORTED_DAYS = 7;
const OWN_ID = "thanos-multi-cluster";

async function judge({ s3, isMinio }: Server, bucket: string, days: number) {
  // A bucket that is not there has neither versions nor rules.
  const none = ["NoSuchBucket", "NoSuchLifecycleConfiguration"];
  const versioning = await must(s3, askOf("read", bucket, "versioning"), ...none);
  const lifecycle = await must(s3, askOf("read", bucket, "lifecycle"), ...none);
  const state = element(versioning.body, "Status");
  const rules = lifecycle.body.match(/<Rule>.*?<\/Rule>/gs) ?? [];
  const foreign = rules.filter((rule) => idOf(rule) !== OWN_ID);
  const own = rules.find((rule) => idOf(rule) === OWN_ID && isOn(rule)) ?? "";
  const daysIn = (name: string) => Number(element(own, name)) || undefined;
  // Where there are versions, the rule that ends them stays.
  const kept = days || (state ? daysIn("NoncurrentDays") ?? 0 : 0);
  // MinIO has no rule for those: it ends them by itself.
  const aborted = isMinio ? 0 : ABORTED_DAYS;
  const isRuled = kept + aborted > 0;

  // Ours is not written where it is not alone, or not wanted, whatever somebody has put into it.
  const warnings = (isRuled && foreign.length === 0 ? [] : rules).filter(endsObjects)
    .map((rule) =>
      `lifecycle rule ${idOf(rule)} of bucket "${bucket}" deletes objects that are in use`
    );
  if (days === 0 && state === "Enabled") {
    warnings.push(
      `bucket "${bucket}" is versioned: what is deleted stays and fills the disk ` +
        `(set S3_KEEP_DELETED_DAYS, or mc version suspend ALIAS/${bucket})`,
    );
  }
  const ofRule: Lack[] = [
    { path: "days until old versions go", old: daysIn("NoncurrentDays"), now: kept },
    { path: "days until aborted uploads go", old: daysIn("DaysAfterInitiation"), now: aborted },
    ...more(own).map((old) => ({ path: "our rule", old, now: undefined })),
  ].filter(({ old = 0, now }) => isRuled && old !== now);
  if (ofRule.length > 0 && foreign.length > 0) {
    // Rules are written together, and theirs would be lost.
    const ids = foreign.map(idOf).join(", ");
    warnings.push(
      `bucket "${bucket}" has lifecycle rules of somebody else (${ids}), so ours is not changed`,
    );
    return { steps: [], warnings };
  }
  const ofVersions: Lack[] = days > 0 && state !== "Enabled"
    ? [{ path: "versioning", old: state || undefined, now: "Enabled" }]
    : [];
  // The rule first, so that no version is made that nothing would end.
  const steps = [
    { lacks: ofRule, put: askOf("set", bucket, "lifecycle", ruleOf(kept, aborted)) },
    { lacks: ofVersions, put: askOf("turn on", bucket, "versioning", VERSIONED) },
  ].filter(({ lacks }) => lacks.length > 0);
  return { steps, warnings };
}

const idOf = (rule: string) => element(rule, "ID");
const isOn = (rule: string) => element(rule, "Status") === "Enabled";

// Blocks, snapshots and backups of which a rule takes parts cannot be read any more.
const endsObjects = (rule: string) => isOn(rule) && /<Expiration>\s*<(Days|Date)>/.test(rule);

/** What somebody has added to our rule, as `<Days>1`: it may end objects that are in use. */
function more(rule: string): string[] {
  const ours = /<(?:ID|Status|NoncurrentDays|DaysAfterInitiation|ExpiredObjectDeleteMarker)>/;
  return (rule.match(/<\w+>[^<\s]+/g) ?? []).filter((text) => !ours.test(text));
}

function ruleOf(keptDays: number, abortedDays: number): string {
  const parts = [
    `<ID>${OWN_ID}</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>`,
    // The first is about what is left of a deleted object when its old versions are gone.
    keptDays &&
    "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>" +
      `<NoncurrentVersionExpiration><NoncurrentDays>${keptDays}</NoncurrentDays>` +
      "</NoncurrentVersionExpiration>",
    abortedDays &&
    `<AbortIncompleteMultipartUpload><DaysAfterInitiation>${abortedDays}</DaysAfterInitiation>` +
      "</AbortIncompleteMultipartUpload>",
  ];
  return s3Xml("LifecycleConfiguration", `<Rule>${parts.filter(Boolean).join("")}</Rule>`);
}

const VERSIONED = s3Xml("VersioningConfiguration", "<Status>Enabled</Status>");
const RIGHTS = { versioning: "BucketVersioning", lifecycle: "LifecycleConfiguration" };

function askOf(verb: string, bucket: string, query: keyof typeof RIGHTS, body?: string): S3Call {
  const what = `${verb} the ${query} of bucket "${bucket}"`;
  const right = RIGHTS[query];
  if (body === undefined) return { method: "GET", bucket, query, what, action: `s3:Get${right}` };
  const headers = { "content-md5": createHash("md5").update(body).digest("base64") };
  return { method: "PUT", bucket, query, body, headers, what, action: `s3:Put${right}` };
}

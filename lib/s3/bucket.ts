// Buckets of an S3 server: made when they are missing, and proven to be of use.
import { randomUUID } from "node:crypto";
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

// Buckets of an S3 server: made when they are missing, and proven to be of use.
import { randomUUID } from "node:crypto";
import { must, S3Error, s3Refusal } from "./errors.ts";
import { codeOf, element, type S3, type S3Call } from "./types.ts";

/** Whether a bucket is there. @throws {S3Error} also where the key may not see it. */
export async function hasBucket(s3: S3, name: string): Promise<boolean> {
  // Neither HEAD, whose answer carries no reason, nor `?location`, which MinIO answers in any region.
  const look = { method: "GET", bucket: name, query: "list-type=2&max-keys=1" } as const;
  const what = `look at bucket "${name}"`;
  return (await must(s3, { ...look, what, action: "s3:ListBucket" }, 404)).status !== 404;
}

/** Makes a bucket unless it is there; safe when several clusters do it at once. */
export async function ensureBucket(s3: S3, name: string): Promise<"created" | "exists"> {
  if (await hasBucket(s3, name)) return "exists";
  const create = { bucket: name, what: `create bucket "${name}"`, action: "s3:CreateBucket" };
  const put = await s3.send({ ...create, method: "PUT", body: locationOf(s3.region) });
  if (put.status < 300) return "created";
  const code = codeOf(put);
  if (code === "BucketAlreadyOwnedByYou") return "exists";
  // Some servers give the loser of a race this code; a foreign bucket does not answer a look.
  const lost = code === "BucketAlreadyExists" && await hasBucket(s3, name).catch(() => false);
  if (lost) return "exists";
  throw s3Refusal(s3, create, put);
}

/** An object of a bucket; `at`: when it was written, in ms as of `Date.now()`. */
export interface Listed {
  key: string;
  at: number;
}

/** Every object whose key begins so. Throws exit 8 where the key may not list. */
export async function listObjects(s3: S3, bucket: string, prefix = ""): Promise<Listed[]> {
  const call = { bucket, what: `list the bucket "${bucket}"`, action: "s3:ListBucket" };
  const listed: Listed[] = [];
  for (let token = "";;) {
    const query = new URLSearchParams({ "list-type": "2", prefix });
    if (token) query.set("continuation-token", token);
    const { body } = await must(s3, { ...call, method: "GET", query: `${query}` });
    const entries = body.split("<Contents>").slice(1);
    listed.push(...entries.map((xml) => (
      { key: element(xml, "Key"), at: Date.parse(element(xml, "LastModified")) }
    )));
    token = element(body, "NextContinuationToken");
    if (!token) return listed;
  }
}

/** How the names of the objects begin that {@link probeBucket} writes. */
export const PROBE_PREFIX = ".thanos-multi-cluster-probe-";

/**
 * Proves that the key may put, get, list and delete in a bucket (in a `folder/` of it), with an object that is
 * removed again whatever happens. Throws exit 8 naming the verb that failed, and the object if it is left.
 */
export async function probeBucket(s3: S3, bucket: string, folder = ""): Promise<void> {
  const key = folder + PROBE_PREFIX + randomUUID();
  const body = `written to prove access; safe to delete: ${key}`;
  const call = (method: S3Call["method"], right: string, what: string): S3Call => (
    { method, bucket, key, action: `s3:${right}`, what: `${what} bucket "${bucket}"` }
  );
  const put = call("PUT", "PutObject", "put a probe object into");
  const get = call("GET", "GetObject", "get the probe object from");
  const query = `list-type=2&max-keys=2&prefix=${encodeURIComponent(key)}`;
  const list = { ...call("GET", "ListBucket", "list the probe object of"), key: undefined, query };
  const remove = call("DELETE", "DeleteObject", "delete the probe object from");

  async function getAndList(): Promise<void> {
    const answer = await must(s3, get);
    if (answer.body !== body) throw s3Refusal(s3, get, answer, "it came back with other content");
    const listed = await must(s3, list);
    if (element(listed.body, "Key") === key) return;
    throw s3Refusal(s3, list, listed, "it is not in the list");
  }

  let failure: unknown;
  const keep = (error: unknown) => void (failure ??= error);
  await must(s3, { ...put, body }).catch(keep);
  // It left nothing behind; one that failed or got no answer may have.
  if (isRefused(failure)) throw failure;
  if (!failure) await getAndList().catch(keep);
  await must(s3, remove).catch((error) => {
    keep(error);
    if (failure instanceof S3Error) failure.where.push(`could not be removed: ${bucket}/${key}`);
  });
  if (failure) throw failure;
}

function isRefused(error: unknown): boolean {
  if (!(error instanceof S3Error)) return false;
  return error.status >= 400 && error.status < 500 || error.status === 507;
}

/** AWS refuses us-east-1 as a constraint: there the default is said by saying nothing. */
function locationOf(region: string): string | undefined {
  if (region === "us-east-1") return undefined;
  return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
}

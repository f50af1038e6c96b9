// Buckets of an S3 server: made when they are missing, and proven to be of use.
import { randomUUID } from "node:crypto";
import { S3Error, s3Refusal } from "./errors.ts";
import { codeOf, element, type S3, type S3Answer, type S3Call } from "./types.ts";

/** Whether a bucket is there. @throws {S3Error} also where the key may not see it. */
export async function hasBucket(s3: S3, name: string): Promise<boolean> {
  const look = { bucket: name, what: `look at bucket "${name}"`, action: "s3:ListBucket" };
  const head = await s3.send({ ...look, method: "HEAD" });
  if (head.status === 200) return true;
  if (head.status === 404) return false;
  // An answer to HEAD carries no reason; the same question as GET does. (Not `?location`: MinIO
  // answers that one in any region.)
  const reason = await s3.send({ ...look, method: "GET", query: "list-type=2&max-keys=1" });
  if (reason.status === 200) return true;
  throw s3Refusal(s3, look, reason);
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
    const answer = await s3.send({ ...call, method: "GET", query: `${query}` });
    if (answer.status !== 200) throw s3Refusal(s3, call, answer);
    const entries = answer.body.split("<Contents>").slice(1);
    listed.push(...entries.map((xml) => (
      { key: element(xml, "Key"), at: Date.parse(element(xml, "LastModified")) }
    )));
    token = element(answer.body, "NextContinuationToken");
    if (!token) return listed;
  }
}

/**
 * Proves that the key may put, get, list and delete in a bucket, with an object that is removed
 * again whatever happens. Throws exit 8 naming the verb that failed, and the object if it is left.
 */
export async function probeBucket(s3: S3, bucket: string): Promise<void> {
  const key = `.thanos-multi-cluster-probe-${randomUUID()}`;
  const remove = () => {
    const what = `delete the probe object from bucket "${bucket}"`;
    return expect(s3, { method: "DELETE", bucket, key, what, action: "s3:DeleteObject" });
  };
  try {
    await putGetList(s3, bucket, key);
  } catch (error) {
    // A refused put left nothing behind; one that failed or got no answer may have.
    if (error instanceof S3Error && error.verb === "PUT" && isRefused(error)) throw error;
    const removed = await remove().then(() => true, () => false);
    throw removed || !(error instanceof S3Error) ? error : error.leaving(`${bucket}/${key}`);
  }
  await remove().catch((error) => {
    throw error instanceof S3Error ? error.leaving(`${bucket}/${key}`) : error;
  });
}

function isRefused({ status }: S3Error): boolean {
  return status >= 400 && status < 500 || status === 507;
}

async function putGetList(s3: S3, bucket: string, key: string): Promise<void> {
  const body = `written to prove access; safe to delete: ${key}`;
  const put = `put a probe object into bucket "${bucket}"`;
  await expect(s3, { method: "PUT", bucket, key, body, what: put, action: "s3:PutObject" });

  const get = `get the probe object from bucket "${bucket}"`;
  const read = { method: "GET", bucket, action: "s3:GetObject", what: get } as const;
  const answer = await expect(s3, { ...read, key });
  if (answer.body !== body) throw s3Refusal(s3, read, answer, "it came back with other content");

  const what = `list the probe object of bucket "${bucket}"`;
  const query = `list-type=2&max-keys=2&prefix=${encodeURIComponent(key)}`;
  const list = { method: "GET", bucket, query, what, action: "s3:ListBucket" } as const;
  const listed = await expect(s3, list);
  if (element(listed.body, "Key") !== key) {
    throw s3Refusal(s3, list, listed, "it is not in the list");
  }
}

async function expect(s3: S3, call: S3Call): Promise<S3Answer> {
  const answer = await s3.send(call);
  if (answer.status < 200 || answer.status > 299) throw s3Refusal(s3, call, answer);
  return answer;
}

/** AWS refuses us-east-1 as a constraint: there the default is said by saying nothing. */
function locationOf(region: string): string | undefined {
  if (region === "us-east-1") return undefined;
  return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
}

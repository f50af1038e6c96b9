// Buckets on an S3 server: signed requests over TLS with the site's own CA, always path style
// (an IP address cannot carry a bucket's name in front).
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { AwsClient } from "aws4fetch";
import { type Cluster, text } from "./cluster.ts";
import { noAnswer, refusal, S3Error } from "./s3error.ts";
import { element, type S3, type S3Answer, type S3Call } from "./s3wire.ts";

export type { S3 } from "./s3wire.ts";

/** The S3 server of a cluster's settings. `seconds` is the longest wait for one answer (10). */
export function s3Of(cluster: Cluster, { seconds = 10 }: { seconds?: number } = {}): S3 {
  const endpoint = text(cluster, "S3_ENDPOINT");
  const region = text(cluster, "S3_REGION");
  const keyId = text(cluster, "S3_ACCESS_KEY");
  const secretKey = text(cluster, "S3_SECRET_KEY");
  const signer = new AwsClient({
    accessKeyId: keyId,
    secretAccessKey: secretKey,
    service: "s3",
    region,
  });
  const ca = cluster.s3Ca;
  const client = Deno.createHttpClient({ caCerts: ca ? [ca] : [], http2: false });

  async function sendOnce(call: S3Call): Promise<S3Answer> {
    const { method, body } = call;
    const url = `${endpoint}/${pathOf(call)}`;
    const sentAt = new Date();
    // Without this header aws4fetch signs UNSIGNED-PAYLOAD, which not every server takes.
    const sha256 = createHash("sha256").update(body ?? "").digest("hex");
    const { headers } = await signer.sign(url, {
      method,
      body,
      headers: { "x-amz-content-sha256": sha256 },
      aws: { datetime: sentAt.toISOString().replace(/[:-]|\.\d{3}/g, "") },
    });
    const signal = AbortSignal.timeout(seconds * 1000);
    const response = await fetch(url, {
      method,
      body,
      headers,
      client,
      signal,
      redirect: "manual",
    });
    const { status } = response;
    return { status, headers: response.headers, body: await start(response), sentAt };
  }

  return {
    endpoint,
    region,
    keyId,
    async send(call) {
      for (let tries = 1;; tries++) {
        const last = tries === TRIES;
        try {
          const answer = await sendOnce(call);
          if (last || !isTransient(answer)) return answer;
        } catch (error) {
          if (last || !isReset(error)) {
            throw await noAnswer(error, call, { endpoint, seconds, hasCa: ca !== undefined });
          }
        }
        await sleep(tries * 300);
      }
    },
    redacted: (text) => text.replaceAll(secretKey, "***").replaceAll(keyId, "***"),
    [Symbol.dispose]: () => client.close(),
  };
}

/** Makes a bucket unless it is there; safe when several clusters do it at once. */
export async function ensureBucket(s3: S3, name: string): Promise<"created" | "exists"> {
  const look = { bucket: name, what: `look at bucket "${name}"`, action: "s3:ListBucket" };
  const head = await s3.send({ ...look, method: "HEAD" });
  if (head.status === 200) return "exists";
  if (head.status !== 404) {
    // An answer to HEAD carries no reason; the same question as GET does. (Not `?location`: MinIO
    // answers that one in any region.)
    const reason = await s3.send({ ...look, method: "GET", query: "list-type=2&max-keys=1" });
    if (reason.status === 200) return "exists";
    throw refusal(s3, look, reason);
  }
  const create = { bucket: name, what: `create bucket "${name}"`, action: "s3:CreateBucket" };
  const put = await s3.send({ ...create, method: "PUT", body: locationOf(s3.region) });
  if (put.status < 300) return "created";
  const code = element(put.body, "Code");
  if (code === "BucketAlreadyOwnedByYou") return "exists";
  // Some servers give the loser of a race this code; a foreign bucket does not answer a look.
  const lost = code === "BucketAlreadyExists" && await s3.send({ ...look, method: "HEAD" });
  if (lost && lost.status === 200) return "exists";
  throw refusal(s3, create, put);
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
  if (answer.body !== body) throw refusal(s3, read, answer, "it came back with other content");

  const what = `list the probe object of bucket "${bucket}"`;
  const query = `list-type=2&max-keys=2&prefix=${encodeURIComponent(key)}`;
  const list = { method: "GET", bucket, query, what, action: "s3:ListBucket" } as const;
  const listed = await expect(s3, list);
  if (element(listed.body, "Key") !== key) throw refusal(s3, list, listed, "it is not in the list");
}

/** Why a bucket's versioning is a problem, as a sentence; undefined when it is none. */
export async function assertUnversioned(s3: S3, bucket: string): Promise<string | undefined> {
  const what = `read the versioning of bucket "${bucket}"`;
  const call = { bucket, query: "versioning", what, action: "s3:GetBucketVersioning" };
  const { status, body } = await s3.send({ ...call, method: "GET" });
  if (status === 403) return `cannot ${what}: the key lacks ${call.action}; it should be off`;
  if (status !== 200 || element(body, "Status") !== "Enabled") return undefined;
  return `bucket "${bucket}" is versioned: deleted objects stay for ever and fill the disk ` +
    `(mc version suspend ALIAS/${bucket})`;
}

async function expect(s3: S3, call: S3Call): Promise<S3Answer> {
  const answer = await s3.send(call);
  if (answer.status < 200 || answer.status > 299) throw refusal(s3, call, answer);
  return answer;
}

function pathOf({ bucket, key, query }: S3Call): string {
  const path = key === undefined ? bucket : `${bucket}/${encodeURIComponent(key)}`;
  return query === undefined ? path : `${path}?${query}`;
}

/** AWS refuses us-east-1 as a constraint: there the default is said by saying nothing. */
function locationOf(region: string): string | undefined {
  if (region === "us-east-1") return undefined;
  return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
}

const TRIES = 3;

function isTransient({ status, body }: S3Answer): boolean {
  // 409 OperationAborted: another run is making the same bucket this moment.
  return [500, 502, 503, 504].includes(status) || element(body, "Code") === "OperationAborted";
}

function isReset(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  return /connection reset|connection closed|broken pipe|unexpected end of file/i.test(cause);
}

async function start(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > 2 ** 20) break;
  }
  return text;
}

// Signed requests to an S3 server, always path style: an IP address cannot carry a bucket's name in front.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { AwsClient } from "aws4fetch";
import { type Cluster, text } from "../core/cluster.ts";
import { noAnswer } from "./errors.ts";
import { codeOf, type S3, type S3Answer, type S3Call, type S3Key } from "./types.ts";

export type { S3, S3Key } from "./types.ts";

/** The key of a program (as its settings begin: THANOS): its own where it is set, else the one of the site. */
export function keyOf(cluster: Cluster, program: string): S3Key {
  return keyIn(cluster, `${program}_S3`) ?? siteKey(cluster);
}

/** S3_ACCESS_KEY and its secret: for all buckets, and MinIO's users where it may. */
export function siteKey(cluster: Cluster): S3Key {
  return keyIn(cluster, "S3")!;
}

function keyIn(cluster: Cluster, prefix: string): S3Key | undefined {
  const setting = `${prefix}_ACCESS_KEY`, accessKey = text(cluster, setting);
  if (accessKey === "") return undefined;
  return { accessKey, secretKey: text(cluster, `${prefix}_SECRET_KEY`), setting };
}

/** The S3 server of the settings, asked with a key (default: the site's); each answer is waited for so many seconds. */
export function s3Of(
  cluster: Cluster,
  { key: asker = siteKey(cluster), seconds = 10, clock = () => new Date() } = {},
): S3 {
  const key = { setting: "S3_ACCESS_KEY", ...asker };
  const endpoint = text(cluster, "S3_ENDPOINT"), region = text(cluster, "S3_REGION");
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = key;
  const signer = new AwsClient({ accessKeyId, secretAccessKey, service: "s3", region });
  const ca = cluster.s3Ca;
  const client = Deno.createHttpClient({ caCerts: ca ? [ca] : [], http2: false });

  async function sendOnce(call: S3Call): Promise<S3Answer> {
    const { method, body } = call;
    const url = `${endpoint}/${pathOf(call)}`;
    const sentAt = clock();
    // Without this header aws4fetch signs UNSIGNED-PAYLOAD, which not every server takes.
    const sha256 = createHash("sha256").update(body ?? "").digest("hex");
    const signed = await signer.sign(url, {
      method,
      body,
      headers: { ...call.headers, "x-amz-content-sha256": sha256 },
      aws: { datetime: sentAt.toISOString().replace(/[:-]|\.\d{3}/g, "") },
    });
    const signal = AbortSignal.timeout(seconds * 1000);
    const about = { method, body, headers: signed.headers, client, signal } as const;
    const response = await fetch(url, { ...about, redirect: "manual" });
    const { status, headers } = response;
    return { status, headers, body: await response.text(), sentAt };
  }

  return {
    endpoint,
    region,
    key,
    async send(call) {
      for (let tries = 1;; tries++) {
        const isLast = tries === TRIES;
        try {
          const answer = await sendOnce(call);
          if (isLast || !isTransient(answer)) return answer;
        } catch (error) {
          if (isLast || !isReset(error)) {
            throw await noAnswer(error, call, { endpoint, seconds, hasCa: ca !== undefined });
          }
        }
        await sleep(tries * 300);
      }
    },
    [Symbol.dispose]: () => client.close(),
  };
}

function pathOf({ bucket, key, path = bucket, query }: S3Call): string {
  const object = key === undefined ? "" : `/${key.split("/").map(encodeURIComponent).join("/")}`;
  return path + object + (query ? `?${query}` : "");
}

const TRIES = 3;

function isTransient(answer: S3Answer): boolean {
  // 409 OperationAborted: another run is making the same bucket this moment.
  return [500, 502, 503, 504].includes(answer.status) || codeOf(answer) === "OperationAborted";
}

function isReset(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  return /connection reset|connection closed|broken pipe|unexpected end of file/i.test(cause);
}

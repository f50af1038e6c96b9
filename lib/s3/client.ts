// Signed requests to an S3 server, always path style: an IP address cannot carry a bucket's name in front.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { AwsClient } from "aws4fetch";
import { type Cluster, text } from "../core/cluster.ts";
import { proxyHint, shownCertificate } from "../io/tls.ts";
import { codeOf, S3Error, verdictOn } from "./call.ts";
import type { S3, S3Answer, S3Call, S3Key, Verdict } from "./call.ts";

export type { S3, S3Key } from "./call.ts";

/** The key of a program (as its settings begin: THANOS) where it has its own; else the site's, for all buckets and users. */
export function keyOf(cluster: Cluster, program?: string): S3Key {
  const own = `${program}_S3_ACCESS_KEY`;
  const setting = program && text(cluster, own) ? own : "S3_ACCESS_KEY";
  const secretKey = text(cluster, setting.replace("ACCESS", "SECRET"));
  return { accessKey: text(cluster, setting), secretKey, setting };
}

/** The S3 server of the settings, asked with a key (default: the site's); each answer is waited for so many seconds. */
export function s3Of(
  cluster: Cluster,
  { key: asker = keyOf(cluster), seconds = 10, clock = () => new Date() } = {},
): S3 {
  const key = { setting: "S3_ACCESS_KEY", ...asker };
  const endpoint = text(cluster, "S3_ENDPOINT"), region = text(cluster, "S3_REGION");
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = key;
  const signer = new AwsClient({ accessKeyId, secretAccessKey, service: "s3", region });
  const client = Deno.createHttpClient({ caCerts: [cluster.s3Ca ?? []].flat(), http2: false });

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
          const isFinal = isLast || !RESET.test(reasonOf(error));
          if (isFinal) throw await noAnswer(error, call, cluster, seconds);
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
const RESET = /connection reset|connection closed|broken pipe|unexpected end of file/i;

function isTransient(answer: S3Answer): boolean {
  // 409 OperationAborted: another run is making the same bucket this moment.
  return [500, 502, 503, 504].includes(answer.status) || codeOf(answer) === "OperationAborted";
}

const reasonOf = (error: unknown) => `${error} ${(error as Error).cause ?? ""}`.trim();

async function noAnswer(error: unknown, { what }: S3Call, cluster: Cluster, seconds: number) {
  const endpoint = text(cluster, "S3_ENDPOINT"), { hostname } = new URL(endpoint);
  const words = reasonOf(error);
  const [why, fix] = verdictOn(words, silences(words, hostname, seconds, cluster.s3Ca));
  const seen = /invalid peer certificate/.test(words) ? await certificateOf(endpoint) : [];
  const where = [endpoint, ...seen, ...proxyHint(hostname)];
  return new S3Error(`Cannot ${what}: ${why}`, 0, { where, fix, cause: error });
}

/** Network, name, port or certificate: the words of rustls, whose checks are stricter than other clients'. */
function silences(words: string, host: string, seconds: number, ca?: string): Verdict[] {
  const runs = "check that the S3 server runs and S3_ENDPOINT in env/common.env is its address";
  const kind = /^[\d.]+$|:/.test(host) ? "IP" : "DNS";
  const leaf = `basicConstraints=CA:FALSE and subjectAltName=${kind}:${host}`;
  return [
    [
      /CaUsedAsEndEntity/,
      "its certificate is a self-signed CA used as a server certificate",
      `let that CA sign a server certificate with ${leaf}; S3_CA_FILE stays the CA`,
    ],
    [
      /not valid for name|NotValidForName/,
      `its certificate is not valid for ${kind} ${host}`,
      `issue it again with ${leaf}, by the CA of S3_CA_FILE`,
    ],
    [/UnsupportedCertVersion/, "its certificate is X.509 v1", `issue one of v3 with ${leaf}`],
    [
      /invalid peer certificate.*(expired|not valid after|not valid before|NotValidYet)/i,
      "its certificate is not valid today",
      "compare its dates with the clock (date), then renew it",
    ],
    [
      /invalid peer certificate/,
      `its certificate is not signed by ${ca ? "the CA in S3_CA_FILE" : "a public CA"}`,
      "set S3_CA_FILE in env/common.env to the PEM file of the CA that signed it",
    ],
    [/TimeoutError/, `no answer within ${seconds} s`, `${runs} (a firewall drops silently)`],
    [/dns error|failed to lookup/, `DNS does not know "${host}"`, "correct S3_ENDPOINT or the DNS"],
    [/connection refused/i, "connection refused", runs],
    [/unreachable|No route to host/i, `no route to ${host}`, `ip route get ${host}`],
    [/corrupt message|InvalidContentType/, "the port does not speak TLS", "give it a certificate"],
    [/reset|closed|broken pipe|eof|end of file/i, "connection closed by the other side", runs],
    [/^/, words.split(": ").at(-1)!, runs],
  ];
}

async function certificateOf(endpoint: string): Promise<string[]> {
  const { hostname, port } = new URL(endpoint);
  const shown = await shownCertificate(hostname, Number(port || 443)).catch(() => undefined);
  if (!shown) return [];
  const { subject, issuer, subjectaltname, valid_to } = shown;
  return [
    `its certificate: ${subject?.CN ?? "?"}, issued by ${issuer?.CN ?? "?"}, until ${valid_to}`,
    `its names (SAN): ${subjectaltname ?? "none"}`,
  ];
}

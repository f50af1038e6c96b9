// Why a request to an S3 server failed, and what to do about it: what it answered, or that it gave no answer.
import { DeployError, type DeployErrorOptions, ExitCode } from "../core/error.ts";
import { proxyHint, shownCertificate } from "../io/tls.ts";
import { codeOf, element, type S3, type S3Answer, type S3Call } from "./types.ts";

/** A failed request, with its HTTP status (0 without an answer); exit 8. */
export class S3Error extends DeployError {
  constructor(
    message: string,
    readonly status: number,
    about: Omit<DeployErrorOptions, "exitCode">,
  ) {
    super(message, { exitCode: ExitCode.service, ...about });
  }

  /** Whether the server has done nothing: it does not allow it, does not know it, or has no room. */
  get isRefusal(): boolean {
    return this.status >= 400 && this.status < 500 || [501, 507].includes(this.status);
  }
}

/** The answer to a call that succeeds, or is refused with a code or status that is spared; else an S3Error. */
export async function must(s3: S3, call: S3Call, ...spared: (string | number)[]) {
  const answer = await s3.send(call);
  const isDone = answer.status >= 200 && answer.status < 300;
  if (isDone || spared.includes(answer.status) || spared.includes(codeOf(answer))) return answer;
  throw s3Refusal(s3, call, answer);
}

/** The error for an answer that is no success; `odd`: what is wrong with one that says it is. */
export function s3Refusal(s3: S3, call: S3Call, answer: S3Answer, odd?: string): S3Error {
  const { endpoint, key } = s3;
  // Some servers repeat the whole request in their answer.
  const shown = (text: string) =>
    text.replaceAll(key.secretKey, "***").replaceAll(key.accessKey, "***");
  const code = codeOf(answer).slice(0, 80), message = element(answer.body, "Message");
  const [why, fix] = odd
    ? [odd, `ask ${endpoint} directly: does a proxy or cache stand in between?`]
    : skewOf(code, answer) ??
      judge(`${code} ${answer.status} ${message}`, refusals(s3, call, answer));
  const label = [answer.status, shown(code)].filter(Boolean).join(" ");
  const said = shown(message).replace(/\s+/g, " ").slice(0, 300);
  const where = `${endpoint}  ${label}${said && `: ${said}`}`;
  return new S3Error(`Cannot ${call.what}: ${why}`, answer.status, { where, fix });
}

type Verdict = [words: RegExp, why: string, fix: string];

function judge(text: string, verdicts: Verdict[]): [why: string, fix: string] {
  const [, why, fix] = verdicts.find(([words]) => words.test(text))!;
  return [why, fix];
}

function refusals({ key, region }: S3, { action, bucket }: S3Call, { body }: S3Answer): Verdict[] {
  const { accessKey, setting } = key;
  // Short ids are not shown at all.
  const id = `access key ${accessKey.length < 8 ? "***" : `…${accessKey.slice(-4)}`}`;
  const set = `set ${setting} in env/secret.env`, other = element(body, "Region");
  return [
    [
      /^InvalidAccessKeyId .*disabled/s,
      `${id} is disabled`,
      `${set} to a key that is in use, or enable it: mc admin user enable ALIAS KEY`,
    ],
    [/^InvalidAccessKeyId /, `the server does not know ${id}`, `${set} to a key of this server`],
    [
      /^SignatureDoesNotMatch /,
      `the secret key does not belong to ${id}`,
      `${set.replace("ACCESS", "SECRET")}; a proxy in front must keep the Host header`,
    ],
    [
      /^BucketAlreadyExists /,
      `"${bucket}" belongs to another owner; names are unique on a server`,
      `choose another bucket name in env/common.env, or let its owner admit ${id}`,
    ],
    [
      /^(AccessDenied|AllAccessDisabled) /,
      `${id} lacks ${action}${bucket && ", or another owner has the bucket"}`,
      `allow ${action}${bucket && ` on "${bucket}"`} for ${id}`,
    ],
    [
      /^\w*(Region|LocationConstraint|Redirect|AuthorizationHeaderMalformed)/,
      `the server is not in region "${region}"${other && ` but in "${other}"`}`,
      `set S3_REGION in env/common.env to ${other || "the server's region"}`,
    ],
    [/^NoSuchBucket /, "the bucket is gone", "run again: the step makes it"],
    [
      /^\w*QuotaExceeded/,
      `the quota of "${bucket}" is used up`,
      `raise it (mc quota set ALIAS/${bucket}) or delete objects`,
    ],
    [
      /^\w*(StorageFull|InsufficientStorage| 507 )/,
      "the server's disks are full",
      "free or add disk space on the S3 server",
    ],
    [
      /^(NotImplemented|\w* 501) /,
      "the server does not know this",
      "do without it, or take another S3 server",
    ],
    [/^\w* 5/, "the server fails", "look at its log, then run again"],
    [/^\w/, "the server refuses", "see the server's words above"],
    [/^/, "the answer is not S3's", "check S3_ENDPOINT (a console has another port)"],
  ];
}

/** Some servers call a wrong clock AccessDenied; the Date of their answer gives it away. */
function skewOf(code: string, { status, body, headers, sentAt }: S3Answer) {
  const told = Date.parse(element(body, "ServerTime") || headers.get("date") || "");
  const minutes = Math.abs(told - sentAt.getTime()) / 60_000;
  const isFar = status === 403 && minutes > 15;
  if (code !== "RequestTimeTooSkewed" && !isFar) return undefined;
  const there = Number.isNaN(told)
    ? "unknown on the server"
    : `${new Date(told).toISOString()} on the server (${Math.round(minutes)} min apart)`;
  return [
    `the clocks differ: ${sentAt.toISOString()} here, ${there}; 15 min are allowed`,
    "set the wrong clock right: timedatectl set-ntp true",
  ] as const;
}

type Asker = { endpoint: string; seconds: number; hasCa: boolean };

/** The error for a request that got no answer; `at`: who asked whom, and whether with a CA of the site's own. */
export async function noAnswer(error: unknown, { what }: S3Call, at: Asker): Promise<S3Error> {
  const { hostname } = new URL(at.endpoint);
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  const text = `${error} ${cause}`.trim();
  const [why, fix] = judge(text, silences(text, hostname, at));
  const seen = /invalid peer certificate/.test(text) ? await certificateOf(at.endpoint) : [];
  const where = [at.endpoint, ...seen, ...proxyHint(hostname)];
  return new S3Error(`Cannot ${what}: ${why}`, 0, { where, fix, cause: error });
}

/** Network, name, port or certificate: the words of rustls, whose checks are stricter than other clients'. */
function silences(text: string, host: string, { seconds, hasCa }: Asker): Verdict[] {
  const runs =
    "check that the S3 server runs and that S3_ENDPOINT in env/common.env is its address";
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
      `its certificate is not signed by ${hasCa ? "the CA in S3_CA_FILE" : "a public CA"}`,
      "set S3_CA_FILE in env/common.env to the PEM file of the CA that signed it",
    ],
    [/TimeoutError/, `no answer within ${seconds} s`, `${runs} (a firewall drops silently)`],
    [/dns error|failed to lookup/, `DNS does not know "${host}"`, "correct S3_ENDPOINT or the DNS"],
    [/connection refused/i, "connection refused", runs],
    [/unreachable|No route to host/i, `no route to ${host}`, `ip route get ${host}`],
    [/corrupt message|InvalidContentType/, "the port does not speak TLS", "give it a certificate"],
    [/reset|closed|broken pipe|eof|end of file/i, "connection closed by the other side", runs],
    [/^/, text.split(": ").at(-1)!, runs],
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

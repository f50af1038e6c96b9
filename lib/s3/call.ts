// A call to an S3 server, its answer, and what a refusal means.
import { DeployError, type DeployErrorOptions, ExitCode } from "../core/error.ts";

/** One user of an S3 server; `setting` is where the settings have `accessKey` (default: S3_ACCESS_KEY). */
export interface S3Key {
  accessKey: string;
  secretKey: string;
  setting?: string;
}

/** A server (`endpoint`: `https://host:port`) and a key on it; dispose it to close its connections. */
export interface S3 extends Disposable {
  readonly endpoint: string;
  readonly region: string;
  readonly key: Required<S3Key>;
  /** Sends one signed request; answers of any status come back, no answer throws exit 8. */
  send(call: S3Call): Promise<S3Answer>;
}

/** A request about a bucket ("": none) or an object; `what` completes "Cannot ...", `action` is the right it needs. */
export interface S3Call {
  method: "HEAD" | "GET" | "PUT" | "POST" | "DELETE";
  bucket: string;
  key?: string;
  path?: string; // where a server has more than buckets: `minio/admin/v3/info`
  query?: string; // `list-type=2&prefix=x`, already encoded
  body?: string | Uint8Array<ArrayBuffer>;
  headers?: Record<string, string>;
  what: string;
  action: string;
}

/** What came back; `sentAt`: when the request was signed, by this machine's clock. */
export interface S3Answer {
  status: number;
  headers: Headers;
  body: string;
  sentAt: Date;
}

/** The XML of a body: an element of S3's namespace with this inside. */
export function s3Xml(root: string, inside: string): string {
  return `<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inside}</${root}>`;
}

/** Why a server refuses: the code of its answer, or "". */
export function codeOf({ body }: S3Answer): string {
  return element(body, "Code");
}

/** Text of the first such element of XML, or field of JSON (MinIO's administration), or "". */
export function element(body: string, name: string): string {
  // No parser: the answer may come from anything that listens there, and one text is all we want.
  const json = new RegExp(`^\\s*\\{.*?"${name}":\\s*"([^"\\\\]*)"`, "s");
  const found = new RegExp(`<${name}>([^<]{0,1024})</${name}>`).exec(body) ?? json.exec(body);
  const entity = /&(lt|gt|quot|apos|amp|#39|#34);/g;
  return (found?.[1] ?? "").replace(entity, (_, name: keyof typeof ENTITIES) => ENTITIES[name]);
}

const ENTITIES = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&", "#39": "'", "#34": '"' };

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
      verdictOn(`${code} ${answer.status} ${message}`, refusals(s3, call, answer));
  const label = [answer.status, shown(code)].filter(Boolean).join(" ");
  const said = shown(message).replace(/\s+/g, " ").slice(0, 300);
  const where = `${endpoint}  ${label}${said && `: ${said}`}`;
  return new S3Error(`Cannot ${call.what}: ${why}`, answer.status, { where, fix });
}

/** What failures with such words mean. */
export type Verdict = [words: RegExp, why: string, fix: string];

/** Why, and what to do about it: of the first verdict that has such words. */
export function verdictOn(text: string, verdicts: Verdict[]): [why: string, fix: string] {
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
      /^\S*QuotaExceeded/,
      `the quota of "${bucket}" is used up`,
      `raise it (mc quota set ALIAS/${bucket}) or delete objects`,
    ],
    [
      /^\S*(StorageFull|InsufficientStorage| 507 )/,
      "the server's disks are full",
      "free or add disk space there",
    ],
    [
      /^(NotImplemented|\S* 501) /,
      "the server does not know this",
      "do without it, or take another S3 server",
    ],
    [/^\S* 5/, "the server fails", "look at its log, then run again"],
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

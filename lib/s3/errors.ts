// What an S3 server's refusals mean, and what to do about each.
import { DeployError, type DeployErrorOptions, ExitCode } from "../core/error.ts";
import { codeOf, element, type S3, type S3Answer, type S3Call, s3Message } from "./types.ts";

/** A failed request; exit 8. */
export class S3Error extends DeployError {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;

  constructor(message: string, status: number, about: Omit<DeployErrorOptions, "exitCode">) {
    super(message, { exitCode: ExitCode.service, ...about });
    this.status = status;
  }
}

/** Why a request failed, and what to do about it. */
export interface Verdict {
  why: string;
  fix: string;
}

/**
 * The answer to a call that succeeds, or is refused with one of these codes or statuses.
 * @throws {S3Error} any other refusal.
 */
export async function must(
  s3: S3,
  call: S3Call,
  ...spared: (string | number)[]
): Promise<S3Answer> {
  const answer = await s3.send(call);
  const isDone = answer.status >= 200 && answer.status < 300;
  if (isDone || spared.includes(answer.status) || spared.includes(codeOf(answer))) return answer;
  throw s3Refusal(s3, call, answer);
}

/** A request as far as words about it need it. */
type Asked = Pick<S3Call, "what" | "action" | "bucket">;

/** The error for an answer that is no success; `why` overrides what its code says. */
export function s3Refusal(s3: S3, call: Asked, answer: S3Answer, why?: string): S3Error {
  const code = codeOf(answer).slice(0, 80);
  const verdict = judge(code, s3, call, answer);
  const said = s3.redacted(s3Message(answer)).replace(/\s+/g, " ").slice(0, 300);
  const label = [answer.status, s3.redacted(code)].filter(Boolean).join(" ");
  return new S3Error(`Cannot ${call.what}: ${why ?? verdict.why}`, answer.status, {
    where: `${s3.endpoint}  ${label}${said && `: ${said}`}`,
    fix: why ? `ask ${s3.endpoint} directly: does a proxy or cache stand in between?` : verdict.fix,
  });
}

function judge(code: string, s3: S3, { action, bucket }: Asked, answer: S3Answer): Verdict {
  const key = `access key ${endOf(s3.key.accessKey)}`;
  const skewed = skewOf(code, answer);
  if (skewed) return skewed;
  switch (code) {
    case "InvalidAccessKeyId":
      if (/disabled/.test(s3Message(answer))) {
        return {
          why: `${key} is disabled`,
          fix: `set ${s3.key.setting} in env/secret.env to a key that is in use, or enable it: ` +
            "mc admin user enable ALIAS KEY",
        };
      }
      return {
        why: `the server does not know ${key}`,
        fix: `set ${s3.key.setting} in env/secret.env to a key of this server`,
      };
    case "SignatureDoesNotMatch":
      return {
        why: `the secret key does not belong to ${key}`,
        fix: `set ${s3.key.setting.replace("ACCESS", "SECRET")} in env/secret.env; ` +
          "a proxy in front must keep the Host header",
      };
    case "BucketAlreadyExists":
      return {
        why: `"${bucket}" belongs to another owner; names are unique on a server`,
        fix: `choose another bucket name in env/common.env, or let its owner admit ${key}`,
      };
    case "AccessDenied":
    case "AllAccessDisabled":
      return {
        why: `${key} lacks ${action}${bucket && ", or another owner has the bucket"}`,
        fix: `allow ${action}${bucket && ` on "${bucket}"`} for ${key}`,
      };
    case "AuthorizationHeaderMalformed":
    case "InvalidRegion":
    case "InvalidLocationConstraint":
    case "IllegalLocationConstraintException":
    case "PermanentRedirect":
    case "TemporaryRedirect": {
      const region = element(answer.body, "Region");
      return {
        why: `the server is not in region "${s3.region}"${region && ` but in "${region}"`}`,
        fix: `set S3_REGION in env/common.env to ${region || "the server's region"}`,
      };
    }
    case "NoSuchBucket":
      return { why: "the bucket is gone", fix: "run again: the step makes it" };
  }
  if (/QuotaExceeded/.test(code)) {
    return {
      why: `the quota of "${bucket}" is used up`,
      fix: `raise it (mc quota set ALIAS/${bucket}) or delete objects`,
    };
  }
  if (answer.status === 507 || /StorageFull|InsufficientStorage/.test(code)) {
    return { why: "the server's disks are full", fix: "free or add disk space on the S3 server" };
  }
  if (answer.status === 501 || code === "NotImplemented") {
    return {
      why: "the server does not know this",
      fix: "do without it, or take another S3 server",
    };
  }
  if (answer.status >= 500) {
    return { why: "the server fails", fix: "look at its log, then run again" };
  }
  return code
    ? { why: "the server refuses", fix: "see the server's words above" }
    : { why: "the answer is not S3's", fix: "check S3_ENDPOINT (a console has another port)" };
}

const ALLOWED_SKEW_MS = 15 * 60_000;

/** Some servers call a wrong clock AccessDenied; the Date of their answer gives it away. */
function skewOf(code: string, { status, body, headers, sentAt }: S3Answer): Verdict | undefined {
  const server = new Date(element(body, "ServerTime") || headers.get("date") || Number.NaN);
  const known = !Number.isNaN(server.getTime());
  const skew = known ? Math.abs(server.getTime() - sentAt.getTime()) : 0;
  const far = status === 403 && skew > ALLOWED_SKEW_MS;
  if (code !== "RequestTimeTooSkewed" && !far) return undefined;
  const minutes = known ? ` (${Math.round(skew / 60_000)} min apart)` : "";
  return {
    why: `the clocks differ: ${sentAt.toISOString()} here, ` +
      `${known ? server.toISOString() : "unknown"} on the server${minutes}; 15 min are allowed`,
    fix: "set the wrong clock right: timedatectl set-ntp true",
  };
}

/** `…3f9a`; short ids are not shown at all. */
function endOf(keyId: string): string {
  return keyId.length < 8 ? "***" : `…${keyId.slice(-4)}`;
}

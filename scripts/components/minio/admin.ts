// The administration of a MinIO: quotas, policies and users, which S3 itself does not know.
import { Buffer } from "node:buffer";
import { createCipheriv, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { codeOf, must, type S3, type S3Call, type S3Key } from "../../../lib/s3/call.ts";

const CALLS = {
  "info": ["GET", "admin:ServerInfo"],
  "get-bucket-quota": ["GET", "admin:GetBucketQuota"],
  "set-bucket-quota": ["PUT", "admin:SetBucketQuota"],
  "info-canned-policy": ["GET", "admin:GetPolicy"],
  "add-canned-policy": ["PUT", "admin:CreatePolicy"],
  "user-info": ["GET", "admin:GetUser"],
  "add-user": ["PUT", "admin:CreateUser"],
  "set-user-status": ["PUT", "admin:EnableUser"],
  "idp/builtin/policy/attach": ["POST", "admin:AttachUserOrGroupPolicy"],
  "idp/builtin/policy/detach": ["POST", "admin:UpdatePolicyAssociation"],
} as const;

type Query = Record<string, string>;

function call(name: keyof typeof CALLS, what: string, query: Query = {}, body?: S3Call["body"]) {
  const [method, action] = CALLS[name], path = `minio/admin/v3/${name}`;
  return { method, bucket: "", path, query: `${new URLSearchParams(query)}`, body, what, action };
}

/** What a key may do beside S3: all of MinIO, nothing of it, or the server is another program. */
export type Administration = "yes" | "no right" | "no MinIO";

/** Finds out whether the server is a MinIO that this key may administrate. */
export async function administration(s3: S3): Promise<Administration> {
  const { status, body, headers } = await s3.send(call("info", "ask for MinIO's administration"));
  const isJson = body.trimStart().startsWith("{");
  if (status === 200 && isJson) return "yes";
  // A proxy in front may have taken the name away; S3's own errors are XML.
  return isJson || /minio/i.test(headers.get("server") ?? "") ? "no right" : "no MinIO";
}

/** Most bytes that a bucket may hold; 0: no limit, or no bucket. */
export async function quotaOf(s3: S3, bucket: string): Promise<number> {
  const what = `read the quota of bucket "${bucket}"`;
  const { status, body } = await must(s3, call("get-bucket-quota", what, { bucket }), 404);
  if (status === 404) return 0;
  const { size, quota } = JSON.parse(body);
  return size || quota || 0; // older servers know only the second
}

/** Limits a bucket to so many bytes. */
export async function setQuota(s3: S3, bucket: string, bytes: number): Promise<void> {
  const body = JSON.stringify({ quota: bytes, size: bytes, quotatype: "hard" });
  const what = `set the quota of bucket "${bucket}"`;
  await must(s3, call("set-bucket-quota", what, { bucket }, body));
}

/** A policy as AWS writes it. */
export interface Policy {
  Version: string;
  Statement: {
    Effect: "Allow" | "Deny";
    Action: string[];
    Resource: string[];
    Condition?: { StringLike: { "s3:prefix": string[] } };
  }[];
}

/** The policy of that name; undefined when there is none. */
export async function policyAt(s3: S3, name: string): Promise<Policy | undefined> {
  const none = "XMinioAdminNoSuchPolicy";
  const answer = await must(s3, call("info-canned-policy", `read policy ${name}`, { name }), none);
  return codeOf(answer) === none ? undefined : JSON.parse(answer.body);
}

/** Makes the policy of that name, or writes over it. */
export async function putPolicy(s3: S3, name: string, policy: Policy): Promise<void> {
  const body = JSON.stringify(policy);
  await must(s3, call("add-canned-policy", `write policy ${name}`, { name }, body));
}

/** The user of a key (`whose`: in words); undefined when there is none, or it is none of MinIO's own. */
export async function userInfo(s3: S3, accessKey: string, whose: string) {
  const other = "XMinioIAMActionNotAllowed"; // a key that is there, but no user
  const ask = call("user-info", `look at the user of ${whose}`, { accessKey });
  const answer = await must(s3, ask, 404, other);
  if (answer.status === 404 || codeOf(answer) === other) return undefined;
  const { policyName = "", memberOf, status } = JSON.parse(answer.body);
  const policies: string[] = policyName.split(",").filter(Boolean);
  const groups: string[] = memberOf ?? [];
  return { policies, groups, enabled: status === "enabled" };
}

/** Makes the user of this key, or gives it the secret of the key. */
export async function putUser(s3: S3, { key }: S3): Promise<void> {
  const { accessKey, secretKey, setting } = key;
  const body = sealed({ secretKey, status: "enabled" }, s3.key);
  await must(s3, call("add-user", `make the user of ${setting}`, { accessKey }, body));
}

/** Shuts a user out; what it has written stays. */
export async function disableUser(s3: S3, accessKey: string): Promise<void> {
  await must(s3, call("set-user-status", "disable a user", { accessKey, status: "disabled" }));
}

type Verb = "attach" | "detach";

/** Gives a user more policies, or takes some away. */
export async function attach(s3: S3, { key }: S3, policies: string[], verb: Verb = "attach") {
  if (policies.length === 0) return;
  const body = sealed({ policies, user: key.accessKey }, s3.key);
  const what = `${verb} ${policies.join(", ")}, of the user of ${key.setting}`;
  const headers = { "content-type": "application/octet-stream" };
  const ask = { ...call(`idp/builtin/policy/${verb}`, what, {}, body), headers };
  // The code: another run has done it this moment.
  await must(s3, ask, "XMinioAdminPolicyChangeAlreadyApplied");
}

/** The bearer token of a scrape of MinIO's metrics; good as long as its key is, which needs admin:Prometheus. */
export function metricsToken({ accessKey, secretKey }: S3Key): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: accessKey, iss: "prometheus", exp: Date.UTC(2100, 0) / 1000 };
  const text = `${part({ alg: "HS512", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha512", secretKey).update(text).digest("base64url")}`;
}

// Of the kinds of encryption that MinIO takes, the one without Argon2, which Deno lacks.
const PBKDF2_AES_GCM = 2;

// Encrypted with the secret key of the asker: salt, kind, nonce, and a sio stream of one piece of less than 16 KiB.
function sealed(content: unknown, { secretKey }: S3Key): Uint8Array<ArrayBuffer> {
  const salt = randomBytes(32), nonce = randomBytes(8);
  const key = pbkdf2Sync(secretKey, salt, 8192, 32, "sha256");
  const seal = (piece: number, about: Uint8Array, text: string) => {
    const counted = Buffer.concat([nonce, Uint8Array.of(piece, 0, 0, 0)]);
    const cipher = createCipheriv("aes-256-gcm", key, counted);
    cipher.setAAD(about); // vouched for, but not sent
    return Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  };
  // The tag of the empty piece 0, after the mark of a last piece, says that piece 1 is the only one.
  const last = Buffer.concat([Uint8Array.of(0x80), seal(0, Uint8Array.of(), "")]);
  const body = seal(1, last, JSON.stringify(content));
  return new Uint8Array(Buffer.concat([salt, Uint8Array.of(PBKDF2_AES_GCM), nonce, body]));
}

// The administration of a MinIO: quotas, policies and users, which S3 itself does not know.
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { s3Refusal } from "../../../lib/s3/errors.ts";
import { codeOf, type S3, type S3Answer, type S3Call, type S3Key } from "../../../lib/s3/types.ts";
import { sealed } from "./admin_encryption.ts";

/** What a key may do beside S3: all of MinIO, nothing of it, or the server is another program. */
export type Administration = "yes" | "no right" | "no MinIO";

/** Finds out whether the server is a MinIO that this key may administrate. */
export async function administration(s3: S3): Promise<Administration> {
  const what = "ask for MinIO's administration";
  const answer = await admin(s3, { method: "GET", path: "info", what, action: "admin:ServerInfo" });
  if (answer.status === 200 && isJson(answer)) return "yes";
  // A proxy in front may have taken the name away; S3's own errors are XML.
  const isMinio = /minio/i.test(answer.headers.get("server") ?? "") || isJson(answer);
  return isMinio ? "no right" : "no MinIO";
}

/** Most bytes that a bucket may hold; 0: no limit, or no bucket. */
export async function quotaOf(s3: S3, bucket: string): Promise<number> {
  const what = `read the quota of bucket "${bucket}"`;
  const query = `bucket=${encodeURIComponent(bucket)}`;
  const call = { path: "get-bucket-quota", query, what, action: "admin:GetBucketQuota" };
  const answer = await admin(s3, { ...call, method: "GET" });
  if (answer.status === 404) return 0;
  if (answer.status !== 200) throw s3Refusal(s3, { ...call, bucket: "" }, answer);
  const { size, quota } = JSON.parse(answer.body);
  return size || quota || 0; // older servers know only the second
}

/** Limits a bucket to so many bytes. */
export async function setQuota(s3: S3, bucket: string, bytes: number): Promise<void> {
  const what = `set the quota of bucket "${bucket}"`;
  const query = `bucket=${encodeURIComponent(bucket)}`;
  const body = JSON.stringify({ quota: bytes, size: bytes, quotatype: "hard" });
  const call = { path: "set-bucket-quota", query, body, what, action: "admin:SetBucketQuota" };
  await expect(s3, { ...call, method: "PUT" });
}

/** A policy as AWS writes it. */
export interface Policy {
  Version: string;
  Statement: { Effect: "Allow" | "Deny"; Action: string[]; Resource: string[] }[];
}

/** The policy of that name; undefined when there is none. */
export async function policyAt(s3: S3, name: string): Promise<Policy | undefined> {
  const query = `name=${encodeURIComponent(name)}`;
  const call = {
    path: "info-canned-policy",
    what: `read policy ${name}`,
    action: "admin:GetPolicy",
  };
  const answer = await admin(s3, { ...call, query, method: "GET" });
  if (answer.status === 200) return JSON.parse(answer.body);
  if (codeOf(answer) === "XMinioAdminNoSuchPolicy") return undefined;
  throw s3Refusal(s3, { ...call, bucket: "" }, answer);
}

/** Makes the policy of that name, or writes over it. */
export async function putPolicy(s3: S3, name: string, policy: Policy): Promise<void> {
  const query = `name=${encodeURIComponent(name)}`;
  const body = JSON.stringify(policy);
  const what = `write policy ${name}`;
  const call = { path: "add-canned-policy", query, body, what, action: "admin:CreatePolicy" };
  await expect(s3, { ...call, method: "PUT" });
}

/** Whether MinIO has a user of that name among its own, and it is enabled. */
export async function isUser(s3: S3, accessKey: string): Promise<boolean> {
  const found = await userInfo(s3, { key: { accessKey, setting: "an old key" } });
  return found?.enabled === true;
}

/** Shuts a user out; what it has written stays. */
export async function disableUser(s3: S3, accessKey: string): Promise<void> {
  const query = `accessKey=${encodeURIComponent(accessKey)}&status=disabled`;
  const call = { path: "set-user-status", query, action: "admin:EnableUser" };
  await expect(s3, { ...call, method: "PUT", what: "disable a user" });
}

/** Removes a user; its policies stay. */
export async function removeUser(s3: S3, accessKey: string): Promise<void> {
  const query = `accessKey=${encodeURIComponent(accessKey)}`;
  const call = { path: "remove-user", query, action: "admin:DeleteUser" };
  await expect(s3, { ...call, method: "DELETE", what: "remove a user" });
}

/**
 * What a scrape of MinIO's metrics shows as bearer token; the key needs admin:Prometheus. Always the
 * same for a key, and good as long as it is.
 */
export function metricsToken({ accessKey, secretKey }: S3Key): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: accessKey, iss: "prometheus", exp: Date.UTC(2100, 0) / 1000 };
  const text = `${part({ alg: "HS512", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha512", secretKey).update(text).digest("base64url")}`;
}

/** A user of MinIO's own. */
export interface UserInfo {
  policies: string[];
  groups: string[];
  enabled: boolean;
}

/** The user of that key; undefined when there is none, or it is none of MinIO's own. */
export async function userInfo(
  s3: S3,
  { key }: { key: { accessKey: string; setting: string } },
): Promise<UserInfo | undefined> {
  const query = `accessKey=${encodeURIComponent(key.accessKey)}`;
  const what = `look at the user of ${key.setting}`;
  const call = { path: "user-info", query, what, action: "admin:GetUser" };
  const answer = await admin(s3, { ...call, method: "GET" });
  // The second: a key that is there, but no user.
  if (answer.status === 404 || codeOf(answer) === "XMinioIAMActionNotAllowed") return undefined;
  if (answer.status !== 200) throw s3Refusal(s3, { ...call, bucket: "" }, answer);
  const { policyName = "", memberOf, status } = JSON.parse(answer.body);
  return {
    policies: policyName.split(",").filter(Boolean),
    groups: memberOf ?? [],
    enabled: status === "enabled",
  };
}

/** The code with which a key is refused before anybody looks at its rights; "" when it is not. */
export async function refusedAt(user: S3, bucket: string): Promise<string> {
  const what = `try the key of ${user.key.setting}`;
  const call = { bucket, query: "list-type=2&max-keys=1", what, action: "s3:ListBucket" };
  const code = codeOf(await user.send({ ...call, method: "GET" }));
  return ["InvalidAccessKeyId", "SignatureDoesNotMatch"].includes(code) ? code : "";
}

/** Makes the user of this key, or gives it the secret of the key. */
export async function putUser(s3: S3, user: S3): Promise<void> {
  const { accessKey, secretKey, setting } = user.key;
  const query = `accessKey=${encodeURIComponent(accessKey)}`;
  const body = sealed(JSON.stringify({ secretKey, status: "enabled" }), s3.key.secretKey);
  const call = { path: "add-user", query, body, action: "admin:CreateUser" };
  await expect(s3, { ...call, method: "PUT", what: `make the user of ${setting}` });
}

/** Gives a user more policies. */
export async function attach(s3: S3, user: S3, policies: string[]): Promise<void> {
  const wish = JSON.stringify({ policies, user: user.key.accessKey });
  const body = sealed(wish, s3.key.secretKey);
  const headers = { "content-type": "application/octet-stream" };
  const call = {
    path: "idp/builtin/policy/attach",
    body,
    headers,
    action: "admin:AttachUserOrGroupPolicy",
  };
  const what = `give ${policies.join(", ")} to the user of ${user.key.setting}`;
  const answer = await admin(s3, { ...call, method: "POST", what });
  // Another run has done it this moment.
  if (codeOf(answer) === "XMinioAdminPolicyChangeAlreadyApplied") return;
  if (answer.status > 299) throw s3Refusal(s3, { ...call, what, bucket: "" }, answer);
}

type AdminCall = Omit<S3Call, "bucket" | "key"> & { path: string };

function admin(s3: S3, { path, ...call }: AdminCall): Promise<S3Answer> {
  return s3.send({ ...call, bucket: `minio/admin/v3/${path}` });
}

async function expect(s3: S3, call: AdminCall): Promise<string> {
  const answer = await admin(s3, call);
  if (answer.status < 200 || answer.status > 299) {
    throw s3Refusal(s3, { ...call, bucket: "" }, answer);
  }
  return answer.body;
}

function isJson({ body }: S3Answer): boolean {
  return body.trimStart().startsWith("{");
}

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

/** Most bytes that a bucket may hold; 0: no limit. */
export async function quotaOf(s3: S3, bucket: string): Promise<number> {
  const what = `read the quota of bucket "${bucket}"`;
  const query = `bucket=${encodeURIComponent(bucket)}`;
  const call = { path: "get-bucket-quota", query, what, action: "admin:GetBucketQuota" };
  const { size, quota } = JSON.parse(await expect(s3, { ...call, method: "GET" }));
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

/** Makes the policy of that name or corrects it; gives whether it had to. */
export async function ensurePolicy(s3: S3, name: string, policy: Policy): Promise<boolean> {
  const query = `name=${encodeURIComponent(name)}`;
  const read = {
    path: "info-canned-policy",
    what: `read policy ${name}`,
    action: "admin:GetPolicy",
  };
  const answer = await admin(s3, { ...read, query, method: "GET" });
  if (answer.status !== 200 && codeOf(answer) !== "XMinioAdminNoSuchPolicy") {
    throw s3Refusal(s3, { ...read, bucket: "" }, answer);
  }
  if (answer.status === 200 && canonical(JSON.parse(answer.body)) === canonical(policy)) {
    return false;
  }
  const body = JSON.stringify(policy);
  const what = `write policy ${name}`;
  const call = { path: "add-canned-policy", query, body, what, action: "admin:CreatePolicy" };
  await expect(s3, { ...call, method: "PUT" });
  return true;
}

/** What became of a user. */
export interface UserResult {
  /** What was done, as sentences; none when all was right. */
  changes: string[];
  /** Why the user was left alone, as a sentence. */
  left?: string;
}

export interface UserOptions {
  /** Names of the policies it shall have. */
  policies: string[];
  /** How the names of our policies begin: a user with others is somebody else's, and left alone. */
  ours: string;
  /** A bucket to try the key on. */
  bucket: string;
}

/**
 * Makes a user with the key of `user`, or corrects its secret and its policies. Rights are never
 * taken away, and a user that is disabled stays so.
 */
export async function ensureUser(
  s3: S3,
  user: S3,
  { policies, ours, bucket }: UserOptions,
): Promise<UserResult> {
  const name = `user of ${user.key.setting}`;
  const found = await userInfo(s3, user);
  const refused = await refusedAt(user, bucket);
  // A key that is there but no user of MinIO's own, such as a service account, is the operator's.
  if (!found && !refused) return { changes: [] };
  if (!found) {
    await putUser(s3, user);
    await attach(s3, user, policies);
    return { changes: [`${name} made, with ${policies.join(", ")}`] };
  }
  const foreign = [
    ...found.policies.filter((policy) => !policy.startsWith(ours)),
    ...found.groups.map((group) => `group ${group}`),
  ];
  if (foreign.length > 0) {
    return { changes: [], left: `the ${name} has rights of its own (${foreign.join(", ")})` };
  }
  if (!found.enabled) return { changes: [], left: `the ${name} is disabled` };
  const changes: string[] = [];
  const missing = policies.filter((policy) => !found.policies.includes(policy));
  if (missing.length > 0) {
    await attach(s3, user, missing);
    changes.push(`${name} got ${missing.join(", ")}`);
  }
  if (refused === "SignatureDoesNotMatch") {
    await putUser(s3, user);
    changes.push(`${name} got the secret of the settings`);
  }
  return { changes };
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

interface UserInfo {
  policies: string[];
  groups: string[];
  enabled: boolean;
}

async function userInfo(
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
async function refusedAt(user: S3, bucket: string): Promise<string> {
  const what = `try the key of ${user.key.setting}`;
  const call = { bucket, query: "list-type=2&max-keys=1", what, action: "s3:ListBucket" };
  const code = codeOf(await user.send({ ...call, method: "GET" }));
  return ["InvalidAccessKeyId", "SignatureDoesNotMatch"].includes(code) ? code : "";
}

async function putUser(s3: S3, user: S3): Promise<void> {
  const { accessKey, secretKey, setting } = user.key;
  const query = `accessKey=${encodeURIComponent(accessKey)}`;
  const body = sealed(JSON.stringify({ secretKey, status: "enabled" }), s3.key.secretKey);
  const call = { path: "add-user", query, body, action: "admin:CreateUser" };
  await expect(s3, { ...call, method: "PUT", what: `make the user of ${setting}` });
}

async function attach(s3: S3, user: S3, policies: string[]): Promise<void> {
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

/** A policy as text that does not depend on any order; MinIO sorts what it is given. */
function canonical({ Version, Statement }: Policy): string {
  const statements = [Statement].flat().map(({ Effect, Action, Resource }) =>
    JSON.stringify([Effect, [Action].flat().sort(), [Resource].flat().sort()])
  );
  return JSON.stringify([Version, statements.sort()]);
}

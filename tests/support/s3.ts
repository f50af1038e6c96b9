// An S3 server over TLS on 127.0.0.1: checks signatures itself, keeps objects in memory.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { ensure } from "../../lib/core/resource.ts";
import { must, type S3 } from "../../lib/s3/call.ts";
import { bucketVersions } from "../../lib/s3/bucket.ts";

export interface FakeS3 extends AsyncDisposable {
  endpoint: string;
  /** `PUT /thanos/key?query body`, in the order of arrival; bodies of objects are left out. */
  calls: string[];
  buckets: Map<string, Set<string>>;
  versioned: Set<string>;
  /** Lifecycle rules of buckets, as XML. */
  lifecycles: Map<string, string>;
}

/** One request as the fake sees it. */
export interface Seen {
  method: string;
  bucket: string;
  key: string;
  query: string;
}

export interface FakeOptions {
  /** Name of a certificate in fixtures/tls. */
  certificate?: string;
  region?: string;
  /** More keys that it knows: secrets by id. */
  keys?: Record<string, string>;
  /** Answers instead of the fake when it gives something. */
  fault?: (seen: Seen) => Response | undefined;
}

/** The first key the fake knows; it has all rights. */
export const KEY = { id: "fake-access-key-3f9a", secret: "fake-secret/key+with=signs" };

/** Text of a file in fixtures/tls. */
export function pem(name: string): string {
  return readFileSync(new URL(`../fixtures/tls/test-only-${name}`, import.meta.url), "utf8");
}

/** What a deploy changes of the versions of a bucket, and what it tells. */
export async function ensureVersions(
  s3: S3,
  bucket: string,
  { days, isMinio }: { days: number; isMinio: boolean },
) {
  const problems: string[] = [];
  const wanted = bucketVersions(bucket, days);
  const tell = (text: string) => void problems.push(text);
  const { outcome, look } = await ensure(wanted, { s3, isMinio }, tell);
  if (look.state === "not looked at") problems.push(...look.fields!);
  const changes = outcome === "configured" ? look.fields! : [];
  return { changes, problems };
}

/** Removes a user of a MinIO. */
export async function removeUser(s3: S3, accessKey: string): Promise<void> {
  const query = `accessKey=${encodeURIComponent(accessKey)}`;
  const path = "minio/admin/v3/remove-user";
  const call = { bucket: "", path, query, what: "remove a user", action: "admin:DeleteUser" };
  await must(s3, { ...call, method: "DELETE" });
}

/** Deletes an object of a bucket. @throws {S3Error} when it is refused. */
export async function deleteObject(s3: S3, bucket: string, key: string): Promise<void> {
  const what = `delete ${key}`;
  await must(s3, { method: "DELETE", bucket, key, what, action: "s3:DeleteObject" });
}

/** An S3 error answer. */
export function s3Error(status: number, code: string, extra = "", headers = {}): Response {
  const body = `<?xml version="1.0"?>\n<Error><Code>${code}</Code>${extra}</Error>`;
  return new Response(body, { status, headers });
}

/** Starts the fake; dispose it to stop. */
export function fakeS3(options: FakeOptions = {}): FakeS3 {
  const calls: string[] = [];
  const objects = new Map<string, Map<string, string>>();
  const fake = {
    calls,
    buckets: new Map<string, Set<string>>(),
    versioned: new Set<string>(),
    lifecycles: new Map<string, string>(),
  };
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: pem(`${options.certificate ?? "leaf"}.pem`),
    key: pem("leaf.key"),
    onListen: () => {},
  }, async (request) => {
    const url = new URL(request.url);
    const [bucket = "", ...names] = url.pathname.slice(1).split("/").map(decodeURIComponent);
    const key = names.join("/");
    const query = url.search.slice(1);
    const body = await request.text();
    const shown = key ? "" : body;
    calls.push(`${request.method} ${url.pathname}${url.search} ${shown}`.trim());
    const seen = { method: request.method, bucket, key, query };
    const refused = options.fault?.(seen) ?? checkSignature(request, body, options);
    if (refused) return bodiless(request, refused);
    return bodiless(request, answer(seen, body));
  });

  function answer({ method, bucket, key, query }: Seen, body: string): Response {
    const kept = fake.buckets.get(bucket);
    if (!key && !query && method === "PUT") {
      if (kept) return s3Error(409, "BucketAlreadyOwnedByYou");
      fake.buckets.set(bucket, new Set());
      objects.set(bucket, new Map());
      return new Response();
    }
    if (!kept) return s3Error(404, "NoSuchBucket");
    const store = objects.get(bucket)!;
    if (key) {
      if (method === "PUT") {
        kept.add(key);
        store.set(key, body);
        return new Response();
      }
      if (method === "DELETE") {
        kept.delete(key);
        return new Response(null, { status: 204 });
      }
      return kept.has(key) ? new Response(store.get(key)) : s3Error(404, "NoSuchKey");
    }
    if (query === "versioning") {
      if (method === "PUT") fake.versioned.add(bucket);
      const status = fake.versioned.has(bucket) ? "<Status>Enabled</Status>" : "";
      return new Response(`<VersioningConfiguration>${status}</VersioningConfiguration>`);
    }
    if (query === "lifecycle") {
      if (method === "PUT") fake.lifecycles.set(bucket, body);
      const rules = fake.lifecycles.get(bucket);
      return rules ? new Response(rules) : s3Error(404, "NoSuchLifecycleConfiguration");
    }
    if (query.startsWith("list-type=2")) {
      const prefix = new URLSearchParams(query).get("prefix") ?? "";
      const keys = [...kept].filter((key) => key.startsWith(prefix));
      const contents = keys.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("");
      return new Response(`<ListBucketResult>${contents}</ListBucketResult>`);
    }
    return new Response();
  }

  return {
    ...fake,
    endpoint: `https://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Answers to HEAD have no body, so no reason either. */
function bodiless(request: Request, response: Response): Response {
  if (request.method !== "HEAD") return response;
  return new Response(null, { status: response.status, headers: response.headers });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function hmac(key: string | Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

/** Signature Version 4 as the server computes it; undefined when the request's own is right. */
function checkSignature(
  request: Request,
  body: string,
  { region = "us-east-1", keys = {} }: FakeOptions,
): Response | undefined {
  const auth = request.headers.get("authorization") ?? "";
  const [, id, day, scope, names, signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/
      .exec(auth) ?? [];
  const secret = id === KEY.id ? KEY.secret : keys[id ?? ""];
  if (secret === undefined) {
    return s3Error(403, "InvalidAccessKeyId", `<AWSAccessKeyId>${id}</AWSAccessKeyId>`);
  }
  if (scope !== region) {
    return s3Error(400, "AuthorizationHeaderMalformed", `<Region>${region}</Region>`);
  }
  const bodyHash = request.headers.get("x-amz-content-sha256");
  if (bodyHash !== sha256(body)) return s3Error(400, "XAmzContentSHA256Mismatch");
  const url = new URL(request.url);
  const encode = (text: string) =>
    encodeURIComponent(text).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`);
  const headers = names!.split(";").map((name) => `${name}:${request.headers.get(name)}\n`);
  const canonical = [
    request.method,
    url.pathname,
    query.sort().join("&"),
    headers.join(""),
    names,
    bodyHash,
  ].join("\n");
  const date = request.headers.get("x-amz-date");
  const text = ["AWS4-HMAC-SHA256", date, `${day}/${region}/s3/aws4_request`, sha256(canonical)];
  const dayKey = hmac(`AWS4${secret}`, day!);
  const key = hmac(hmac(hmac(dayKey, region), "s3"), "aws4_request");
  const wanted = new Uint8Array(hmac(key, text.join("\n"))).toHex();
  return wanted === signature ? undefined : s3Error(403, "SignatureDoesNotMatch");
}

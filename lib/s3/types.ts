// What goes to an S3 server and what comes back, as plain data.

/** One user of an S3 server. */
export interface S3Key {
  accessKey: string;
  secretKey: string;
  /** The setting that holds `accessKey`; default: S3_ACCESS_KEY. */
  setting?: string;
}

/** A server and a key on it; dispose it to close its connections. */
export interface S3 extends Disposable {
  /** `https://host:port`. */
  readonly endpoint: string;
  readonly region: string;
  readonly key: Required<S3Key>;
  /** Sends one signed request; answers of any status come back, no answer throws exit 8. */
  send(call: S3Call): Promise<S3Answer>;
  /** Server text without the keys: some servers repeat the whole request in their answer. */
  redacted(text: string): string;
}

/** One request, and how to speak of it. */
export interface S3Call {
  method: "HEAD" | "GET" | "PUT" | "POST" | "DELETE";
  /** Empty for what concerns no bucket. */
  bucket: string;
  /** Object in the bucket; default: the bucket itself. */
  key?: string;
  /** Where a server has more than buckets: `minio/admin/v3/info`. */
  path?: string;
  /** `list-type=2&prefix=x`, already encoded. */
  query?: string;
  body?: string | Uint8Array<ArrayBuffer>;
  headers?: Record<string, string>;
  /** Completes "Cannot ...". */
  what: string;
  /** Right that the key needs for it. */
  action: string;
}

export interface S3Answer {
  status: number;
  headers: Headers;
  /** At most 1 MiB of it. */
  body: string;
  /** When the request was signed, by this machine's clock. */
  sentAt: Date;
}

/** Why a server refuses: the code of its answer, in XML or (MinIO's administration) in JSON. */
export function codeOf({ body }: S3Answer): string {
  return element(body, "Code") || (/^\s*\{.*?"Code":\s*"(\w+)"/s.exec(body)?.[1] ?? "");
}

/** The server's words beside its code. */
export function s3Message({ body }: S3Answer): string {
  return element(body, "Message") || (/^\s*\{.*?"Message":\s*"([^"\\]*)"/s.exec(body)?.[1] ?? "");
}

/** Text of the first such element of an XML answer; empty when there is none. */
export function element(xml: string, name: string): string {
  // No parser: the answer may come from anything that listens there, and one text is all we want.
  const found = new RegExp(`<${name}>([^<]{0,1024})</${name}>`).exec(xml)?.[1] ?? "";
  return found.replace(/&(lt|gt|quot|apos|amp|#39|#34);/g, (_, name) => ENTITIES[name]!);
}

const ENTITIES: Record<string, string> = {
  ...{ lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" },
  ...{ "#39": "'", "#34": '"' },
};

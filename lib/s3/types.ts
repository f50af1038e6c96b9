// What goes to an S3 server and what comes back, as plain data.

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
  return (found?.[1] ?? "").replace(/&(\w+|#\d+);/g, (text, name) => ENTITIES[name] ?? text);
}

const ENTITIES: Record<string, string> = {
  ...{ lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" },
  ...{ "#39": "'", "#34": '"' },
};

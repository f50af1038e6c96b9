// What it means that an S3 server gave no answer at all: network, name, port or certificate.
import { proxyHint, shownCertificate } from "../io/tls.ts";
import { S3Error, type Verdict } from "./errors.ts";
import type { S3Call } from "./types.ts";

/** The error for a request that got no answer. */
export async function noAnswer(
  error: unknown,
  call: S3Call,
  at: { endpoint: string; seconds: number; hasCa: boolean },
): Promise<S3Error> {
  const { hostname } = new URL(at.endpoint);
  const text = textOf(error);
  const certificate = judgeCertificate(text, hostname, at.hasCa);
  const verdict = certificate ?? judgeSilence(text, hostname, at.seconds);
  const seen = certificate ? await certificateOf(at.endpoint) : [];
  return new S3Error(`Cannot ${call.what}: ${verdict.why}`, 0, {
    where: [at.endpoint, ...seen, ...proxyHint(hostname)],
    fix: verdict.fix,
    cause: error,
  });
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${error.name} ${error.message} ${
    error.cause instanceof Error ? error.cause.message : ""
  }`;
}

function judgeSilence(text: string, host: string, seconds: number): Verdict {
  const runs =
    "check that the S3 server runs and that S3_ENDPOINT in env/common.env is its address";
  if (/TimeoutError/.test(text)) {
    return { why: `no answer within ${seconds} s`, fix: `${runs} (a firewall drops silently)` };
  }
  if (/dns error|failed to lookup/.test(text)) {
    return {
      why: `DNS does not know "${host}"`,
      fix: "correct S3_ENDPOINT, or add the name to DNS",
    };
  }
  if (/Connection refused/i.test(text)) return { why: "connection refused", fix: runs };
  if (/unreachable|No route to host/i.test(text)) {
    return { why: `no route to ${host}`, fix: `check the network: ip route get ${host}` };
  }
  if (/corrupt message|InvalidContentType/.test(text)) {
    return { why: "the port does not speak TLS", fix: "give the S3 server a certificate" };
  }
  if (/reset|closed|broken pipe|eof|end of file/i.test(text)) {
    return { why: "connection closed by the other side", fix: runs };
  }
  return { why: text.trim().split(": ").at(-1)!, fix: runs };
}

// rustls' words. Its checks are stricter than Go's, so other clients of the server may be content.
function judgeCertificate(text: string, host: string, hasCa: boolean): Verdict | undefined {
  if (!/invalid peer certificate/.test(text)) return undefined;
  const kind = /^[\d.]+$|:/.test(host) ? "IP" : "DNS";
  const leaf = `basicConstraints=CA:FALSE and subjectAltName=${kind}:${host}`;
  if (/CaUsedAsEndEntity/.test(text)) {
    return {
      why: "its certificate is a self-signed CA used as a server certificate",
      fix: `let that CA sign a server certificate with ${leaf}; S3_CA_FILE stays the CA`,
    };
  }
  if (/not valid for name|NotValidForName/.test(text)) {
    return {
      why: `its certificate is not valid for ${kind} ${host}`,
      fix: `issue it again with ${leaf}, by the CA of S3_CA_FILE`,
    };
  }
  if (/UnsupportedCertVersion/.test(text)) {
    return { why: "its certificate is X.509 v1", fix: `issue a v3 certificate with ${leaf}` };
  }
  if (/expired|not valid after|not valid before|NotValidYet/i.test(text)) {
    return {
      why: "its certificate is not valid today",
      fix: "compare its dates with the clock (date), then renew it",
    };
  }
  return {
    why: hasCa
      ? "its certificate is not signed by the CA in S3_CA_FILE"
      : "its certificate is not signed by a public CA",
    fix: "set S3_CA_FILE in env/common.env to the PEM file of the CA that signed it",
  };
}

/** What the server shows about itself. */
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

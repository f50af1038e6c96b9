// Certificates that end: of the S3 server and its CA, of the API server, and ours for the API.
import { X509Certificate } from "node:crypto";
import { certificatesIn } from "../../lib/config/certificates.ts";
import { fail, type Finding, hidden, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../../lib/core/error.ts";
import { TARGET } from "../../lib/probe/check.ts";
import { contextServers } from "../../lib/kube/target.ts";
import { shownCertificate } from "../../lib/io/tls.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";

/** A certificate, whose it is, and who makes a new one. */
export interface Dated {
  whose: string;
  /** Times as of `Date.now()`. */
  from: number;
  until: number;
  fix: string;
}

const HOUR = 3600 * 1000, DAY = 24 * HOUR;

/**
 * Ms that are left when somebody should act: a month, but of a short-lived one, which renews itself with a
 * third left, a fifth of its life.
 */
function soon({ from, until }: Dated): number {
  return Math.min(30 * DAY, (until - from) / 5);
}

function leftText(ms: number): string {
  return ms < 2 * DAY ? `${Math.floor(ms / HOUR)} hours` : `${Math.floor(ms / DAY)} days`;
}

/** What the S3 server shows, and its CA. */
export async function s3Certificate({ cluster, when }: Subject): Promise<Finding[]> {
  return judgeCertificates(await s3Certificates(cluster), when);
}

/** The kubeconfig's own. */
export const clientCertificate = onTheWay(clientCertificates);

/** What the API server shows. */
export const apiCertificate = onTheWay(apiCertificates);

/** Without a context there is no way to a cluster that could be looked at. */
function onTheWay(read: (cluster: Cluster) => Promise<Dated[]>) {
  return async ({ cluster, when }: Subject): Promise<Finding | Finding[]> => {
    if (when === "before") {
      const servers = await contextServers(cluster).catch(() => undefined);
      const isThere = servers?.get(text(cluster, "KUBE_CONTEXT"));
      if (!isThere) return hidden(`not looked at: see ${TARGET}`);
    }
    return judgeCertificates(await read(cluster), when);
  };
}

/** Certificates by the time that is left; shortly before the end a deploy works still, but verification fails. */
export function judgeCertificates(
  all: Dated[],
  when: Subject["when"],
  now = Date.now(),
): Finding[] {
  if (all.length === 0) return [ok("none (a token, or no TLS)")];
  return all.map((one) => {
    const { whose, from, until, fix } = one;
    const end = new Date(until).toISOString().slice(0, 10);
    const here = `here it is ${new Date(now).toISOString()}`;
    const wrong = (what: string) =>
      fail(`${whose} ${what}; ${here}`, `if that time is right: ${fix}`, ExitCode.unreachable);
    if (until <= now) return wrong(`ended on ${end}`);
    if (from > now) return wrong(`starts on ${new Date(from).toISOString()} only`);
    const left = leftText(until - now);
    if (until - now >= soon(one)) return ok(`${whose}: ${left} left, until ${end}`);
    const state = when === "before" ? "warn" : "fail";
    return { state, what: `${whose} ends in ${left}, on ${end}`, fix };
  });
}

/** What the S3 server shows, and the CA by which it is known. */
async function s3Certificates(cluster: Cluster): Promise<Dated[]> {
  const { hostname, port } = new URL(text(cluster, "S3_ENDPOINT"));
  const again = "then make all: pods restart with it";
  const shown = await handshake(hostname, Number(port || 443), ExitCode.service);
  return [
    dated("the certificate of the S3 server", shown, "give the S3 server a new one from its CA"),
    ...certificatesIn(cluster.s3Ca ?? "").map((one) =>
      dated("the CA of the S3 (S3_CA_FILE)", one, `put the new CA beside the old one, ${again}`)
    ),
  ];
}

/** The kubeconfig's own; none where it holds a token or calls a plugin. */
async function clientCertificates(cluster: Cluster): Promise<Dated[]> {
  const view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
  const { users } = JSON.parse(await kubectl(view, { cluster, seconds: 15 }));
  const data: string = users?.[0]?.user?.["client-certificate-data"] ?? "";
  const whose = `the client certificate of context ${text(cluster, "KUBE_CONTEXT")}`;
  // Others of the file are the CAs that have signed it.
  return certificatesIn(atob(data)).slice(0, 1).map((one) => dated(whose, one, renewal(cluster)));
}

/** What the API server shows. */
async function apiCertificates(cluster: Cluster): Promise<Dated[]> {
  const server = (await contextServers(cluster)).get(text(cluster, "KUBE_CONTEXT")) ?? "";
  const { protocol, hostname, port } = new URL(server);
  if (protocol !== "https:") return [];
  const shown = await handshake(hostname, Number(port || 443));
  return [dated("the certificate of the API server", shown, renewal(cluster))];
}

function renewal(cluster: Cluster): string {
  return `on ${text(cluster, "NODE_IP")}: minikube start renews it; then take its kubeconfig again`;
}

function dated(whose: string, { validFrom, validTo }: X509Certificate, fix: string): Dated {
  return { whose, from: Date.parse(validFrom), until: Date.parse(validTo), fix };
}

/**
 * The certificate that a server shows, whoever has signed it: nothing is sent there.
 * @throws {DeployError} `exitCode` (5) when there is none within five seconds.
 */
export async function handshake(
  host: string,
  port: number,
  exitCode: number = ExitCode.unreachable,
): Promise<X509Certificate> {
  try {
    return new X509Certificate((await shownCertificate(host, port)).raw);
  } catch (error) {
    throw new DeployError(`Cannot see the certificate of ${host}:${port}`, {
      exitCode,
      where: messageOf(error),
      fix: `check that a server with TLS answers there: openssl s_client -connect ${host}:${port}`,
    });
  }
}

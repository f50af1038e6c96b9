// Certificates that end: of the S3 server and its CA, of the API server, and ours for the API.
import { X509Certificate } from "node:crypto";
import { certificatesIn } from "../../lib/config/certificates.ts";
import { fail, type Findings, hidden, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../../lib/core/error.ts";
import { shownCertificate } from "../../lib/io/tls.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { contextServers } from "../../lib/kube/target.ts";
import { TARGET } from "../../lib/probe/check.ts";

/** A certificate: whose it is, and who makes a new one. */
interface Dated {
  whose: string;
  shown: Pick<X509Certificate, "validFrom" | "validTo">;
  fix: string;
}

const HOUR = 3600 * 1000, DAY = 24 * HOUR;

/** What the S3 server shows, and the CA by which it is known. */
export async function s3Certificate({ cluster, when }: Subject): Promise<Findings> {
  const server = {
    whose: "the certificate of the S3 server",
    shown: await handshake(new URL(text(cluster, "S3_ENDPOINT")), ExitCode.service),
    fix: "give the S3 server a new one from its CA",
  };
  const authorities = certificatesIn(cluster.s3Ca ?? "").map((shown) => ({
    whose: "the CA of the S3 (S3_CA_FILE)",
    shown,
    fix: "put the new CA beside the old one, then make all: pods restart with it",
  }));
  return judgeCertificates([server, ...authorities], when);
}

/** The kubeconfig's own; none where it holds a token or calls a plugin. */
export const clientCertificate = onTheWay(async (cluster) => {
  const view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
  const { users } = JSON.parse(await kubectl(view, { cluster, seconds: 15 }));
  // Others of the file are the CAs that have signed it.
  const [own] = certificatesIn(atob(users?.[0]?.user?.["client-certificate-data"] ?? ""));
  return [`the client certificate of context ${text(cluster, "KUBE_CONTEXT")}`, own];
});

/** What the API server shows; nothing without TLS. */
export const apiCertificate = onTheWay(async (_, server) => {
  const url = new URL(server);
  const shown = url.protocol === "https:" ? await handshake(url) : undefined;
  return ["the certificate of the API server", shown];
});

/** Without a context there is no way to a cluster that could be looked at. */
function onTheWay(
  read: (cluster: Cluster, server: string) => Promise<[whose: string, shown?: X509Certificate]>,
) {
  return async ({ cluster, when }: Subject): Promise<Findings> => {
    const servers = await contextServers(cluster).catch(() => undefined);
    const server = servers?.get(text(cluster, "KUBE_CONTEXT"));
    if (!server) return hidden(`not looked at: see ${TARGET}`);
    const [whose, shown] = await read(cluster, server);
    const fix = `on ${text(cluster, "NODE_IP")}: minikube start renews it; ` +
      "then take its kubeconfig again";
    return judgeCertificates(shown ? [{ whose, shown, fix }] : [], when);
  };
}

/** Certificates by the time that is left; shortly before the end a deploy works still, but verification fails. */
export function judgeCertificates(all: Dated[], when: Subject["when"], now = Date.now()): Findings {
  if (all.length === 0) return ok("none (a token, or no TLS)");
  return all.map(({ whose, shown: { validFrom, validTo }, fix }) => {
    const [from, until] = [Date.parse(validFrom), Date.parse(validTo)];
    const end = new Date(until).toISOString().slice(0, 10);
    const here = `here it is ${new Date(now).toISOString()}`;
    const wrong = (what: string) =>
      fail(`${whose} ${what}; ${here}`, `if that time is right: ${fix}`, ExitCode.unreachable);
    if (until <= now) return wrong(`ended on ${end}`);
    if (from > now) return wrong(`starts on ${new Date(from).toISOString()} only`);
    const ms = until - now;
    const left = ms < 2 * DAY ? `${Math.floor(ms / HOUR)} hours` : `${Math.floor(ms / DAY)} days`;
    // One that is short-lived renews itself with a third left.
    const enough = Math.min(30 * DAY, (until - from) / 5);
    if (ms >= enough) return ok(`${whose}: ${left} left, until ${end}`);
    const state = when === "before" ? "warn" : "fail";
    return { state, what: `${whose} ends in ${left}, on ${end}`, fix };
  });
}

/** What a server shows, whoever has signed it. @throws {DeployError} `exitCode` where that is nothing. */
async function handshake(
  { hostname, port }: URL,
  exitCode: number = ExitCode.unreachable,
): Promise<X509Certificate> {
  const at = port || "443";
  // We may be too busy with rendering to see an answer of long ago.
  const shown = await shownCertificate(hostname, Number(at), { seconds: 20 }).catch((error) => {
    throw new DeployError(`Cannot see the certificate of ${hostname}:${at}`, {
      exitCode,
      where: messageOf(error),
      fix:
        `check that a server with TLS answers there: openssl s_client -connect ${hostname}:${at}`,
    });
  });
  return new X509Certificate(shown.raw);
}

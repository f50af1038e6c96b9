// Access: this machine's tools, its way to the cluster with the certificates on it, and people's way to the node.
import { X509Certificate } from "node:crypto";
import { isIPv4 } from "node:net";
import { $ } from "zx";
import { certificatesIn } from "../../lib/config/certificates.ts";
import { fail, type Finding, hidden, note, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../../lib/core/error.ts";
import { isWithin } from "../../lib/core/network.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { shownCertificate } from "../../lib/io/tls.ts";
import { kubectl, kubectlVersion, minorOf, OLDEST } from "../../lib/kube/kubectl.ts";
import { KubectlError } from "../../lib/kube/kubectl_error.ts";
import { objectsEverywhere } from "../../lib/kube/api.ts";
import { connect, contextServers } from "../../lib/kube/target.ts";
import { TARGET } from "../../lib/probe/check.ts";

/** kubectl against the server, and the shell, without which nothing starts. */
export async function tools({ cluster }: Subject): Promise<Finding[]> {
  const client = await kubectlVersion();
  // Another row says why a server does not answer.
  const server = await kubectl(["get", "--raw", "/version"], { cluster, seconds: 10 })
    .then((text) => JSON.parse(text).gitVersion as string, () => undefined);
  const { stdout } = await $({ quiet: true })`bash --version`;
  const [, bash] = /version ([0-9.]+)/.exec(stdout) ?? [];
  return [judgeKubectl(client, server), ok(`bash ${bash}`)];
}

/** Versions as `v1.35.1`; one minor beside the server is supported. */
export function judgeKubectl(client: string, server?: string): Finding {
  const seen = `kubectl ${client}${server ? `, server ${server}` : ""}`;
  const minor = minorOf(client);
  if (minor < OLDEST) {
    return fail(`${seen}: older than v1.${OLDEST}`, "make tools, or a newer kubectl first on PATH");
  }
  const skew = server ? Math.abs(minor - minorOf(server)) : 0;
  if (skew <= 1) return ok(seen);
  const release = server!.replace(/[^v\d.].*/, "");
  const url = `https://dl.k8s.io/release/${release}/bin/${PLATFORM.os}/${PLATFORM.arch}/kubectl`;
  // What lies in .tools/bin comes before PATH, and may be a link to another program.
  const fix = `curl -fLo .tools/kubectl ${url} && install .tools/kubectl .tools/bin/`;
  return warn(`${seen}: ${skew} minor versions apart, 1 is supported`, fix);
}

/** Context, address and identity of the cluster, as before every deploy. */
export async function target({ cluster, once }: Subject): Promise<Finding> {
  const { marker } = await once(TARGET, () => connect(cluster));
  const where = `${text(cluster, "KUBE_CONTEXT")} at ${text(cluster, "API_HOST")}`;
  return ok(`${where}, ${marker ? "not deployed to yet" : text(cluster, "CLUSTER_NAME")}`);
}

/** Whether the user of the context may do everything; a deploy makes ClusterRoles and CRDs. */
export async function rights({ cluster }: Subject): Promise<Finding> {
  const question = ["auth", "can-i", "*", "*", "--all-namespaces"];
  const answer = await kubectl(question, { cluster, seconds: 15 }).catch((error) => {
    // "no" comes with exit code 1.
    if (error instanceof KubectlError && error.stdout.trim() === "no") return "no";
    throw error;
  });
  if (answer.trim() === "yes") return ok("everything");
  const fix = "bind it to cluster-admin (kubectl auth whoami says who it is)";
  return fail("the user of the context may not do everything", fix, ExitCode.unreachable);
}

type NodeAddress = { name: string; type: string; address: string };

/** NODE_IP, to which names lead and which policies allow, is that of one node; NODE_NETWORKS has those of all nodes. */
export async function nodeAddress({ cluster }: Subject): Promise<Finding> {
  const wanted = text(cluster, "NODE_IP");
  const nodes = await objectsEverywhere(cluster, "nodes");
  const addresses = nodes.flatMap(({ metadata: { name }, status }): NodeAddress[] =>
    (status?.addresses ?? []).map((one: NodeAddress) => ({ ...one, name }))
  );
  const owners = addresses.filter(({ address }) => address === wanted).map(({ name }) => name);
  const names = [...new Set(owners)];
  const inside = addresses.filter(({ type, address }) => type === "InternalIP" && isIPv4(address));
  const unknown = inside.filter(({ address }) => !isWithin(address, cluster.nodes));
  if (nodes.length > 1 && names.length < 2 && unknown.length > 0) {
    const all = new Set([wanted, ...inside.map(({ address }) => address)]);
    const line = `NODE_NETWORKS=${[...all].map((one) => `${one}/32`)}`;
    return warn(
      "not in NODE_NETWORKS, so doors are silent where their pods are not, and policies refuse it: " +
        unknown.map(({ name, address }) => `${name} (${address})`).join(", "),
      `in env/cluster-${cluster.id}.env: ${line}`,
    );
  }
  if (names.length === 0) return note(`no node says that ${wanted} is its own (a balancer?)`);
  if (names.length === 1) return ok(`${wanted} is ${names[0]}`);
  const fix = "an address for each node (kubelet --node-ip); NODE_IP is what names lead to";
  return fail(`${names.join(" and ")} all say that ${wanted} is theirs`, fix);
}

type Dated = { whose: string; shown: Pick<X509Certificate, "validFrom" | "validTo">; fix: string };

const HOUR = 3600 * 1000, DAY = 24 * HOUR;

/** What the S3 server shows, and the CA by which it is known. */
export async function s3Certificate({ cluster, when }: Subject): Promise<Finding[]> {
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

/** Where the kubeconfig leads nowhere, another check of preflight says why. */
function onTheWay(
  read: (cluster: Cluster, server: string) => Promise<[whose: string, shown?: X509Certificate]>,
) {
  return async ({ cluster, when }: Subject): Promise<Finding[]> => {
    const servers = await contextServers(cluster).catch(() => new Map<string, string>());
    const server = servers.get(text(cluster, "KUBE_CONTEXT"));
    if (!server && when === "after") {
      return [fail("the kubeconfig leads nowhere", "make preflight")];
    }
    if (!server) return [hidden(`not looked at: see ${TARGET}`)];
    const [whose, shown] = await read(cluster, server);
    const fix = `on ${text(cluster, "NODE_IP")}: minikube start; then take its kubeconfig again`;
    return judgeCertificates(shown ? [{ whose, shown, fix }] : [], when);
  };
}

/** Certificates by the time that is left; shortly before the end a deploy works still, but verification fails. */
export function judgeCertificates(all: Dated[], when: Subject["when"], now = Date.now()) {
  if (all.length === 0) return [ok("none (a token, or no TLS)")];
  return all.map(({ whose, shown: { validFrom, validTo }, fix }): Finding => {
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
async function handshake({ hostname, port }: URL, exitCode: number = ExitCode.unreachable) {
  const at = port || "443";
  // We may be too busy with rendering to see an answer of long ago.
  const shown = await shownCertificate(hostname, Number(at), { seconds: 20 }).catch((error) => {
    throw new DeployError(`Cannot see the certificate of ${hostname}:${at}`, {
      exitCode,
      where: messageOf(error),
      fix: `see whether a server with TLS is there: openssl s_client -connect ${hostname}:${at}`,
    });
  });
  return new X509Certificate(shown.raw);
}

// This machine, its access to the cluster, and the address at which people find the node.
import { $ } from "zx";
import {
  fail,
  type Finding,
  type Findings,
  note,
  ok,
  type Subject,
  warn,
} from "../../lib/core/check.ts";
import { list, text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { isEverywhere, isWithin } from "../../lib/core/network.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { kubectl, kubectlVersion } from "../../lib/kube/kubectl.ts";
import { KubectlError } from "../../lib/kube/kubectl_error.ts";
import { objectsEverywhere } from "../../lib/kube/list.ts";
import { connect } from "../../lib/kube/target.ts";
import { minorOf, OLDEST } from "../../lib/kube/version.ts";
import { TARGET } from "../../lib/probe/check.ts";

/** kubectl against the server, and the shell that everything is started with. */
export async function tools({ cluster }: Subject): Promise<Findings> {
  const client = await kubectlVersion();
  // Another row says why a server does not answer.
  const server = await kubectl(["get", "--raw", "/version"], { cluster, seconds: 10 })
    .then((text) => JSON.parse(text).gitVersion as string, () => undefined);
  const bash = await $({ quiet: true, nothrow: true })`bash --version`;
  const shell = /version ([0-9.]+)/.exec(bash.stdout)?.[1];
  return [
    judgeKubectl(client, server),
    shell ? ok(`bash ${shell}`) : fail("no bash", "install bash"),
  ];
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
  const platform = `${PLATFORM.os}/${PLATFORM.arch}`;
  return warn(
    `${seen}: ${skew} minor versions apart, 1 is supported`,
    // What lies in .tools/bin comes before PATH, and may be a link to another program.
    `curl -fLo .tools/kubectl https://dl.k8s.io/release/${release}/bin/${platform}/kubectl && ` +
      "install .tools/kubectl .tools/bin/",
  );
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
  return fail(
    "the user of the context may not do everything",
    `bind it to cluster-admin (kubectl auth whoami says who it is)`,
    ExitCode.unreachable,
  );
}

/**
 * NODE_IP, to which names lead and which policies allow, is the address of one node; one that none has may belong to
 * a balancer. Of several nodes NODE_NETWORKS has all.
 */
export async function nodeAddress({ cluster }: Subject): Promise<Finding> {
  const wanted = text(cluster, "NODE_IP");
  const nodes = await objectsEverywhere(cluster, "nodes");
  const addresses = nodes.flatMap(({ metadata: { name }, status }) =>
    ((status?.addresses ?? []) as { type: string; address: string }[])
      .map((one) => ({ ...one, name }))
  );
  const having = new Set(
    addresses.filter(({ address }) => address === wanted).map(({ name }) => name),
  );
  const inside = addresses.filter(({ type, address }) =>
    type === "InternalIP" && /^[\d.]+$/.test(address)
  );
  const unknown = inside.filter(({ address }) => !isWithin(address, cluster.nodes));
  if (nodes.length > 1 && having.size < 2 && unknown.length > 0) {
    const all = new Set([wanted, ...inside.map(({ address }) => address)]);
    const isOpen = isEverywhere(list(cluster, "ADMIN_CIDR")) ||
      text(cluster, "INGRESS") === "existing";
    return warn(
      "not in NODE_NETWORKS, so doors are silent where their pods are not, and policies refuse it: " +
        unknown.map(({ name, address }) => `${name} (${address})`).join(", "),
      `in env/cluster-${cluster.id}.env: NODE_NETWORKS=${[...all].map((one) => `${one}/32`)}` +
        (isOpen
          ? ""
          : "; a firewall takes the place of ADMIN_CIDR, for doors on every node see no address of a caller"),
    );
  }
  const names = [...having].join(" and ");
  if (having.size === 1) return ok(`${wanted} is ${names}`);
  if (having.size === 0) return note(`no node says that ${wanted} is its own (a balancer?)`);
  return fail(
    `${names} all say that ${wanted} is theirs`,
    "give every node an address of its own (kubelet --node-ip), and NODE_IP the one that names lead to",
  );
}

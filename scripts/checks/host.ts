// What of a node is in the way of the steps: ports that are taken, a firewall, its names, its disks, its address.
import { type Cluster, list, number, text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { fail, type Finding, hidden, note, ok, type Subject, warn } from "../../lib/core/check.ts";
import { objectsEverywhere } from "../../lib/kube/list.ts";
import { isEverywhere, isWithin } from "../../lib/core/network.ts";
import { inGi } from "./disk.ts";
import { factsOf, type NodeFacts, UNKNOWN_NODES } from "./node_facts.ts";

/** Ports of the node itself that pods of the steps want, and a process or somebody else's pod holds. */
export async function hostPorts(subject: Subject): Promise<Finding> {
  const facts = await factsOf(subject).catch(() => []);
  if (facts.length === 0) return hidden(UNKNOWN_NODES);
  const wanted = (await subject.objects()).flatMap(({ metadata: { namespace, name }, spec }) =>
    portsOf(spec?.template?.spec).map((port) => ({ port, workload: `${namespace}/${name}` }))
  );
  const pods = await objectsEverywhere(subject.cluster, "pods");
  const taken = facts.flatMap(({ node, listens }) =>
    wanted.filter(({ port }) => listens.includes(port)).flatMap(({ port, workload }) => {
      const holders = pods.filter(({ spec, status }) =>
        spec.nodeName === node && portsOf(spec).includes(port) &&
        status?.containerStatuses?.every(({ ready }: { ready: boolean }) => ready)
      ).map(({ metadata: { namespace, name } }) => `${namespace}/${name}`);
      if (holders.some((name) => name.startsWith(`${workload}-`))) return [];
      const by = holders.length > 0 ? `the pod ${holders.join(", ")}` : "a process of the node";
      return [`${port} of ${node} by ${by}`];
    })
  );
  const seen = [...new Set(wanted.map(({ port }) => port))].join(", ");
  if (taken.length === 0) return ok(seen ? `${seen} free or ours` : "the steps want none here");
  return fail(
    `taken: ${taken.join("; ")}`,
    "see who listens: ss -ltnp on the node; for 9100 most often its own node_exporter: " +
      "systemctl disable --now prometheus-node-exporter node_exporter",
    ExitCode.refused,
  );
}

type Ports = { ports?: { hostPort?: number; containerPort: number }[] };

/** Ports of the node that a pod listens on. */
function portsOf(pod?: { hostNetwork?: boolean; containers?: Ports[] }): number[] {
  return (pod?.containers ?? []).flatMap(({ ports = [] }) => ports)
    .flatMap(({ hostPort, containerPort }) => pod?.hostNetwork ? containerPort : hostPort ?? []);
}

/** A firewall of the node cuts pods from each other unless it is told of them. */
export function firewall({ node, firewall }: NodeFacts, cluster: Cluster): Finding {
  if (!firewall) return ok("neither firewalld nor ufw");
  const ports = ["HTTP_NODE_PORT", "HTTPS_NODE_PORT", "SIDECAR_NODE_PORT"]
    .map((name) => number(cluster, name));
  const opened = firewall === "ufw"
    ? [...ports.map((port) => `ufw allow ${port}/tcp`), "ufw default allow routed"]
    : [
      ...ports.map((port) => `firewall-cmd --permanent --add-port=${port}/tcp`),
      "firewall-cmd --permanent --zone=trusted --add-source=PODS (the CIDR of pods)",
      "firewall-cmd --reload",
    ];
  return warn(
    `${firewall} is active: it may cut pods from the API server, from each other and from people`,
    `on ${node}: systemctl disable --now ${firewall}, or open what is needed: ${opened.join("; ")}`,
  );
}

/** A search domain that answers for every name leads pods astray: they try it before the name as it is. */
export function searchDomains({ node, wildcards }: NodeFacts): Finding {
  if (wildcards.length === 0) return ok("no search domain answers for every name");
  return warn(
    `the search domain ${wildcards.join(", ")} answers for every name: pods reach the wrong host`,
    `on ${node}: take it out of the line search of /etc/resolv.conf (or of the kubelet's ` +
      "resolvConf), or its wildcard out of DNS; then restart the pods",
  );
}

/** The kubelet evicts pods below this share of free space, where it watches the disk. */
const EVICTED = 0.15;
/** What the images of all steps take, roughly, and the least with which anything can start. */
const IMAGES = 10 * 2 ** 30, LEAST = 2 ** 30;

/** The disk of images and containers, which may be another than that of volumes. */
export function imageRoom(facts: NodeFacts): Finding {
  const { node, imagesPath, imagesBytes, imagesFreeBytes: free } = facts;
  const seen = `${imagesPath}: ${inGi(free)} free of ${inGi(imagesBytes)}`;
  const fix = `on ${node}: a larger disk there, or another place (data-root of Docker, root of ` +
    "containerd); remove images that nobody uses: crictl rmi --prune";
  if (!(free >= LEAST)) return fail(`no room for images: ${seen}`, fix);
  if (free < IMAGES || free < EVICTED * imagesBytes) {
    return warn(`little room for images: ${seen}`, fix);
  }
  return ok(seen);
}

/**
 * NODE_IP, to which names lead and which policies allow, is the address of one node; one that none has may belong to
 * a balancer. Of several nodes NODE_NETWORKS has all.
 */
export async function nodeAddress({ cluster }: Subject): Promise<Finding> {
  const address = text(cluster, "NODE_IP");
  const nodes = (await objectsEverywhere(cluster, "nodes")).map(({ metadata, status }) => ({
    name: metadata.name,
    addresses: (status?.addresses ?? []) as { type: string; address: string }[],
  }));
  const having = nodes.filter(({ addresses }) => addresses.some((one) => one.address === address))
    .map(({ name }) => name);
  const inside = nodes.flatMap(({ name, addresses }) =>
    addresses.filter(({ type, address }) => type === "InternalIP" && /^[\d.]+$/.test(address))
      .map(({ address }) => ({ name, address }))
  );
  const unknown = inside.filter(({ address }) => !isWithin(address, cluster.nodes));
  if (nodes.length > 1 && having.length < 2 && unknown.length > 0) {
    const all = [...new Set([address, ...inside.map(({ address }) => address)])];
    return warn(
      "not in NODE_NETWORKS, so doors are silent where their pods are not, and policies refuse it: " +
        unknown.map(({ name, address }) => `${name} (${address})`).join(", "),
      `in env/cluster-${cluster.id}.env: NODE_NETWORKS=${all.map((one) => `${one}/32`).join()}` +
        (isEverywhere(list(cluster, "ADMIN_CIDR")) || text(cluster, "INGRESS") === "existing"
          ? ""
          : "; a firewall takes the place of ADMIN_CIDR, for doors on every node see no address of a caller"),
    );
  }
  if (having.length === 1) return ok(`${address} is ${having[0]}`);
  if (having.length === 0) return note(`no node says that ${address} is its own (a balancer?)`);
  return fail(
    `${having.join(" and ")} all say that ${address} is theirs`,
    "give every node an address of its own (kubelet --node-ip), and NODE_IP the one that names lead to",
  );
}

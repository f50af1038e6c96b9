// What the facts of a node mean: for every cluster, for OpenSearch, and for Longhorn.
import { fail, type Finding, hidden, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { ExitCode, prerequisiteError } from "../../lib/core/error.ts";
import { namespacedName } from "../../lib/core/object.ts";
import { objectsEverywhere } from "../../lib/kube/api.ts";
import { clock, factsOf, type NodeFacts, nodeFacts, UNKNOWN_NODES } from "./node_facts.ts";
import { inGi } from "./room.ts";

/** The nodes themselves: that there are some, and that they can be looked at. */
export async function nodes(subject: Subject): Promise<Finding> {
  const facts = await factsOf(subject);
  if (facts.length === 0) return fail("no node is ready", "kubectl get nodes; then describe them");
  return ok(facts.map(({ node, os, kernel }) => `${node} (${os}, kernel ${kernel})`).join(", "));
}

/** A check that judges every node; several nodes are told apart where something is wrong. */
export function onNodes(judge: (facts: NodeFacts, cluster: Cluster) => Finding) {
  return async (subject: Subject): Promise<Finding[]> => {
    const facts = await factsOf(subject).catch(() => []);
    if (facts.length === 0) return [hidden(UNKNOWN_NODES)];
    return facts.map((node) => {
      const finding = judge(node, subject.cluster);
      if (facts.length === 1 || finding.state === "ok") return finding;
      return { ...finding, what: `${node.node}: ${finding.what}` };
    });
  };
}

type Pod = {
  hostNetwork?: boolean;
  containers?: { ports?: { hostPort?: number; containerPort: number }[] }[];
};

function portsOf({ hostNetwork, containers = [] }: Pod = {}): number[] {
  return containers.flatMap(({ ports = [] }) => ports)
    .flatMap(({ hostPort, containerPort }) => hostNetwork ? containerPort : hostPort ?? []);
}

/** Ports of the node itself that pods of the steps want, and a process or somebody else's pod holds. */
export async function hostPorts(subject: Subject): Promise<Finding> {
  const facts = await factsOf(subject).catch(() => []);
  if (facts.length === 0) return hidden(UNKNOWN_NODES);
  const wanted = (await subject.objects()).flatMap((object) =>
    portsOf(object.spec?.template?.spec).map((port) => ({ port, workload: namespacedName(object) }))
  );
  const pods = await objectsEverywhere(subject.cluster, "pods");
  const taken = facts.flatMap(({ node, listens }) =>
    wanted.filter(({ port }) => listens.includes(port)).flatMap(({ port, workload }) => {
      const holders = pods.filter(({ spec, status }) =>
        spec.nodeName === node && portsOf(spec).includes(port) &&
        status?.containerStatuses?.every(({ ready }: { ready: boolean }) => ready)
      ).map(namespacedName);
      if (holders.some((name) => name.startsWith(`${workload}-`))) return [];
      const by = holders.length > 0 ? `the pod ${holders.join(", ")}` : "a process of the node";
      return [`${port} of ${node} by ${by}`];
    })
  );
  const seen = [...new Set(wanted.map(({ port }) => port))].join(", ");
  if (taken.length === 0) return ok(seen ? `${seen} free or ours` : "the steps want none here");
  const fix = "see who listens: ss -ltnp on the node; for 9100 most often its own node_exporter: " +
    "systemctl disable --now prometheus-node-exporter node_exporter";
  return fail(`taken: ${taken.join("; ")}`, fix, ExitCode.refused);
}

/** A firewall of the node cuts pods from each other unless it is told of them. */
export function firewall({ node, firewall }: NodeFacts, cluster: Cluster): Finding {
  if (!firewall) return ok("neither firewalld nor ufw");
  const ports = ["HTTP_NODE_PORT", "HTTPS_NODE_PORT", "SIDECAR_NODE_PORT"]
    .map((name) => `${number(cluster, name)}/tcp`);
  const opened = firewall === "ufw"
    ? [...ports.map((port) => `ufw allow ${port}`), "ufw default allow routed"]
    : [
      ...ports.map((port) => `firewall-cmd --permanent --add-port=${port}`),
      "firewall-cmd --permanent --zone=trusted --add-source=PODS (the CIDR of pods)",
      "firewall-cmd --reload",
    ];
  const fix = `systemctl disable --now ${firewall}, or open what is needed: ${opened.join("; ")}`;
  const what = `${firewall} is active: it may cut pods from the API server, each other and people`;
  return warn(what, `on ${node}: ${fix}`);
}

/** A search domain that answers for every name leads pods astray: they try it before the name as it is. */
export function searchDomains({ node, wildcards }: NodeFacts): Finding {
  if (wildcards.length === 0) return ok("no search domain answers for every name");
  const fix =
    `on ${node}: take it out of search in /etc/resolv.conf (or the kubelet's resolvConf), ` +
    "or its wildcard out of DNS; then restart the pods";
  const what = `the search domain ${wildcards.join(", ")} answers for every name: pods go astray`;
  return warn(what, fix);
}

/** The disk of images and containers, which may be another than that of volumes. */
export function imageRoom(facts: NodeFacts): Finding {
  const { node, imagesPath, imagesBytes, imagesFreeBytes: free } = facts;
  const seen = `${imagesPath}: ${inGi(free)} free of ${inGi(imagesBytes)}`;
  const fix =
    `on ${node}: crictl rmi --prune, a larger disk, or Docker's or containerd's root on another`;
  if (!(free >= 2 ** 30)) return fail(`no room for images: ${seen}`, fix);
  // What all images take, roughly, and the share below which the kubelet evicts pods.
  const enough = free >= 10 * 2 ** 30 && free >= 0.15 * imagesBytes;
  return enough ? ok(seen) : warn(`little room for images: ${seen}`, fix);
}

/** Kernel settings, at least what pods are content with; more of them where OpenSearch is. */
export async function kernel(subject: Subject): Promise<Finding[]> {
  // OpenSearch maps its files into memory unless it is told not to.
  const maps = (await subject.objects()).some(({ data }) =>
    data?.["opensearch.yml"] && !/node\.store\.allow_mmap: false/.test(data["opensearch.yml"])
  );
  return await onNodes((facts) => {
    const settings = [
      { name: "vm.max_map_count", is: facts.mapCount, wanted: maps ? 262_144 : 0 },
      { name: "fs.inotify.max_user_instances", is: facts.inotifyInstances, wanted: 512 },
      { name: "fs.inotify.max_user_watches", is: facts.inotifyWatches, wanted: 65_536 },
    ];
    const low = settings.filter(({ is, wanted }) => is < wanted);
    if (low.length === 0) return ok(settings.map(({ name, is }) => `${name} ${is}`).join(", "));
    const seen = low.map(({ name, is, wanted }) => `${name} is ${is}, needed ${wanted}`).join(", ");
    const lines = low.map(({ name, wanted }) => `${name}=${wanted}`).join("\\n");
    const file = "/etc/sysctl.d/90-kubernetes.conf";
    const fix = `on ${facts.node}: printf '${lines}\\n' >${file} && sysctl --system`;
    return low[0]!.name === "vm.max_map_count" ? fail(seen, fix) : warn(seen, fix);
  })(subject);
}

/** What Longhorn attaches its volumes with. */
export function iscsi(facts: NodeFacts, cluster: Cluster): Finding {
  if (text(cluster, "STORAGE") !== "longhorn") return ok("not needed: STORAGE=existing");
  const { iscsiadm, iscsid, iscsiTcp, os, kernel } = facts;
  const missing = [
    !iscsiadm && "no iscsiadm (open-iscsi)",
    !iscsid && "iscsid does not run",
    iscsiTcp === "missing" && `kernel ${kernel} has no module iscsi_tcp`,
  ].filter(Boolean);
  const boot = "modprobe iscsi_tcp && echo iscsi_tcp >/etc/modules-load.d/iscsi_tcp.conf";
  if (missing.length > 0) {
    const install = /rhel|fedora|centos/.test(os)
      ? "dnf install -y iscsi-initiator-utils"
      : /debian|ubuntu/.test(os)
      ? "apt-get install -y open-iscsi"
      : "install open-iscsi";
    const fix = `on ${facts.node}: ${install} && ${boot} && systemctl enable --now iscsid`;
    return fail(missing.join(", "), fix);
  }
  if (iscsiTcp === "available") return warn("iscsi_tcp is not loaded", `on ${facts.node}: ${boot}`);
  return ok("iscsid, iscsiadm, iscsi_tcp");
}

/** Without it a volume that is mounted after a pod's start never shows in the pod. */
export function mounts({ node, mountsShared }: NodeFacts): Finding {
  const fix = `on ${node}: mount --make-rshared / (and at boot, before kubelet)`;
  return mountsShared ? ok("shared") : fail("mounts of the node do not spread into pods", fix);
}

/** It takes Longhorn's devices before the kubelet can. */
export function multipath({ node, multipathd }: NodeFacts, cluster: Cluster): Finding {
  if (!multipathd) return ok("multipathd does not run");
  if (text(cluster, "STORAGE") !== "longhorn") return ok("multipathd runs; no Longhorn here");
  const fix =
    `on ${node}: let /etc/multipath.conf ignore them (blacklist { devnode "^sd[a-z0-9]+" }), ` +
    "or systemctl disable --now multipathd multipathd.socket";
  return warn("multipathd runs: it may take the devices of Longhorn's volumes", fix);
}

/** Kubernetes 1.35 and later ask for cgroup v2. */
export function cgroup({ node, cgroup }: NodeFacts): Finding {
  const fix = `on ${node}: boot with systemd.unified_cgroup_hierarchy=1`;
  return cgroup === 2 ? ok("cgroup v2") : warn("cgroup v1, which Kubernetes gives up", fix);
}

/** The clock of a node, and whether somebody keeps it right. */
export function nodeClock({ node, ahead, timeSync }: NodeFacts): Finding {
  const fix = `on ${node}: install chrony, systemctl enable --now chronyd; compare with: date -u`;
  const row = clock(node, ahead, fix);
  return row.state === "ok" && timeSync ? ok(`${row.what}, kept by ${timeSync}`) : row;
}

/** Refuses nodes (exit 3) that cannot attach Longhorn's volumes, with what each lacks and how to repair it. */
export async function refuseUnfitNodes(cluster: Cluster, say?: Subject["say"]): Promise<void> {
  const complaints = (await nodeFacts(cluster, say)).flatMap((node) =>
    [iscsi(node, cluster), mounts(node)].filter(({ state }) => state === "fail")
      .map(({ what, fix }) => `node ${node.node}: ${what}\nfix: ${fix}`)
  );
  if (complaints.length === 0) return;
  throw prerequisiteError(`Cannot run Longhorn on ${cluster.id}: its nodes lack what it needs`, {
    where: complaints,
    fix: "run the commands above on the node, or take another class: STORAGE=existing",
  });
}

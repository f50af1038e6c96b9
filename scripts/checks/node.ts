// What the facts of a node mean: for every cluster, and for Longhorn.
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { factsOf, type NodeFacts, nodeFacts, UNKNOWN_NODES } from "./node_facts.ts";
import { fail, type Finding, hidden, ok, type Subject, warn } from "../../lib/core/check.ts";

type Judge = (facts: NodeFacts, cluster: Cluster) => Finding;

/** The nodes themselves: that there are some, and that they can be looked at. */
export async function nodes(subject: Subject): Promise<Finding> {
  const facts = await factsOf(subject);
  if (facts.length === 0) {
    return fail("no node is ready", "kubectl get nodes; kubectl describe node");
  }
  return ok(facts.map(({ node, os, kernel }) => `${node} (${os}, kernel ${kernel})`).join(", "));
}

/** A check that judges every node; several nodes are told apart where something is wrong. */
export function onNodes(judge: Judge) {
  return async (subject: Subject): Promise<Finding | Finding[]> => {
    const facts = await factsOf(subject).catch(() => []);
    if (facts.length === 0) return hidden(UNKNOWN_NODES);
    return facts.map((node) => {
      const finding = judge(node, subject.cluster);
      if (facts.length === 1 || finding.state === "ok") return finding;
      return { ...finding, what: `${node.node}: ${finding.what}` };
    });
  };
}

/** Smallest values that OpenSearch, Fluent Bit and the rest of the pods are content with. */
const MAP_COUNT = 262_144, INSTANCES = 512, WATCHES = 65_536;

/** Kernel settings for what the steps want to run. */
export async function kernel(subject: Subject): Promise<Finding | Finding[]> {
  // OpenSearch maps its files into memory unless it is told not to.
  const maps = (await subject.objects()).some(({ data }) =>
    data?.["opensearch.yml"] && !/node\.store\.allow_mmap: false/.test(data["opensearch.yml"])
  );
  return await onNodes((facts) => sysctls(facts, { maps }))(subject);
}

/** Kernel settings; `maps` tells whether OpenSearch maps its files into memory. */
export function sysctls(facts: NodeFacts, { maps }: { maps: boolean }): Finding {
  const { mapCount, inotifyInstances, inotifyWatches } = facts;
  const settings = [
    { name: "vm.max_map_count", is: mapCount, wanted: maps ? MAP_COUNT : 0 },
    { name: "fs.inotify.max_user_instances", is: inotifyInstances, wanted: INSTANCES },
    { name: "fs.inotify.max_user_watches", is: inotifyWatches, wanted: WATCHES },
  ];
  const low = settings.filter(({ is, wanted }) => is < wanted);
  if (low.length === 0) {
    return ok(`max_map_count ${mapCount}, inotify ${inotifyInstances} / ${inotifyWatches}`);
  }
  const seen = low.map(({ name, is, wanted }) => `${name} is ${is}, needed ${wanted}`).join(", ");
  const lines = low.map(({ name, wanted }) => `${name}=${wanted}`).join("\\n");
  const fix = `on ${facts.node}: printf '${lines}\\n' >/etc/sysctl.d/90-kubernetes.conf && ` +
    "sysctl --system";
  return low[0]!.name === "vm.max_map_count" ? fail(seen, fix) : warn(seen, fix);
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
    return fail(
      missing.join(", "),
      `on ${facts.node}: ${installIscsi(os)} && ${boot} && systemctl enable --now iscsid`,
    );
  }
  if (iscsiTcp === "available") return warn("iscsi_tcp is not loaded", `on ${facts.node}: ${boot}`);
  return ok("iscsid, iscsiadm, iscsi_tcp");
}

function installIscsi(os: string): string {
  if (/debian|ubuntu/.test(os)) return "apt-get install -y open-iscsi";
  if (/rhel|fedora|centos/.test(os)) return "dnf install -y iscsi-initiator-utils";
  if (/suse/.test(os)) return "zypper install -y open-iscsi";
  return "install open-iscsi (apt-get) or iscsi-initiator-utils (dnf)";
}

/** Without it a volume that is mounted after a pod's start never shows in the pod. */
export function mounts({ node, mountsShared }: NodeFacts): Finding {
  if (mountsShared) return ok("shared");
  return fail(
    "mounts of the node do not spread into pods",
    `on ${node}: mount --make-rshared / (and at boot, before kubelet)`,
  );
}

/** It takes Longhorn's devices before the kubelet can. */
export function multipath({ node, multipathd }: NodeFacts, cluster: Cluster): Finding {
  if (!multipathd) return ok("multipathd does not run");
  if (text(cluster, "STORAGE") !== "longhorn") return ok("multipathd runs; no Longhorn here");
  return warn(
    "multipathd runs: it may take the devices of Longhorn's volumes",
    `on ${node}: let /etc/multipath.conf ignore them (blacklist { devnode "^sd[a-z0-9]+" }), ` +
      "or systemctl disable --now multipathd multipathd.socket",
  );
}

/** Kubernetes 1.35 and later ask for cgroup v2. */
export function cgroup({ node, cgroup }: NodeFacts): Finding {
  if (cgroup === 2) return ok("cgroup v2");
  return warn(
    "cgroup v1, which Kubernetes gives up",
    `on ${node}: boot with systemd.unified_cgroup_hierarchy=1`,
  );
}

/** More is a warning; from the second on S3 refuses every request. */
const SKEW = 5, SKEW_REFUSED = 15 * 60;

/** A clock against the one of this machine; `ahead` in seconds. */
export function clock(whose: string, ahead: number, fix: string): Finding {
  const off = Math.abs(ahead);
  const seen = off < 1
    ? `${whose} as here`
    : `${whose} ${off.toFixed(0)} s ${ahead > 0 ? "ahead of" : "behind"} this machine`;
  if (off > SKEW_REFUSED) return fail(seen, fix, ExitCode.prerequisite);
  return off > SKEW ? warn(seen, fix) : ok(seen);
}

/** The clock of a node, and whether somebody keeps it right. */
export function nodeClock({ node, ahead, timeSync }: NodeFacts): Finding {
  const fix = `on ${node}: install chrony, systemctl enable --now chronyd; compare with: date -u`;
  const row = clock(node, ahead, fix);
  return row.state === "ok" && timeSync ? ok(`${row.what}, kept by ${timeSync}`) : row;
}

/**
 * Refuses nodes that cannot attach Longhorn's volumes, before anything is applied there.
 * @throws {DeployError} exit 3 with every node, what it lacks and the commands that repair it.
 */
export async function refuseUnfitNodes(
  cluster: Cluster,
  say?: (text: string) => void,
): Promise<void> {
  const complaints = (await nodeFacts(cluster, say)).flatMap((node) =>
    [iscsi(node, cluster), mounts(node)].filter(({ state }) => state === "fail")
      .map(({ what, fix }) => `node ${node.node}: ${what}\nfix: ${fix}`)
  );
  if (complaints.length === 0) return;
  throw new DeployError(`Cannot run Longhorn on ${cluster.id}: its nodes lack what it needs`, {
    exitCode: ExitCode.prerequisite,
    where: complaints,
    fix: "run the commands above on the node, or take another class: STORAGE=existing",
  });
}

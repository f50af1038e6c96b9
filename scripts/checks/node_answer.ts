// What a node answers when it is looked at: the lines of node.sh as facts.
import { DeployError, ExitCode } from "../../lib/core/error.ts";

/** What node.sh found on a node. */
export interface NodeFacts {
  node: string;
  /** Seconds by which the node's clock is ahead of ours; 0 when that cannot be told apart. */
  ahead: number;
  /** ID and ID_LIKE of its system, such as `ubuntu debian`. */
  os: string;
  kernel: string;
  mapCount: number;
  inotifyInstances: number;
  inotifyWatches: number;
  cgroup: number;
  /** iscsid runs, or systemd starts it at the first login. */
  iscsid: boolean;
  iscsiadm: boolean;
  iscsiTcp: "loaded" | "available" | "missing";
  multipathd: boolean;
  /** Program that keeps the clock right. */
  timeSync?: string;
  /** New mounts of the node spread into pods. */
  mountsShared: boolean;
  /** Of the disk of LONGHORN_DATA_PATH, in bytes. */
  diskBytes: number;
  diskFreeBytes: number;
  /** TCP ports that something listens on. */
  listens: number[];
  /** A firewall that is switched on. */
  firewall?: string;
  /** Search domains of its names that answer for every name. */
  wildcards: string[];
  /** Where its container runtime keeps images and containers, and that disk in bytes. */
  imagesPath: string;
  imagesBytes: number;
  imagesFreeBytes: number;
}

/** What is thrown where the pod that looks at a node could not tell. */
export function unseen(where: string[]): DeployError {
  return new DeployError("Cannot look at the node: the pod that should told nothing", {
    exitCode: ExitCode.prerequisite,
    where,
    fix: "look at what the node says (kubectl describe node), and whether it can pull images",
  });
}

/**
 * Reads the lines of node.sh; `from` and `to` (as of `Date.now()`) are when the pod was asked for and
 * when its answer was there.
 * @throws {DeployError} exit 3 when the answer is cut short.
 */
export function parseFacts(
  node: string,
  answer: string,
  { from, to }: { from: number; to: number },
): NodeFacts {
  const facts = new Map(
    answer.split("\n").filter((line) => line.includes("=")).map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
  if (!facts.has("end")) throw unseen([`node ${node} answered: ${answer.trim().slice(-300)}`]);
  const of = (name: string) => Number(facts.get(name) ?? NaN);
  const words = (name: string) => (facts.get(name) ?? "").split(" ").filter(Boolean);
  const yes = (name: string) => facts.get(name) === "yes";
  const time = of("time");
  return {
    node,
    // Whole seconds on the node: any time of ours between the two may be the same one.
    ahead: time + 1 < from / 1000 ? time - from / 1000 : time > to / 1000 ? time - to / 1000 : 0,
    os: [facts.get("os"), facts.get("os_like")].filter(Boolean).join(" "),
    kernel: facts.get("kernel") ?? "",
    mapCount: of("max_map_count"),
    inotifyInstances: of("max_user_instances"),
    inotifyWatches: of("max_user_watches"),
    cgroup: of("cgroup"),
    iscsid: yes("iscsid") || yes("iscsi_socket"),
    iscsiadm: yes("iscsiadm"),
    iscsiTcp: facts.get("iscsi_tcp") as NodeFacts["iscsiTcp"],
    multipathd: yes("multipathd"),
    timeSync: facts.get("time_sync"),
    mountsShared: yes("mounts_shared"),
    diskBytes: of("disk_kib") * 1024,
    diskFreeBytes: of("disk_free_kib") * 1024,
    listens: words("listens").map(Number),
    firewall: facts.get("firewall"),
    wildcards: words("wildcards"),
    imagesPath: facts.get("images_path") ?? "",
    imagesBytes: of("images_kib") * 1024,
    imagesFreeBytes: of("images_free_kib") * 1024,
  };
}

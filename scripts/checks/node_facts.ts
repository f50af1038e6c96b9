// Facts of the nodes that no API tells, read by a short pod on each: a Job that the cluster removes where we cannot.
import { readFile } from "node:fs/promises";
import { fail, type Finding, hiddenBy, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode, prerequisiteError, SlowError } from "../../lib/core/error.ts";
import { withValue } from "../../lib/core/object.ts";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { conditionOf, objectsEverywhere } from "../../lib/kube/api.ts";
import { readJob, runName } from "../../lib/probe/job.ts";
import { renderFile } from "../../lib/render/render.ts";

/** What a check says that cannot do without them. */
export const UNKNOWN_NODES = "not looked at: see Nodes";

/** The facts of every node, for all checks of a subject; the check Nodes says why there are none. */
export function factsOf({ cluster, once, say }: Subject): Promise<NodeFacts[]> {
  const read = async () => hiddenBy(cluster) ? [] : await nodeFacts(cluster, say);
  return once("facts of the nodes", read);
}

/** The facts of every Linux node that is ready. @throws {DeployError} exit 3; {@link SlowError} after two minutes. */
export async function nodeFacts(cluster: Cluster, say?: Subject["say"]): Promise<NodeFacts[]> {
  const nodes = (await objectsEverywhere(cluster, "nodes"))
    .filter(({ metadata }) => (metadata.labels?.["kubernetes.io/os"] ?? "linux") === "linux")
    .filter((node) => conditionOf(node, "Ready")?.status === "True")
    .map(({ metadata }) => metadata.name);
  const SCRIPT = await readFile(projectPath("scripts/checks/node.sh"), "utf8");
  return await sideBySide(nodes, nodes.length, async (node) => {
    const facts = renderFile("checks/node-facts.yaml", cluster, { NODE: node, SCRIPT });
    const job = withValue(facts, ["metadata", "name"], runName("preflight")), from = Date.now();
    const answer = await readJob(cluster, job, { does: "looks at the node", say })
      .catch((error) => {
        if (!(error instanceof DeployError) || error.exitCode !== ExitCode.notReady) throw error;
        throw error instanceof SlowError ? error : unseen(error.where);
      });
    return parseFacts(node, answer, from, Date.now());
  });
}

function unseen(where: string[]): DeployError {
  return prerequisiteError("Cannot look at the node: the pod that should told nothing", {
    where,
    fix: "look at what the node says (kubectl describe node), and whether it can pull images",
  });
}

/** What node.sh found on a node: sizes in bytes, NaN where it found no number, `ahead` (of our clock) in seconds. */
export type NodeFacts = ReturnType<typeof parseFacts>;

/** The lines of node.sh, asked for at `from` and there at `to` (ms). @throws {DeployError} exit 3 when cut short. */
export function parseFacts(node: string, answer: string, from: number, to: number) {
  const facts = new Map(
    [...answer.matchAll(/^(.*?)=(.*)$/gm)].map(([, name, value]) => [name, value!.trim()]),
  );
  if (!facts.has("end")) throw unseen([`node ${node} answered: ${answer.trim().slice(-300)}`]);
  const of = (name: string) => facts.get(name) ?? "";
  const count = (name: string) => Number(facts.get(name) ?? NaN);
  const bytes = (name: string) => count(name) * 1024;
  const words = (name: string) => of(name).split(" ").filter(Boolean);
  const yes = (name: string) => of(name) === "yes";
  return {
    node,
    ahead: aheadOf(count("time"), from, to),
    // ID and ID_LIKE, such as `ubuntu debian`.
    os: `${of("os")} ${of("os_like")}`.trim(),
    kernel: of("kernel"),
    mapCount: count("max_map_count"),
    inotifyInstances: count("max_user_instances"),
    inotifyWatches: count("max_user_watches"),
    cgroup: count("cgroup"),
    // Systemd may start it at the first login.
    iscsid: yes("iscsid") || yes("iscsi_socket"),
    iscsiadm: yes("iscsiadm"),
    iscsiTcp: of("iscsi_tcp") as "loaded" | "available" | "missing",
    multipathd: yes("multipathd"),
    timeSync: facts.get("time_sync"),
    mountsShared: yes("mounts_shared"),
    // Of LONGHORN_DATA_PATH.
    diskBytes: bytes("disk_kib"),
    diskFreeBytes: bytes("disk_free_kib"),
    listens: words("listens").map(Number),
    firewall: facts.get("firewall"),
    wildcards: words("wildcards"),
    imagesPath: of("images_path"),
    imagesBytes: bytes("images_kib"),
    imagesFreeBytes: bytes("images_free_kib"),
  };
}

/** Seconds by which a clock is ahead that said `time` (whole s) between `from` and `to` (ms); 0 of NaN or if unclear. */
export function aheadOf(time: number, from: number, to: number): number {
  if (time + 1 < from / 1000) return time - from / 1000;
  return time > to / 1000 ? time - to / 1000 : 0;
}

/** A clock against the one of this machine; `ahead` in seconds. */
export function clock(whose: string, ahead: number, fix: string): Finding {
  const off = Math.abs(ahead);
  const seen = off < 1
    ? `${whose} as here`
    : `${whose} ${off.toFixed(0)} s ${ahead > 0 ? "ahead of" : "behind"} this machine`;
  // From then on S3 refuses every request.
  if (off > 15 * 60) return fail(seen, fix);
  return off > 5 ? warn(seen, fix) : ok(seen);
}

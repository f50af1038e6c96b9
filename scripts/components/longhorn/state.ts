// What a cluster says of its Longhorn: how many copies of a volume fit, which upgrade goes, whether it may be taken off,
// and what still keeps it from serving volumes, one line per missing thing.
import { lastWriteOf } from "../../../lib/apply/managers.ts";
import { notReady } from "../../../lib/apply/readiness.ts";
import { type Cluster, number } from "../../../lib/core/cluster.ts";
import { refusalError } from "../../../lib/core/error.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { isOlder } from "../../../lib/core/version.ts";
import { type Condition, conditionOf, liveObjects, reading } from "../../../lib/kube/api.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { LONGHORN_NAMESPACE, longhornKey, wantedTarget } from "./objects.ts";

/** Copies of a volume: as many as wanted, never more than nodes, at least one. */
export function replicasFor(wanted: number, nodes: number): number {
  return Math.max(1, Math.min(wanted, nodes));
}

/** LONGHORN_REPLICAS as far as the schedulable nodes of the cluster allow it; asks the cluster. */
export async function replicasOf(cluster: Cluster): Promise<number> {
  const nodes = await reading(cluster, (api) => api.get("nodes"));
  return replicasFor(number(cluster, "LONGHORN_REPLICAS"), nodes.filter(takesPods).length);
}

/** Whether a node takes pods: neither cordoned nor closed to ordinary pods by a taint. */
export function takesPods({ spec }: Manifest): boolean {
  return !spec?.unschedulable &&
    !(spec?.taints ?? []).some(({ effect }: { effect: string }) => effect !== "PreferNoSchedule");
}

/** Why Longhorn may not be deleted. There is always a reason: without its own Job it leaves a stuck namespace. */
export async function keepsFromPrune(cluster: Cluster): Promise<string | undefined> {
  const volumes = await reading(cluster, (api) => api.get("persistentvolumes"));
  const own = volumes.filter(({ spec }) => spec?.csi?.driver === "driver.longhorn.io").length;
  if (own > 0) return own === 1 ? "1 volume is still there" : `${own} volumes are still there`;
  return "Longhorn is uninstalled by its own Job: docs/longhorn.md#uninstall-longhorn";
}

/** Refuses (exit 4) a bundle to which Longhorn's data cannot go, for it goes forward alone; a note where it changes. */
export async function checkUpgrade(cluster: Cluster, objects: Manifest[]) {
  const there = await liveObjects(cluster, "daemonsets.apps", LONGHORN_NAMESPACE);
  const live = versionIn(there), wanted = versionIn(objects);
  if (!live || !wanted || live === wanted) return undefined;
  const [major, minor] = live.replace("v", "").split(".").map(Number);
  const why = isOlder(wanted, live)
    ? "it cannot go back: volumes and objects are of the newer format"
    : !isOlder(wanted, `${major}.${minor! + 2}`) && "it goes up by one minor version at a time";
  if (!why) {
    return `Longhorn goes from ${live} to ${wanted}; attached volumes keep their old engine until ` +
      "they are upgraded (docs/longhorn.md#upgrade-longhorn)";
  }
  throw refusalError(`Refused: Longhorn cannot go from ${live} to ${wanted}`, {
    where: `${why}; the cluster is ${cluster.id}`,
    fix: "pin the next minor in manifests/upstream.lock.json, deploy, and go on from there",
  });
}

function versionIn(objects: Manifest[]): string | undefined {
  const id = `DaemonSet/${LONGHORN_NAMESPACE}/longhorn-manager`;
  const manager = objects.find((one) => idOf(one) === id);
  return /:(v?\d+\.\d+\.\d+)/.exec(manager?.spec.template.spec.containers[0].image)?.[1];
}

// Made by the driver deployer, so they are in no bundle.
const DRIVER = ["csi-attacher", "csi-provisioner", "csi-resizer", "csi-snapshotter"]
  .map((name) => `Deployment/${LONGHORN_NAMESPACE}/${name}`)
  .concat(`DaemonSet/${LONGHORN_NAMESPACE}/longhorn-csi-plugin`);

/** Parts of the CSI driver that do not run yet. */
export async function driverMissing(cluster: Cluster): Promise<string[]> {
  const live = await liveObjects(cluster, "deployments.apps,daemonsets.apps", LONGHORN_NAMESPACE);
  return DRIVER.flatMap((id) => {
    const object = live.find((object) => idOf(object) === id);
    const trouble = object ? notReady(object) : { reason: "not made yet" };
    return trouble ? [`${id}: ${trouble.reason}`] : [];
  });
}

/** Engine images that are not on every node yet, and nodes that take no volumes. */
export async function nodesMissing(cluster: Cluster): Promise<string[]> {
  const resources = "engineimages.longhorn.io,nodes.longhorn.io";
  const live = await liveObjects(cluster, resources, LONGHORN_NAMESPACE);
  const images = live.filter(({ kind }) => kind === "EngineImage");
  const nodes = live.filter(({ kind }) => kind === "Node");
  return [
    ...(images.length ? [] : ["EngineImage: none yet"]),
    ...images.filter(({ status }) => status?.state !== "deployed")
      .map((image) => `${idOf(image)}: state ${image.status?.state ?? "unknown"}`),
    ...(nodes.length ? [] : ["Node of Longhorn: none yet"]),
    ...nodes.flatMap((node) =>
      ["Ready", "Schedulable"].flatMap((type) => {
        const condition = conditionOf(node, type);
        if (condition?.status === "True") return [];
        const why = condition ? `${condition.reason}: ${condition.message}` : "not said yet";
        return [`${idOf(node)} of Longhorn is not ${type}: ${why}`];
      })
    ),
  ];
}

/** What Longhorn finds wrong with its nodes though it works (packages, multipathd, NFS client). */
export async function nodeComplaints(cluster: Cluster): Promise<string[]> {
  const nodes = await liveObjects(cluster, "nodes.longhorn.io", LONGHORN_NAMESPACE);
  return nodes.flatMap(({ metadata, status }) =>
    (status?.conditions ?? [] as Condition[])
      .filter(({ status }: Condition) => status === "False")
      .map(({ type, message }: Condition) => `node ${metadata.name}, ${type}: ${message}`)
  );
}

const SKEW = 10_000; // ms by which the clocks of a node and of the API server may differ

/** Why backups cannot be stored, in Longhorn's words; older than its target, its key or `since` (ms) they do not count. */
export async function backupTargetMissing(cluster: Cluster, since = 0): Promise<string[]> {
  const names = ["backuptargets.longhorn.io/default", `secrets/${longhornKey.name}`];
  const flags = ["--ignore-not-found", "--show-managed-fields", "--output", "json"];
  const answer = await kubectl(["get", ...names, "-n", LONGHORN_NAMESPACE, ...flags], { cluster });
  const live: Manifest[] = answer.trim() ? JSON.parse(answer).items : [];
  const target = live.find(({ metadata }) => metadata.name === "default");
  if (!target) return ["BackupTarget default: not made yet"];
  const { spec = {}, status: { available, lastSyncedAt } = {} } = target as Manifest;
  const url = wantedTarget(cluster)["backup-target"];
  if (spec.backupTargetURL !== url || spec.credentialSecret !== longhornKey.name) {
    const now = `${spec.backupTargetURL || "none"} by ${spec.credentialSecret || "no Secret"}`;
    return [`BackupTarget default is ${now}, wanted ${url} by ${longhornKey.name}`];
  }
  if (available !== true) {
    const why = conditionOf(target, "Unavailable")?.message || "not available yet";
    return [`BackupTarget ${url}: ${why}`];
  }
  const secret = live.find((one) => one !== target);
  const [seen, asked, written] = [lastSyncedAt, spec.syncRequestedAt, lastWriteOf(secret).last?.at]
    .map((time) => Date.parse(time ?? "") || 0);
  if (seen! >= Math.max(since, asked!, written! - SKEW)) return [];
  return [`BackupTarget default: Longhorn has not looked at it since ${lastSyncedAt || "ever"}`];
}

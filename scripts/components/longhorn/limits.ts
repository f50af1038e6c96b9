// What a cluster allows of Longhorn: how many copies of a volume, which upgrade, and that it is taken off.
import { type Cluster, number } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { reading } from "../../../lib/kube/api.ts";
import { liveObjects } from "../../../lib/kube/list.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { LONGHORN_NAMESPACE } from "./objects.ts";

/** Of a deploy, which waits for a server that restarts. */
function all(cluster: Cluster, resource: string): Promise<Manifest[]> {
  return reading(cluster, (api) => api.get(resource));
}

/** Copies of a volume: as many as wanted, never more than nodes, at least one. */
export function replicasFor(wanted: number, nodes: number): number {
  return Math.max(1, Math.min(wanted, nodes));
}

/** LONGHORN_REPLICAS as far as the schedulable nodes of the cluster allow it; asks the cluster. */
export async function replicasOf(cluster: Cluster): Promise<number> {
  const nodes = schedulable(await all(cluster, "nodes"));
  return replicasFor(number(cluster, "LONGHORN_REPLICAS"), nodes);
}

/** How many nodes take pods: neither cordoned nor closed to ordinary pods by a taint. */
export function schedulable(nodes: Manifest[]): number {
  return nodes.filter(takesPods).length;
}

/** Whether that node is one of them. */
export function takesPods({ spec }: Manifest): boolean {
  return !spec?.unschedulable &&
    !(spec?.taints ?? []).some(({ effect }: { effect: string }) => effect !== "PreferNoSchedule");
}

/** Why Longhorn may not be deleted. There is always a reason: without its own Job it leaves a stuck namespace. */
export async function keepsFromPrune(cluster: Cluster): Promise<string | undefined> {
  const volumes = await all(cluster, "persistentvolumes");
  const own = volumes.filter(({ spec }) => spec?.csi?.driver === "driver.longhorn.io").length;
  if (own === 1) return "1 volume is still there";
  if (own > 0) return `${own} volumes are still there`;
  return "Longhorn is uninstalled by its own Job: docs/longhorn.md#uninstall-longhorn";
}

/**
 * Refuses (exit 4) a bundle that the cluster's Longhorn cannot be upgraded to: its data has a format that only goes
 * forward, minor by minor. Gives a note for the operator when the version changes; undefined when it does not, or
 * nothing is there yet.
 */
export async function checkUpgrade(
  cluster: Cluster,
  objects: Manifest[],
): Promise<string | undefined> {
  const there = await liveObjects(cluster, "daemonsets.apps", LONGHORN_NAMESPACE);
  const live = versionIn(there), wanted = versionIn(objects);
  if (!live || !wanted || live === wanted) return undefined;
  const why = obstacle(live, wanted);
  if (!why) {
    return `Longhorn goes from ${live} to ${wanted}; attached volumes keep their old engine until ` +
      "they are upgraded (docs/longhorn.md#upgrade-longhorn)";
  }
  throw new DeployError(`Refused: Longhorn cannot go from ${live} to ${wanted}`, {
    exitCode: ExitCode.refused,
    where: `${why}; the cluster is ${cluster.id}`,
    fix: "pin the next minor in manifests/upstream.lock.json, deploy, and go on from there",
  });
}

/** Why Longhorn does not go from one version to the other; undefined when it does. */
function obstacle(live: string, wanted: string): string | undefined {
  const [from, to] = [live, wanted].map((text) => /^v?(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1));
  if (!from || !to) return undefined;
  const [major, minor, patch] = to.map((part, index) => Number(part) - Number(from[index]));
  if (major! < 0 || (major === 0 && (minor! < 0 || (minor === 0 && patch! < 0)))) {
    return "it cannot go back: volumes and objects are of the newer format";
  }
  if (major! > 0 || minor! > 1) return "it goes up by one minor version at a time";
}

function versionIn(objects: Manifest[]): string | undefined {
  const manager = objects.find(({ kind, metadata }) =>
    kind === "DaemonSet" && metadata.name === "longhorn-manager"
  );
  const image: string = manager?.spec.template.spec.containers[0].image ?? "";
  return /:([^:@/]+)(@|$)/.exec(image)?.[1];
}

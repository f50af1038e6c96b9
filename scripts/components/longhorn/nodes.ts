// How many copies of a volume the nodes of a cluster can hold.
import { type Cluster, number } from "../../../lib/core/cluster.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import type { Manifest } from "../../../lib/core/object.ts";

/** Copies of a volume: as many as wanted, never more than nodes, at least one. */
export function replicasFor(wanted: number, nodes: number): number {
  return Math.max(1, Math.min(wanted, nodes));
}

/** LONGHORN_REPLICAS as far as the schedulable nodes of the cluster allow it; asks the cluster. */
export async function replicasOf(cluster: Cluster): Promise<number> {
  const list = JSON.parse(await kubectl(["get", "nodes", "-o", "json"], { cluster }));
  return replicasFor(number(cluster, "LONGHORN_REPLICAS"), schedulable(list.items));
}

/** Nodes that take pods: neither cordoned nor closed to ordinary pods by a taint. */
export function schedulable(nodes: Manifest[]): number {
  return nodes.filter(({ spec }) =>
    !spec?.unschedulable &&
    !(spec?.taints ?? []).some(({ effect }: { effect: string }) => effect !== "PreferNoSchedule")
  ).length;
}

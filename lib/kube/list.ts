// Objects as the cluster has them, also those that other programs made.
import type { Cluster } from "../core/cluster.ts";
import { reading } from "./api.ts";
import type { Chosen } from "./discovery.ts";
import type { Manifest } from "../core/object.ts";

/** The objects of these kinds (`deployments.apps,pods`) in a namespace, all or with these `labels`. */
export function liveObjects(cluster: Cluster, kinds: string, namespace: string, labels?: string) {
  return reading(cluster, (api) => api.get(kinds, { namespace, labels }));
}

/** The objects of a kind in all namespaces, within 20 s. */
export function objectsEverywhere(cluster: Cluster, kind: string, chosen?: Chosen) {
  return reading(cluster, (api) => api.get(kind, chosen), 20);
}

/** One of `status.conditions`. */
export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  observedGeneration?: number;
}

/** The condition of that type, or undefined while nobody has set it. */
export function conditionOf({ status }: Manifest, type: string): Condition | undefined {
  return status?.conditions?.find((condition: Condition) => condition.type === type);
}

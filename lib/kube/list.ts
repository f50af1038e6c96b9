// Objects as the cluster has them, also those that other programs made.
import type { Cluster } from "../core/cluster.ts";
import { reading } from "./api.ts";
import type { Chosen } from "./discovery.ts";
import type { Manifest } from "../core/object.ts";

/** The objects of these resources (`deployments.apps,pods`) in a namespace, all or with these `labels`. */
export function liveObjects(
  cluster: Cluster,
  resources: string,
  namespace: string,
  labels?: string,
): Promise<Manifest[]> {
  return reading(cluster, (api) => api.get(resources, { namespace, labels }));
}

/** The objects of a resource in all namespaces, within 20 s. */
export function objectsEverywhere(
  cluster: Cluster,
  resource: string,
  chosen?: Omit<Chosen, "namespace">,
): Promise<Manifest[]> {
  return reading(cluster, (api) => api.get(resource, chosen), 20);
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

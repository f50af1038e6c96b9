// Objects as the cluster has them, also those that other programs made.
import type { Cluster } from "../core/cluster.ts";
import { kubectl } from "./kubectl.ts";
import type { Manifest } from "../core/object.ts";

/** The objects of these resources (`deployments,daemonsets`) in a namespace. */
export async function liveObjects(
  cluster: Cluster,
  resources: string,
  namespace: string,
): Promise<Manifest[]> {
  const list = await kubectl(["get", resources, "-n", namespace, "-o", "json"], { cluster });
  return JSON.parse(list).items;
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

/** The objects of a resource in all namespaces, within 20 s; `flags` as `kubectl get` takes them. */
export async function objectsEverywhere(
  cluster: Cluster,
  resource: string,
  ...flags: string[]
): Promise<Manifest[]> {
  const words = ["get", resource, "--all-namespaces", ...flags, "-o", "json"];
  return JSON.parse(await kubectl(words, { cluster, seconds: 20 })).items;
}

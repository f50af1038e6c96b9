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

// Who talks to the ingress controller, where it is ours.
import { type Cluster, list, text } from "../../../lib/core/cluster.ts";
import type { Network } from "../../../lib/core/network.ts";
import { controllerOf, door, toApiServer } from "../network/ends.ts";

/** Flows of 05-ingress; its ways to other programs are told with theirs. */
export function ingressNetwork(cluster: Cluster): Network {
  const controller = controllerOf(cluster);
  if (!controller) return { workloads: [], flows: [] };
  const { workload, ports } = controller;
  const longhornUi = { namespace: "longhorn-system", pod: "longhorn-ui", label: "app" };
  return {
    workloads: [workload],
    flows: [
      { from: { networks: list(cluster, "ADMIN_CIDR") }, to: workload, ports },
      ...toApiServer(cluster, workload),
      // Policies of its own namespace are upstream's.
      ...(text(cluster, "STORAGE") === "longhorn" ? door(cluster, longhornUi, 8000) : []),
    ],
  };
}

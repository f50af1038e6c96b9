// Who talks to the ingress controller; its ways to programs are those of the programs' own steps.
import { type Cluster, list } from "../../../lib/core/cluster.ts";
import type { Network } from "../../../lib/core/network.ts";
import { controllerOf, toApiServer } from "../network/ends.ts";

/** Flows of 05-ingress, where the controller is ours. */
export function ingressNetwork(cluster: Cluster): Network {
  const { workload, ports } = controllerOf(cluster)!;
  return {
    closes: [workload.namespace],
    workloads: [workload],
    flows: [
      { from: { networks: list(cluster, "ADMIN_CIDR") }, to: workload, ports },
      ...toApiServer(cluster, workload),
    ],
  };
}

// Who talks to whom in a cluster with NETWORK_POLICIES: everything else is refused. Each component tells its
// flows; a namespace is closed by one step with the flows of all, for one that was opened step by step would
// cut what runs already.
import { type Cluster, flag } from "../lib/core/cluster.ts";
import { type Flow, networkPolicies } from "../lib/core/network.ts";
import type { Manifest } from "../lib/core/object.ts";
import { ingressNetwork } from "./components/ingress/flows.ts";
import { loggingNetwork } from "./components/logging/flows.ts";
import { DNS } from "./components/network/ends.ts";
import { prometheusNetwork } from "./components/prometheus/flows.ts";
import { thanosNetwork } from "./components/thanos/flows.ts";

const NETWORKS = [ingressNetwork, prometheusNetwork, thanosNetwork, loggingNetwork];

/** Policies of these namespaces; none without NETWORK_POLICIES. Every workload may ask for names. */
export function policiesIn(cluster: Cluster, ...namespaces: string[]): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const networks = NETWORKS.map((network) => network(cluster));
  const workloads = networks.flatMap(({ workloads }) => workloads);
  const names = workloads.map((from): Flow => ({ from, to: DNS, ports: [53], udp: true }));
  const flows = [...names, ...networks.flatMap(({ flows }) => flows)];
  return networkPolicies(namespaces, { workloads, flows });
}

// Whether somebody on the cluster carries NetworkPolicies out; the API server only keeps them.
import { type Cluster, flag } from "../../../lib/core/cluster.ts";
import { objectsEverywhere } from "../../../lib/kube/list.ts";
import { type Finding, ok, type Subject, warn } from "../../../lib/core/check.ts";

/** DaemonSets of the programs that do: none of them means that policies have no effect. */
const ENFORCERS = [
  "antrea-agent",
  "calico-node",
  "canal",
  "cilium",
  "kindnet",
  "kube-network-policies",
  "kube-router",
  "weave-net",
];

/** The network plugin of the cluster that enforces NetworkPolicies, by its DaemonSet; undefined: none. */
export async function enforcerOf(cluster: Cluster): Promise<string | undefined> {
  const sets = await objectsEverywhere(cluster, "daemonsets.apps");
  return sets.map(({ metadata }) => metadata.name)
    .find((name) => ENFORCERS.some((one) => name === one || name.startsWith(`${one}-`)));
}

/** Whether NetworkPolicies, where they are wanted, have an effect. */
export async function policiesEnforced({ cluster }: Subject): Promise<Finding> {
  const found = await enforcerOf(cluster);
  if (found) return ok(`${found} enforces them`);
  if (!flag(cluster, "NETWORK_POLICIES")) {
    return ok("NETWORK_POLICIES=false, and nothing here would enforce them");
  }
  return warn(
    "NETWORK_POLICIES=true, but no network plugin enforces them: everything stays open",
    "start Minikube with --cni=calico (or cilium), or set NETWORK_POLICIES=false",
  );
}

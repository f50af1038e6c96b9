// Whether somebody on the cluster carries NetworkPolicies out; the API server only keeps them.
import { type Cluster, flag } from "../../../lib/core/cluster.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
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
  const columns = ["-o", "jsonpath={range .items[*]}{.metadata.name}{'\\n'}{end}"];
  const list = await kubectl(["get", "daemonsets.apps", "--all-namespaces", ...columns], {
    cluster,
    seconds: 15,
  });
  return list.split("\n")
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

// The flows of a cluster as NetworkPolicies: in each namespace one that refuses everything, and one for
// each workload that lets its flows in and out.
import { type Cluster, flag } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest } from "../../../lib/core/object.ts";
import { type End, type Flow, flows, type Workload, workloads } from "./flows.ts";

const NAME = "app.kubernetes.io/name";

/** Policies of one namespace; none without NETWORK_POLICIES. */
export function networkPolicies(cluster: Cluster, namespace: string): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const all = flows(cluster);
  const own = workloads(cluster).filter((workload) => workload.namespace === namespace);
  return [
    policy("default-deny", namespace, {}, { ingress: [], egress: [] }),
    ...own.map((workload) =>
      policy(workload.pod, namespace, { matchLabels: { [NAME]: workload.pod } }, {
        ingress: all.filter(({ to }) => isAt(to, workload))
          .map((flow) => ({ from: peers(flow.from), ports: portsOf(flow) })),
        egress: all.filter(({ from }) => isAt(from, workload))
          .map((flow) => ({ to: peers(flow.to), ports: portsOf(flow) })),
      })
    ),
  ];
}

function isAt(end: End, { namespace, pod }: Workload): boolean {
  return "pod" in end && end.namespace === namespace && end.pod === pod;
}

function peers(end: End): unknown[] {
  if ("networks" in end) return end.networks.map((cidr) => ({ ipBlock: { cidr } }));
  const { namespace, pod, label = NAME } = end;
  return [{
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    podSelector: { matchLabels: { [label]: pod } },
  }];
}

function portsOf({ ports, udp }: Flow): unknown[] {
  return ports.flatMap((port) =>
    [...(udp ? ["UDP"] : []), "TCP"].map((protocol) => ({ port, protocol }))
  );
}

interface Rules {
  ingress: unknown[];
  egress: unknown[];
}

function policy(name: string, namespace: string, podSelector: unknown, rules: Rules): Manifest {
  const labels = labelsOf({ name, component: "network", partOf: "network", version: "v1" });
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace, labels },
    spec: { podSelector, policyTypes: ["Ingress", "Egress"], ...rules },
  };
}

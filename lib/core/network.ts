// Who may talk to whom, as NetworkPolicies, which see the ports of pods, not those of Services.
import { BlockList } from "node:net";
import { labelsOf, type Manifest } from "./object.ts";

/** A workload of ours by the name label of its pods; its namespace is closed but for its flows. */
export interface Workload {
  namespace: string;
  pod: string;
}

/** One end of a flow: ours, pods of others by a `label` of theirs (nothing is closed there), or addresses (CIDR). */
export type End = Workload & { label?: string } | { networks: string[] };

/** Connections that are opened from one end to ports of another, by TCP, or UDP too. */
export interface Flow {
  from: End;
  to: End;
  ports: number[];
  udp?: boolean;
}

/** The policies of these namespaces: one that refuses everything, and one for each workload that lets its flows through. */
export function networkPolicies(
  namespaces: string[],
  workloads: Workload[],
  flows: Flow[],
): Manifest[] {
  const own = workloads.filter(({ namespace }) => namespaces.includes(namespace));
  const open = own.map(({ namespace, pod }) => {
    const isHere = (end: End) => "pod" in end && end.namespace === namespace && end.pod === pod;
    const ingress = flows.filter(({ to }) => isHere(to))
      .map((flow) => ({ from: peers(flow.from), ports: portsOf(flow) }));
    const egress = flows.filter(({ from }) => isHere(from))
      .map((flow) => ({ to: peers(flow.to), ports: portsOf(flow) }));
    const podSelector = { matchLabels: { [NAME]: pod } };
    return policy(pod, namespace, { podSelector, ingress, egress });
  });
  const nothing = { podSelector: {}, ingress: [], egress: [] };
  return [...namespaces.map((one) => policy("default-deny", one, nothing)), ...open];
}

/** Whether networks leave nobody out. */
export function isEverywhere(networks: string[]): boolean {
  return networks.some((network) => network.endsWith("/0"));
}

/** Whether an IPv4 address is in one of these networks. */
export function isWithin(address: string, networks: string[]): boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [base, bits] = network.split("/");
    list.addSubnet(base!, Number(bits));
  }
  return list.check(address);
}

const NAME = "app.kubernetes.io/name";

function peers(end: End): unknown[] {
  if ("networks" in end) return end.networks.map((cidr) => ({ ipBlock: { cidr } }));
  return [{
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": end.namespace } },
    podSelector: { matchLabels: { [end.label ?? NAME]: end.pod } },
  }];
}

function portsOf({ ports, udp }: Flow): unknown[] {
  const protocols = udp ? ["UDP", "TCP"] : ["TCP"];
  return ports.flatMap((port) => protocols.map((protocol) => ({ port, protocol })));
}

function policy(name: string, namespace: string, rules: object): Manifest {
  const labels = labelsOf({ name, component: "network", partOf: "network", version: "v1" });
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace, labels },
    spec: { policyTypes: ["Ingress", "Egress"], ...rules },
  };
}

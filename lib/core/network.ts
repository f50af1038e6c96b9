// Who may talk to whom, as NetworkPolicies: they add up, so each step opens what it brings. Ports are those of
// the pods, which is what policies see, not those of Services.
import { labelsOf, type Manifest } from "./object.ts";

/** A workload of ours by the name label of its pods; its namespace is closed but for its flows. */
export interface Workload {
  namespace: string;
  pod: string;
}

/** One end of a flow. */
export type End =
  | Workload
  /** Pods of others by a label of theirs; nothing is closed there. */
  | { namespace: string; pod: string; label: string }
  /** Addresses in CIDR notation. */
  | { networks: string[] };

/** Connections that are opened from one end to ports of another. */
export interface Flow {
  from: End;
  to: End;
  ports: number[];
  /** TCP only unless said. */
  udp?: boolean;
}

/** What a step brings. */
export interface Network {
  /** Its namespaces: everything but the flows of workloads is refused there. */
  closes: string[];
  /** Its own workloads. */
  workloads: Workload[];
  /** Flows between its workloads and others; those to a later step's workloads are that step's. */
  flows: Flow[];
}

/**
 * The policies of a step (`owner`, as `logging`): one that refuses everything in each of its namespaces, and
 * one for each workload of ours at an end of its flows. That of another step's workload is called after both.
 */
export function networkPolicies(owner: string, { closes, workloads, flows }: Network): Manifest[] {
  const ends = flows.flatMap(({ from, to }) => [from, to]).filter(isWorkload);
  const all = new Map([...workloads, ...ends].map((one) => [`${one.namespace}/${one.pod}`, one]));
  return [
    ...closes.map((namespace) =>
      policy("default-deny", namespace, {}, { ingress: [], egress: [] })
    ),
    ...[...all.values()].map(({ namespace, pod }) => {
      const isAt = (end: End) => isWorkload(end) && end.namespace === namespace && end.pod === pod;
      const own = workloads.some(isAt);
      return policy(own ? pod : `${pod}-${owner}`, namespace, { matchLabels: { [NAME]: pod } }, {
        ingress: flows.filter(({ to }) => isAt(to))
          .map((flow) => ({ from: peers(flow.from), ports: portsOf(flow) })),
        egress: flows.filter(({ from }) => isAt(from))
          .map((flow) => ({ to: peers(flow.to), ports: portsOf(flow) })),
      });
    }),
  ];
}

const NAME = "app.kubernetes.io/name";

function isWorkload(end: End): end is Workload {
  return "pod" in end && !("label" in end);
}

function peers(end: End): unknown[] {
  if ("networks" in end) return end.networks.map((cidr) => ({ ipBlock: { cidr } }));
  const label = "label" in end ? end.label : NAME;
  return [{
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": end.namespace } },
    podSelector: { matchLabels: { [label]: end.pod } },
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

// Who may talk to whom (manifests/flows.yaml) as NetworkPolicies, who enforces them, and what stays open (doors.yaml). A
// namespace is closed by one step with the flows of all: opened step by step, it would cut what runs already.
import { isIPv4 } from "node:net";
import { SETTINGS } from "../../../lib/config/schema.ts";
import { type Finding, ok, type Subject, warn } from "../../../lib/core/check.ts";
import { flag, isCase, list, number, text } from "../../../lib/core/cluster.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest } from "../../../lib/core/object.ts";
import type { OpenDoor } from "../../../lib/deploy/step.ts";
import { objectsEverywhere } from "../../../lib/kube/api.ts";
import { renderFile } from "../../../lib/render/render.ts";

type Names = string | string[];

/** The table as its file has it; words for ends and ports are those of {@link endsOf} and {@link portsOf}. */
interface Table {
  workloads: ({ namespace: string; pods: string[] } & Row)[];
  flows: ({ from: Names; to: Names; ports?: (number | string)[] } & Row)[];
}

type Row = { when?: Record<string, string> };

/** Pods by their name label, which ours have, or another `label`. */
type Pods = { namespace: string; pod: string; label?: string };

/** What a word of the table stands for: pods, or addresses (CIDR); with `ports` of its own. */
type End = (Pods | { networks: string[] }) & { ports?: number[] };

/** Connections that are opened, to ports of pods: those of Services are none to a policy. */
type Flow = { from: End; to: End; ports: { port: number; protocol: string }[] };

/** Policies of these namespaces, which are closed but for their flows; none without NETWORK_POLICIES. */
export function policiesIn(cluster: Cluster, ...namespaces: string[]): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const table = renderFile("flows.yaml", cluster).spec as Table;
  const isHere = ({ when }: Row) => isCase(cluster.vars, when);
  const own = table.workloads.filter(isHere).flatMap(({ namespace, pods }) =>
    pods.map((pod): Pods => ({ namespace, pod }))
  );
  const ends = endsOf(cluster), named = portsOf(cluster);
  const known = (names: Names) =>
    [names].flat().flatMap((name): End[] => ends[name] ?? own.filter(({ pod }) => pod === name));
  const flows = table.flows.filter(isHere).flatMap((row) => {
    const ports = (row.ports ?? []).flatMap((port) => named[port] ?? Number(port));
    return known(row.from).flatMap((from) =>
      known(row.to).map((to): Flow => ({ from, to, ports: (to.ports ?? ports).map(byTcp) }))
    );
  }).filter(({ ports }) => ports.length > 0);
  const names = own.map((from): Flow => ({ from, to: DNS, ports: ASKING }));
  const nothing = { podSelector: {}, ingress: [], egress: [] };
  return [
    ...namespaces.map((namespace) => policy("default-deny", namespace, nothing)),
    ...own.filter(({ namespace }) => namespaces.includes(namespace))
      .map((pods) => policyOf(pods, [...names, ...flows])),
  ];
}

function policyOf(own: Pods, flows: Flow[]): Manifest {
  return policy(own.pod, own.namespace, {
    podSelector: { matchLabels: { [NAME]: own.pod } },
    ingress: flows.filter(({ to }) => to === own)
      .map(({ from, ports }) => ({ from: peers(from), ports })),
    egress: flows.filter(({ from }) => from === own)
      .map(({ to, ports }) => ({ to: peers(to), ports })),
  });
}

const NAME = "app.kubernetes.io/name";

function peers(end: End): unknown[] {
  if ("networks" in end) return end.networks.map((cidr) => ({ ipBlock: { cidr } }));
  const { namespace, pod, label = NAME } = end;
  return [{
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    podSelector: { matchLabels: { [label]: pod } },
  }];
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

function byTcp(port: number) {
  return { port, protocol: "TCP" };
}

// Every workload may ask for names.
const DNS = { namespace: "kube-system", pod: "kube-dns", label: "k8s-app" };
const ASKING = [{ port: 53, protocol: "UDP" }, byTcp(53)];
const ANYWHERE = "0.0.0.0/0";

// A policy knows no names.
function networkOf(host: string): string {
  return isIPv4(host) ? `${host}/32` : ANYWHERE;
}

/** Ends that are no workload of ours. Policies of Longhorn's namespace are upstream's. */
export function endsOf(cluster: Cluster): Record<string, End[]> {
  const longhorn = { namespace: "longhorn-system", label: "app" };
  const { hostname } = new URL(text(cluster, "S3_ENDPOINT"));
  const centres = cluster.fleet.filter(({ role }) => role === "central");
  const sidecars = cluster.fleet.filter(({ role }) => role === "edge")
    .map(({ sidecar }) => sidecar.split(":") as [host: string, port: string]);
  // A NodePort keeps the address of who calls, where no other node may pass a call on.
  const passedOn = text(cluster, "NODE_NETWORKS") === "" ? [] : cluster.nodes;
  return {
    dns: [DNS],
    anywhere: [{ networks: [ANYWHERE] }],
    // What is in the network of the nodes, where policies do not reach: exporters, kubelet, API server.
    node: [{ networks: cluster.nodes }],
    people: [{ networks: list(cluster, "ADMIN_CIDR") }],
    "longhorn-ui": [{ ...longhorn, pod: "longhorn-ui" }],
    "longhorn-manager": [{ ...longhorn, pod: "longhorn-manager" }],
    s3: [{ networks: [networkOf(hostname)] }],
    centre: [{ networks: [...centres.flatMap(({ nodes }) => nodes), ...passedOn] }],
    edges: [...Map.groupBy(sidecars, ([, port]) => port)].map(([port, ends]) => (
      { networks: ends.map(([host]) => networkOf(host)), ports: [Number(port)] }
    )),
  };
}

/** Ports that settings tell; none for what is not there. */
export function portsOf(cluster: Cluster): Record<string, number[]> {
  // An image of the site's own that gets its S3 plugin from nowhere has it.
  const plugin = text(cluster, "OPENSEARCH_S3_PLUGIN");
  const fetches = text(cluster, "OPENSEARCH_IMAGE") === SETTINGS.OPENSEARCH_IMAGE!.default;
  return {
    api: [number(cluster, "API_SERVER_PORT")],
    s3: portIn(text(cluster, "S3_ENDPOINT")),
    webhook: portIn(text(cluster, "ALERT_WEBHOOK_URL")),
    plugin: plugin || !fetches ? portIn(plugin) : [443],
  };
}

function portIn(url: string): number[] {
  if (url === "") return [];
  const { port, protocol } = new URL(url);
  return [Number(port) || (protocol === "http:" ? 80 : 443)];
}

// DaemonSets of the programs that enforce policies: without one of them these have no effect.
const ENFORCERS =
  /^(antrea-agent|calico-node|canal|cilium|kindnet|kube-network-policies|kube-router|weave-net)(-|$)/;

/** The network plugin of the cluster that enforces NetworkPolicies, by its DaemonSet; undefined: none. */
export async function enforcerOf(cluster: Cluster): Promise<string | undefined> {
  const sets = await objectsEverywhere(cluster, "daemonsets.apps");
  return sets.map(({ metadata }) => metadata.name).find((name) => ENFORCERS.test(name));
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

/** Gives the doors of a step that a cluster leaves open. */
export function opensOf(step: string): (cluster: Cluster) => OpenDoor[] {
  return (cluster) =>
    (renderFile("doors.yaml", cluster).spec.doors as (OpenDoor & Row & { step: string })[])
      .filter((door) => door.step === step && isCase(cluster.vars, door.when));
}

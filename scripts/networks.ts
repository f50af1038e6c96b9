// The NetworkPolicies of a cluster, from the table of who talks to whom (manifests/flows.yaml). A namespace is closed by
// one step with the flows of all, for one that was opened step by step would cut what runs already.
import { isIPv4 } from "node:net";
import { SETTINGS } from "../lib/config/schema.ts";
import { type Cluster, flag, list, number, type Role, text } from "../lib/core/cluster.ts";
import { type End, type Flow, networkPolicies, type Workload } from "../lib/core/network.ts";
import type { Manifest } from "../lib/core/object.ts";
import { renderFile } from "../lib/render/render.ts";
import { edgesOf } from "./components/thanos/fleet.ts";

/** The table as its file has it; words for ends and ports are those of {@link endsOf} and {@link portsOf}. */
interface Table {
  workloads: { namespace: string; pods: string[]; role?: Role }[];
  flows: {
    from: string | string[];
    to: string | string[];
    /** Default: those of the end. */
    ports?: (number | string)[];
    role?: Role;
  }[];
}

/** One end of a flow, and its ports where the end itself tells them. */
type Known = { end: End; ports?: number[] };

/** Policies of these namespaces; none without NETWORK_POLICIES. Every workload may ask for names. */
export function policiesIn(cluster: Cluster, ...namespaces: string[]): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const table = renderFile("flows.yaml", cluster).spec as Table;
  const isHere = ({ role = cluster.role }: { role?: Role }) => role === cluster.role;
  const controller = CONTROLLERS[text(cluster, "INGRESS")];
  const own = new Map(
    table.workloads.filter(isHere).flatMap(({ namespace, pods }) =>
      pods.map((name): [string, Workload | undefined] => {
        const pod = name === "controller" ? controller?.pod : name;
        return [name, pod === undefined ? undefined : { namespace, pod }];
      })
    ),
  );
  const workloads = [...own.values()].filter((one) => one !== undefined);
  const others = endsOf(cluster), named = portsOf(cluster);
  const known = (names: string | string[]) =>
    [names].flat().flatMap((name): Known[] => {
      const workload = own.get(name);
      return workload ? [{ end: workload }] : others[name] ?? [];
    });
  const flows = table.flows.filter(isHere).flatMap((row) => {
    const ports = (row.ports ?? []).flatMap((port) =>
      typeof port === "number" ? port : named[port] ?? []
    );
    return known(row.from).flatMap(({ end: from }) =>
      known(row.to).map((to): Flow => ({ from, to: to.end, ports: to.ports ?? ports }))
    );
  }).filter(({ ports }) => ports.length > 0);
  const names = workloads.map((from): Flow => ({ from, to: DNS, ports: [53], udp: true }));
  return networkPolicies(namespaces, workloads, [...names, ...flows]);
}

/** The ingress controllers of ours: pods, ports for people, and that of metrics. */
const CONTROLLERS: Record<string, { pod: string; doors: number[]; metrics: number }> = {
  nginx: { pod: "ingress-nginx", doors: [80, 443], metrics: 10254 },
  traefik: { pod: "traefik", doors: [8000, 8443], metrics: 9100 },
};

const DNS = { namespace: "kube-system", pod: "kube-dns", label: "k8s-app" };
const ANYWHERE: End = { networks: ["0.0.0.0/0"] };

/** Ends that are no workload of ours; none for what is not there. Policies of Longhorn's namespace are upstream's. */
export function endsOf(cluster: Cluster): Record<string, Known[]> {
  const longhorn = (pod: string): Known[] =>
    text(cluster, "STORAGE") === "longhorn"
      ? [{ end: { namespace: "longhorn-system", pod, label: "app" } }]
      : [];
  const { hostname } = new URL(text(cluster, "S3_ENDPOINT"));
  const centres = cluster.fleet.filter(({ role }) => role === "central");
  // A NodePort keeps the address of who calls, where no other node may pass a call on.
  const passedOn = text(cluster, "NODE_NETWORKS") === "" ? [] : cluster.nodes;
  return {
    dns: [{ end: DNS }],
    anywhere: [{ end: ANYWHERE }],
    // What is in the network of the nodes, where policies do not reach: exporters, kubelet, API server.
    node: [{ end: { networks: cluster.nodes } }],
    people: [{ end: { networks: list(cluster, "ADMIN_CIDR") } }],
    "longhorn-ui": longhorn("longhorn-ui"),
    "longhorn-manager": longhorn("longhorn-manager"),
    s3: [{ end: isIPv4(hostname) ? { networks: [`${hostname}/32`] } : ANYWHERE }],
    centre: [{ end: { networks: [...centres.flatMap(({ nodes }) => nodes), ...passedOn] } }],
    edges: sidecarsOf(cluster),
  };
}

/** The sidecars of the edges, by their port. A policy knows no names. */
function sidecarsOf(cluster: Cluster): Known[] {
  const sidecars = edgesOf(cluster).map(({ sidecar }) => sidecar.split(":") as [string, string]);
  return [...Map.groupBy(sidecars, ([, port]) => port)].map(([port, ends]) => ({
    end: { networks: ends.map(([host]) => isIPv4(host) ? `${host}/32` : "0.0.0.0/0") },
    ports: [Number(port)],
  }));
}

/** Ports that settings tell; none for what is not there. */
export function portsOf(cluster: Cluster): Record<string, number[]> {
  const controller = CONTROLLERS[text(cluster, "INGRESS")];
  // An image of the site's own that gets its S3 plugin from nowhere has it.
  const plugin = text(cluster, "OPENSEARCH_S3_PLUGIN");
  const fetches = text(cluster, "OPENSEARCH_IMAGE") === SETTINGS.OPENSEARCH_IMAGE!.default;
  return {
    api: [number(cluster, "API_SERVER_PORT")],
    s3: portIn(text(cluster, "S3_ENDPOINT")),
    webhook: portIn(text(cluster, "ALERT_WEBHOOK_URL")),
    plugin: plugin || !fetches ? portIn(plugin) : [443],
    doors: controller?.doors ?? [],
    metrics: controller ? [controller.metrics] : [],
    "control-plane": flag(cluster, "CONTROL_PLANE_METRICS") ? [2381, 10249, 10257, 10259] : [],
  };
}

/** The port of a URL, said or meant; none of an empty text. */
function portIn(url: string): number[] {
  if (url === "") return [];
  const { port, protocol } = new URL(url);
  return [Number(port) || (protocol === "http:" ? 80 : 443)];
}

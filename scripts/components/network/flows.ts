// Who talks to whom in a cluster with NETWORK_POLICIES: everything else is refused. Ports are those of
// the pods, which is what policies see, not those of Services.
import { type Cluster, flag, number, text } from "../../../lib/core/cluster.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";

/** One end of a flow. */
export type End =
  /** Pods by namespace and label; default label: `app.kubernetes.io/name`. */
  | { namespace: string; pod: string; label?: string }
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

/** A workload by the name label of its pods. */
export interface Workload {
  namespace: string;
  pod: string;
}

const monitoring = (pod: string): Workload => ({ namespace: "monitoring", pod });
const DNS: End = { namespace: "kube-system", pod: "kube-dns", label: "k8s-app" };
const PROMETHEUS = monitoring("prometheus");
const ALERTMANAGER = monitoring("alertmanager");
const GRAFANA = monitoring("grafana");
const STATE_METRICS = monitoring("kube-state-metrics");
const OPERATOR = monitoring("prometheus-operator");
const QUERY = monitoring("thanos-query");
const FRONTEND = monitoring("thanos-frontend");
const STORE = monitoring("thanos-store");
const COMPACTOR = monitoring("thanos-compactor");
const RULER = monitoring("thanos-ruler");
const OPENSEARCH: Workload = { namespace: "logging", pod: "opensearch" };
const EXPORTER: Workload = { namespace: "logging", pod: "opensearch-exporter" };
const FLUENT_BIT: Workload = { namespace: "node-agents", pod: "fluent-bit" };

/**
 * Workloads that are fenced in. The node-exporter is not among them: it is in the node's own network,
 * where policies do not reach.
 */
export function workloads(cluster: Cluster): Workload[] {
  const controller = controllerOf(cluster);
  return [
    ...(controller ? [controller.workload] : []),
    ...[PROMETHEUS, ALERTMANAGER, GRAFANA, STATE_METRICS, OPERATOR],
    ...(cluster.role === "central" ? [QUERY, FRONTEND, STORE, COMPACTOR, RULER] : []),
    ...[OPENSEARCH, EXPORTER, FLUENT_BIT],
  ];
}

/** Every flow of a cluster, in the order in which people, data and alerts go. */
export function flows(cluster: Cluster): Flow[] {
  return [
    ...workloads(cluster).map((from): Flow => ({ from, to: DNS, ports: [53], udp: true })),
    ...doors(cluster),
    ...scrapes(cluster),
    ...(cluster.role === "central" ? centre(cluster) : edge(cluster)),
    ...logs(cluster),
    ...alerts(cluster),
    ...objectStore(cluster),
    ...apiServer(cluster),
  ];
}

/** People to the programs, through the ingress. */
function doors(cluster: Cluster): Flow[] {
  const controller = controllerOf(cluster);
  if (!controller) return [];
  const { workload: from, ports } = controller;
  const longhornUi: End = { namespace: "longhorn-system", pod: "longhorn-ui", label: "app" };
  return [
    { from: { networks: text(cluster, "ADMIN_CIDR").split(",") }, to: from, ports },
    { from, to: GRAFANA, ports: [3000] },
    { from, to: OPENSEARCH, ports: [9200] },
    ...(cluster.role === "central" ? [{ from, to: FRONTEND, ports: [9090] }] : []),
    ...(hasLonghorn(cluster) ? [{ from, to: longhornUi, ports: [8000] }] : []),
  ];
}

/** Prometheus to everything that has metrics. */
function scrapes(cluster: Cluster): Flow[] {
  const from = PROMETHEUS;
  const controller = controllerOf(cluster);
  const manager: End = { namespace: "longhorn-system", pod: "longhorn-manager", label: "app" };
  const controlPlane = flag(cluster, "CONTROL_PLANE_METRICS") ? [2381, 10249, 10257, 10259] : [];
  return [
    { from, to: node(cluster), ports: [9100, 10250, ...controlPlane] },
    { from, to: DNS, ports: [9153] },
    { from, to: PROMETHEUS, ports: [8080, 9090, 10902] },
    { from, to: ALERTMANAGER, ports: [8080, 9093] },
    { from, to: GRAFANA, ports: [3000] },
    { from, to: STATE_METRICS, ports: [8080, 8081] },
    { from, to: OPERATOR, ports: [8080] },
    { from, to: EXPORTER, ports: [9114, 9115, 9116] },
    { from, to: FLUENT_BIT, ports: [2020] },
    ...(controller ? [{ from, to: controller.workload, ports: [controller.metrics] }] : []),
    ...(hasLonghorn(cluster) ? [{ from, to: manager, ports: [9500] }] : []),
  ];
}

/** Thanos' own components, and their way to the sidecars of the edges. */
function centre(cluster: Cluster): Flow[] {
  const edges = cluster.fleet.filter(({ role }) => role === "edge").map(({ ip }) => `${ip}/32`);
  return [
    ...[QUERY, FRONTEND].map((to): Flow => ({ from: PROMETHEUS, to, ports: [9090] })),
    ...[STORE, COMPACTOR].map((to): Flow => ({ from: PROMETHEUS, to, ports: [10902] })),
    { from: PROMETHEUS, to: RULER, ports: [8080, 10902] },
    { from: GRAFANA, to: FRONTEND, ports: [9090] },
    { from: FRONTEND, to: QUERY, ports: [9090] },
    ...[PROMETHEUS, STORE, RULER].map((to): Flow => ({ from: QUERY, to, ports: [10901] })),
    ...(edges.length > 0
      ? [{ from: QUERY, to: { networks: edges }, ports: [number(cluster, "SIDECAR_NODE_PORT")] }]
      : []),
    { from: RULER, to: QUERY, ports: [9090] },
    { from: RULER, to: ALERTMANAGER, ports: [9093] },
  ];
}

/** The centre to the sidecar. Its NodePort keeps the address of who calls. */
function edge({ fleet }: Cluster): Flow[] {
  const centres = fleet.filter(({ role }) => role === "central").map(({ ip }) => `${ip}/32`);
  return [
    { from: { networks: centres }, to: PROMETHEUS, ports: [10901] },
    { from: GRAFANA, to: PROMETHEUS, ports: [9090] },
  ];
}

function logs(cluster: Cluster): Flow[] {
  const plugin = pluginPort(cluster);
  return [
    { from: FLUENT_BIT, to: OPENSEARCH, ports: [9200] },
    { from: EXPORTER, to: OPENSEARCH, ports: [9200] },
    { from: OPENSEARCH, to: OPENSEARCH, ports: [9300] },
    ...(plugin ? [{ from: OPENSEARCH, to: ANYWHERE, ports: [plugin] }] : []),
  ];
}

function alerts(cluster: Cluster): Flow[] {
  const url = text(cluster, "ALERT_WEBHOOK_URL");
  return [
    { from: PROMETHEUS, to: ALERTMANAGER, ports: [9093] },
    { from: GRAFANA, to: ALERTMANAGER, ports: [9093] },
    // The address is a secret, and a name has no fixed one.
    ...(url ? [{ from: ALERTMANAGER, to: ANYWHERE, ports: [portOf(url)] }] : []),
  ];
}

/** Blocks and snapshots to S3; Prometheus also asks whether it is there. */
function objectStore(cluster: Cluster): Flow[] {
  const url = text(cluster, "S3_ENDPOINT");
  const { hostname } = new URL(url);
  const to = /^[\d.]+$/.test(hostname) ? { networks: [`${hostname}/32`] } : ANYWHERE;
  const users = [PROMETHEUS, ...(cluster.role === "central" ? [STORE, COMPACTOR, RULER] : [])];
  return [...users, OPENSEARCH].map((from): Flow => ({ from, to, ports: [portOf(url)] }));
}

/** Programs that watch objects, and our own tools, which come in through the API server. */
function apiServer(cluster: Cluster): Flow[] {
  const controller = controllerOf(cluster);
  const watchers = [PROMETHEUS, STATE_METRICS, OPERATOR, FLUENT_BIT];
  if (controller) watchers.push(controller.workload);
  const from = node(cluster);
  return [
    ...watchers.map((from): Flow => ({
      from,
      to: node(cluster),
      ports: [number(cluster, "API_SERVER_PORT")],
    })),
    { from, to: PROMETHEUS, ports: [9090] },
    { from, to: ALERTMANAGER, ports: [9093] },
    { from, to: GRAFANA, ports: [3000] },
    { from, to: OPENSEARCH, ports: [9200] },
    ...(cluster.role === "central" ? [{ from, to: QUERY, ports: [9090] }] : []),
  ];
}

const ANYWHERE: End = { networks: ["0.0.0.0/0"] };

function node(cluster: Cluster): End {
  return { networks: [`${text(cluster, "NODE_IP")}/32`] };
}

function hasLonghorn(cluster: Cluster): boolean {
  return text(cluster, "STORAGE") === "longhorn";
}

interface Controller {
  workload: Workload;
  ports: number[];
  metrics: number;
}

/** The ingress controller, when it is ours. */
function controllerOf(cluster: Cluster): Controller | undefined {
  const workload = (pod: string): Workload => ({ namespace: "ingress-nginx", pod });
  switch (text(cluster, "INGRESS")) {
    case "nginx":
      return { workload: workload("ingress-nginx"), ports: [80, 443], metrics: 10254 };
    case "traefik":
      return { workload: workload("traefik"), ports: [8000, 8443], metrics: 9100 };
  }
}

/**
 * Port of the web server that OpenSearch gets its S3 plugin from; undefined with an image of the site's
 * own and no such server: that image has the plugin.
 */
function pluginPort(cluster: Cluster): number | undefined {
  const url = text(cluster, "OPENSEARCH_S3_PLUGIN");
  if (url) return portOf(url);
  return text(cluster, "OPENSEARCH_IMAGE") === SETTINGS.OPENSEARCH_IMAGE!.default ? 443 : undefined;
}

function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port) || (protocol === "http:" ? 80 : 443);
}

// Who talks to whom in a cluster with NETWORK_POLICIES: everything else is refused. A namespace is closed by one
// step with the flows of all, for one that was opened step by step would cut what runs already.
import { isIPv4 } from "node:net";
import { SETTINGS } from "../lib/config/schema.ts";
import { type Cluster, flag, list, nodesOf, number, text } from "../lib/core/cluster.ts";
import { type End, type Flow, type Network, networkPolicies } from "../lib/core/network.ts";
import type { Manifest } from "../lib/core/object.ts";
import { edgesOf } from "./components/thanos/fleet.ts";

const monitoring = (pod: string) => ({ namespace: "monitoring", pod });

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
const OPENSEARCH = { namespace: "logging", pod: "opensearch" };
const EXPORTER = { namespace: "logging", pod: "opensearch-exporter" };
const FLUENT_BIT = { namespace: "node-agents", pod: "fluent-bit" };
// Of others; policies of Longhorn's namespace are upstream's.
const DNS = { namespace: "kube-system", pod: "kube-dns", label: "k8s-app" };
const LONGHORN_UI = { namespace: "longhorn-system", pod: "longhorn-ui", label: "app" };
const LONGHORN_MANAGER = { namespace: "longhorn-system", pod: "longhorn-manager", label: "app" };
const ANYWHERE: End = { networks: ["0.0.0.0/0"] };

/** Policies of these namespaces; none without NETWORK_POLICIES. Every workload may ask for names. */
export function policiesIn(cluster: Cluster, ...namespaces: string[]): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const parts = [ofIngress, ofPrometheus, ofThanos, ofLogging].map((part) => part(cluster));
  const workloads = parts.flatMap(({ workloads }) => workloads);
  const names = workloads.map((from): Flow => ({ from, to: DNS, ports: [53], udp: true }));
  const flows = [...names, ...parts.flatMap(({ flows }) => flows)];
  return networkPolicies(namespaces, { workloads, flows });
}

function ofIngress(cluster: Cluster): Network {
  const controller = controllerOf(cluster);
  if (!controller) return { workloads: [], flows: [] };
  const { workload, ports } = controller;
  return {
    workloads: [workload],
    flows: [
      flow({ networks: list(cluster, "ADMIN_CIDR") }, workload, ...ports),
      toApiServer(cluster, workload),
      ...(hasLonghorn(cluster) ? door(cluster, LONGHORN_UI, 8000) : []),
    ],
  };
}

/** The node-exporter has no flows: it is in the node's own network, where policies do not reach. */
function ofPrometheus(cluster: Cluster): Network {
  const webhook = text(cluster, "ALERT_WEBHOOK_URL");
  return {
    workloads: [PROMETHEUS, ALERTMANAGER, GRAFANA, STATE_METRICS, OPERATOR],
    flows: [
      ...door(cluster, GRAFANA, 3000),
      ...scrapes(cluster),
      ...(cluster.role === "edge" ? toSidecar(cluster) : []),
      flow(PROMETHEUS, ALERTMANAGER, 9093),
      flow(GRAFANA, ALERTMANAGER, 9093),
      // The address is a secret, and a name has no fixed one.
      ...(webhook ? [flow(ALERTMANAGER, ANYWHERE, portOf(webhook))] : []),
      toS3(cluster, PROMETHEUS),
      ...[PROMETHEUS, STATE_METRICS, OPERATOR].map((from) => toApiServer(cluster, from)),
      fromApiServer(cluster, PROMETHEUS, 9090),
      fromApiServer(cluster, ALERTMANAGER, 9093),
      fromApiServer(cluster, GRAFANA, 3000),
    ],
  };
}

/** Prometheus to what has metrics of its own step and of those before it. */
function scrapes(cluster: Cluster): Flow[] {
  const controller = controllerOf(cluster);
  const controlPlane = flag(cluster, "CONTROL_PLANE_METRICS") ? [2381, 10249, 10257, 10259] : [];
  return [
    flow(PROMETHEUS, node(cluster), 9100, 10250, ...controlPlane),
    flow(PROMETHEUS, DNS, 9153),
    flow(PROMETHEUS, PROMETHEUS, 8080, 9090, 10902),
    flow(PROMETHEUS, ALERTMANAGER, 8080, 9093),
    flow(PROMETHEUS, GRAFANA, 3000),
    flow(PROMETHEUS, STATE_METRICS, 8080, 8081),
    flow(PROMETHEUS, OPERATOR, 8080),
    ...(controller ? [flow(PROMETHEUS, controller.workload, controller.metrics)] : []),
    ...(hasLonghorn(cluster) ? [flow(PROMETHEUS, LONGHORN_MANAGER, 9500)] : []),
  ];
}

/** The centre to the sidecar. Its NodePort keeps the address of who calls, where no other node may pass a call on. */
function toSidecar(cluster: Cluster): Flow[] {
  const centres = cluster.fleet.filter(({ role }) => role === "central");
  const passedOn = text(cluster, "NODE_NETWORKS") === "" ? [] : nodesOf(cluster);
  const networks = [...centres.flatMap(({ nodes }) => nodes), ...passedOn];
  return [flow({ networks }, PROMETHEUS, 10901), flow(GRAFANA, PROMETHEUS, 9090)];
}

/** What is at the centre, and its way to the sidecars of the edges. */
function ofThanos(cluster: Cluster): Network {
  if (cluster.role === "edge") return { workloads: [], flows: [] };
  const sidecars = Map.groupBy(
    edgesOf(cluster).map(({ sidecar }) => sidecar.split(":") as [host: string, port: string]),
    ([, port]) => Number(port),
  );
  return {
    workloads: [QUERY, FRONTEND, STORE, COMPACTOR, RULER],
    flows: [
      ...door(cluster, FRONTEND, 9090),
      ...[QUERY, FRONTEND].map((to) => flow(PROMETHEUS, to, 9090)),
      ...[STORE, COMPACTOR].map((to) => flow(PROMETHEUS, to, 10902)),
      flow(PROMETHEUS, RULER, 8080, 10902),
      flow(GRAFANA, FRONTEND, 9090),
      flow(FRONTEND, QUERY, 9090),
      ...[PROMETHEUS, STORE, RULER].map((to) => flow(QUERY, to, 10901)),
      ...[...sidecars].map(([port, ends]) => {
        // A policy knows no names.
        const networks = ends.map(([host]) => isIPv4(host) ? `${host}/32` : "0.0.0.0/0");
        return flow(QUERY, { networks }, port);
      }),
      flow(RULER, QUERY, 9090),
      flow(RULER, ALERTMANAGER, 9093),
      ...[STORE, COMPACTOR, RULER].map((from) => toS3(cluster, from)),
      fromApiServer(cluster, QUERY, 9090),
    ],
  };
}

function ofLogging(cluster: Cluster): Network {
  const plugin = pluginPort(cluster);
  return {
    workloads: [OPENSEARCH, EXPORTER, FLUENT_BIT],
    flows: [
      ...door(cluster, OPENSEARCH, 9200),
      flow(PROMETHEUS, EXPORTER, 9114, 9115, 9116),
      flow(PROMETHEUS, FLUENT_BIT, 2020),
      flow(FLUENT_BIT, OPENSEARCH, 9200),
      flow(EXPORTER, OPENSEARCH, 9200),
      flow(OPENSEARCH, OPENSEARCH, 9300),
      ...(plugin ? [flow(OPENSEARCH, ANYWHERE, plugin)] : []),
      toS3(cluster, OPENSEARCH),
      toApiServer(cluster, FLUENT_BIT),
      fromApiServer(cluster, OPENSEARCH, 9200),
    ],
  };
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

function flow(from: End, to: End, ...ports: number[]): Flow {
  return { from, to, ports };
}

function hasLonghorn(cluster: Cluster): boolean {
  return text(cluster, "STORAGE") === "longhorn";
}

/** What is in the network of the nodes, where policies do not reach: exporters, kubelet, API server. */
function node(cluster: Cluster): End {
  return { networks: nodesOf(cluster) };
}

/** Programs that watch objects. */
function toApiServer(cluster: Cluster, from: End): Flow {
  return flow(from, node(cluster), number(cluster, "API_SERVER_PORT"));
}

/** Our own tools, which come in through the API server. */
function fromApiServer(cluster: Cluster, to: End, port: number): Flow {
  return flow(node(cluster), to, port);
}

/** Blocks and snapshots. */
function toS3(cluster: Cluster, from: End): Flow {
  const url = text(cluster, "S3_ENDPOINT");
  const { hostname } = new URL(url);
  return flow(from, isIPv4(hostname) ? { networks: [`${hostname}/32`] } : ANYWHERE, portOf(url));
}

/** People to a program, where the ingress controller is ours. */
function door(cluster: Cluster, to: End, port: number): Flow[] {
  const controller = controllerOf(cluster);
  return controller ? [flow(controller.workload, to, port)] : [];
}

/** The ingress controller, when it is ours: its pods, their ports for people, and that of metrics. */
function controllerOf(cluster: Cluster) {
  const workload = (pod: string) => ({ namespace: "ingress-nginx", pod });
  switch (text(cluster, "INGRESS")) {
    case "nginx":
      return { workload: workload("ingress-nginx"), ports: [80, 443], metrics: 10254 };
    case "traefik":
      return { workload: workload("traefik"), ports: [8000, 8443], metrics: 9100 };
  }
}

/** The port of a URL, said or meant. */
function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port) || (protocol === "http:" ? 80 : 443);
}

// What the central cluster derives from the list of clusters: the endpoints of Thanos Query and the
// alerts about each cluster. One list gives all three, so a new edge is never left unwatched.
import { stringify } from "yaml";
import { type Cluster, number, type Peer } from "../../lib/cluster.ts";
import { configMap, labelsOf, type Manifest, RELOAD_ANNOTATION } from "../../lib/manifest.ts";

const NAMESPACE = "monitoring";

/** Programs of this cluster that Query asks; SRV records give every pod of a headless Service. */
const LOCAL = ["thanos-sidecar", "thanos-store", "thanos-ruler"]
  .map((service) => `dnssrv+_grpc._tcp.${service}.${NAMESPACE}.svc.cluster.local`);

/** Where central reaches the sidecar of an edge. */
export function edgeAddress(cluster: Cluster, { ip }: Peer): string {
  return `${ip}:${number(cluster, "SIDECAR_NODE_PORT")}`;
}

/** The clusters that central reaches from outside. */
export function edgesOf({ fleet }: Cluster): Peer[] {
  return fleet.filter(({ role }) => role === "edge");
}

/** The endpoint file of Query, in Thanos' own format; it is read again every 30 s. */
export function endpointsConfig(cluster: Cluster): Manifest {
  // Not strict: one edge that is away must not fail every query. ThanosEdgeSidecarMissing tells.
  const addresses = [...LOCAL, ...edgesOf(cluster).map((edge) => edgeAddress(cluster, edge))];
  const file = stringify({ endpoints: addresses.map((address) => ({ address })) });
  return configMap("thanos-query-endpoints", NAMESPACE, { "endpoints.yml": file }, {
    labels: labels("thanos-query", "query"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

/**
 * Alerts of the central Prometheus: an edge that Query has lost. Query leaves such an endpoint out
 * without a warning in its answers, so nothing else tells.
 */
export function fleetAlerts(cluster: Cluster): Manifest {
  const rules = edgesOf(cluster).map((edge) => ({
    alert: "ThanosEdgeSidecarMissing",
    expr: "absent(thanos_store_nodes_grpc_connections" +
      `{job="thanos-query",store_type="sidecar",external_labels=~".*cluster=\\"${edge.name}\\".*"})`,
    for: "5m",
    labels: { severity: "critical", edge: edge.name },
    annotations: {
      summary: `Thanos Query has lost the sidecar of ${edge.name}`,
      description: `Look from central at ${edgeAddress(cluster, edge)}: the node, its Service ` +
        "thanos-sidecar-external, the pod of Prometheus. Its last hours are missing in every answer.",
    },
  }));
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "thanos-fleet", namespace: NAMESPACE, labels: labels("thanos", "rules") },
    spec: { groups: rules.length > 0 ? [{ name: "thanos-fleet", rules }] : [] },
  };
}

/** Alerts of the Ruler, one set per cluster: its metrics, and its heartbeat. */
export function fleetRules(cluster: Cluster): Manifest {
  const rules = cluster.fleet.flatMap((peer) => [
    missing("ClusterMetricsMissing", `up{cluster="${peer.name}"}`, {
      summary: `No metrics of ${peer.name} are visible at the centre`,
      description: `Neither live nor from the bucket: make verify-${peer.id} names the broken hop.`,
    }),
    missing(
      "ClusterWatchdogMissing",
      `ALERTS{alertname="Watchdog",alertstate="firing",cluster="${peer.name}"}`,
      {
        summary: `Prometheus of ${peer.name} evaluates no alerts`,
        description: "Its always-firing Watchdog has gone: no other alert of it can be relied on.",
      },
    ),
  ]);
  // warn: an endpoint that fails must not stop the rules that are about failing endpoints.
  const groups = [{ name: "clusters", partial_response_strategy: "warn", rules }];
  const file = { "fleet.yaml": stringify({ groups }, { lineWidth: 0 }) };
  return configMap("thanos-ruler-fleet-rules", NAMESPACE, file, {
    labels: labels("thanos-ruler", "ruler"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

function missing(alert: string, series: string, annotations: Record<string, string>) {
  return {
    alert,
    expr: `absent(${series})`,
    for: "10m",
    labels: { severity: "critical" },
    annotations,
  };
}

function labels(name: string, component: string): Record<string, string> {
  return labelsOf({ name, component, partOf: "metrics", version: "v0.42.4" });
}

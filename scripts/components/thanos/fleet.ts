// What the central cluster derives from the list of clusters: the endpoints of Thanos Query, and from the same list
// the alerts about each cluster, so a new edge is never left unwatched.
import { type Cluster, type Peer, text } from "../../../lib/core/cluster.ts";
import { configMap, type Manifest, RELOAD_ANNOTATION } from "../../../lib/core/object.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { clientConfig } from "./grpc.ts";
import { thanosLabels } from "./labels.ts";

const NAMESPACE = "monitoring";

/** Programs of this cluster that Query asks; SRV records give every pod of a headless Service. */
const LOCAL = ["thanos-sidecar", "thanos-store", "thanos-ruler"];

/** The clusters that central reaches from outside. */
export function edgesOf({ fleet }: Cluster): Peer[] {
  return fleet.filter(({ role }) => role === "edge");
}

/** The endpoint file of Query, in Thanos' own format; it is read again every 5 s. */
export function endpointsConfig(cluster: Cluster): Manifest {
  // Not strict: one edge that is away must not fail every query. ThanosEdgeSidecarMissing tells.
  const edges = edgesOf(cluster).map((edge) => ({
    address: edge.sidecar,
    ...clientConfig(cluster, edge),
  }));
  const domain = `${NAMESPACE}.svc.${text(cluster, "CLUSTER_DOMAIN")}`;
  const local = LOCAL.map((service) => ({ address: `dnssrv+_grpc._tcp.${service}.${domain}` }));
  const file = toYaml({ endpoints: [...local, ...edges] });
  return configMap("thanos-query-endpoints", NAMESPACE, { "endpoints.yml": file }, {
    labels: thanosLabels(cluster, "thanos-query", "query"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

/**
 * Alerts of the central Prometheus: an edge that Query has lost. Query leaves such an endpoint out
 * without a warning in its answers, so nothing else tells.
 */
export function fleetAlerts(cluster: Cluster): Manifest {
  const rules = edgesOf(cluster).map((edge) =>
    missing(
      cluster,
      "ThanosEdgeSidecarMissing",
      "thanos_store_nodes_grpc_connections" +
        `{job="thanos-query",store_type="sidecar",external_labels=~".*cluster=\\"${edge.name}\\".*"}`,
      { for: "5m", labels: { edge: edge.name } },
      {
        summary: `Thanos Query has lost the sidecar of ${edge.name}`,
        description: `Look from central at ${edge.sidecar}: the node, its Service ` +
          "kube-prometheus-stack-thanos-external, the pod of Prometheus. Its last hours are missing in every answer.",
      },
    )
  );
  const labels = thanosLabels(cluster, "thanos", "rules");
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "thanos-fleet", namespace: NAMESPACE, labels },
    spec: { groups: rules.length > 0 ? [{ name: "thanos-fleet", rules }] : [] },
  };
}

/**
 * Alerts of the Ruler, one set per cluster: its metrics, and its heartbeat. One rule a group: the rules of a
 * group wait for each other, and each for QUERY_RESPONSE_TIMEOUT where an endpoint hangs.
 */
export function fleetRules(cluster: Cluster): Manifest {
  const groups = cluster.fleet.flatMap(({ id, name }) => {
    const watched = { for: "10m", labels: { cluster: name } };
    const watchdog = `ALERTS{alertname="Watchdog",alertstate="firing",cluster="${name}"}`;
    const rules = [
      missing(cluster, "ClusterMetricsMissing", `up{cluster="${name}"}`, watched, {
        summary: `No metrics of ${name} are visible at the centre`,
        description: `Neither live nor from the bucket: make verify-${id} names the broken hop.`,
      }),
      missing(cluster, "ClusterWatchdogMissing", watchdog, watched, {
        summary: `Prometheus of ${name} evaluates no alerts`,
        description: "Its always-firing Watchdog has gone: no other alert of it can be relied on.",
      }),
    ];
    return rules.map((rule) => ({
      name: `${rule.alert} ${name}`,
      // An endpoint that fails must not stop the rules that are about failing endpoints.
      partial_response_strategy: "warn",
      rules: [rule],
    }));
  });
  const file = { "fleet.yaml": toYaml({ groups }, { lineWidth: 0 }) };
  return configMap("thanos-ruler-fleet-rules", NAMESPACE, file, {
    labels: thanosLabels(cluster, "thanos-ruler", "ruler"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

/** The critical alert that a series has been away for so long (`for`). */
function missing(
  cluster: Cluster,
  alert: string,
  series: string,
  watched: { for: string; labels: Record<string, string> },
  annotations: Record<string, string>,
) {
  const runbook_url = `${text(cluster, "RUNBOOK_URL")}/clusters.md#${alert.toLowerCase()}`;
  return {
    alert,
    expr: `absent(${series})`,
    for: watched.for,
    labels: { severity: "critical", ...watched.labels },
    annotations: { ...annotations, runbook_url },
  };
}

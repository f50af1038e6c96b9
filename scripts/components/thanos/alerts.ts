// The alerts that code builds: those about each cluster of the fleet, from the same list as the
// endpoints of Thanos Query, so a new edge is never left unwatched.
import { stringify } from "yaml";
import { type Cluster, type Peer, text } from "../../../lib/core/cluster.ts";
import { configMap, type Manifest, RELOAD_ANNOTATION } from "../../../lib/core/object.ts";
import { edgeAddress, edgesOf } from "./fleet.ts";
import { thanosLabels } from "./labels.ts";

const NAMESPACE = "monitoring";

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
        "kube-prometheus-stack-thanos-external, the pod of Prometheus. Its last hours are missing in every answer.",
      runbook_url: runbook(cluster, "ThanosEdgeSidecarMissing"),
    },
  }));
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: {
      name: "thanos-fleet",
      namespace: NAMESPACE,
      labels: thanosLabels(cluster, "thanos", "rules"),
    },
    spec: { groups: rules.length > 0 ? [{ name: "thanos-fleet", rules }] : [] },
  };
}

/** Alerts of the Ruler, one set per cluster: its metrics, and its heartbeat. */
export function fleetRules(cluster: Cluster): Manifest {
  const rules = cluster.fleet.flatMap((peer) => [
    missing(peer, "ClusterMetricsMissing", `up{cluster="${peer.name}"}`, {
      summary: `No metrics of ${peer.name} are visible at the centre`,
      description: `Neither live nor from the bucket: make verify-${peer.id} names the broken hop.`,
    }),
    missing(
      peer,
      "ClusterWatchdogMissing",
      `ALERTS{alertname="Watchdog",alertstate="firing",cluster="${peer.name}"}`,
      {
        summary: `Prometheus of ${peer.name} evaluates no alerts`,
        description: "Its always-firing Watchdog has gone: no other alert of it can be relied on.",
      },
    ),
  ]);

  function missing(
    { name }: Peer,
    alert: string,
    series: string,
    annotations: Record<string, string>,
  ) {
    return {
      alert,
      expr: `absent(${series})`,
      for: "10m",
      labels: { severity: "critical", cluster: name },
      annotations: { ...annotations, runbook_url: runbook(cluster, alert) },
    };
  }

  // warn: an endpoint that fails must not stop the rules that are about failing endpoints.
  const groups = [{ name: "clusters", partial_response_strategy: "warn", rules }];
  const file = { "fleet.yaml": stringify({ groups }, { lineWidth: 0 }) };
  return configMap("thanos-ruler-fleet-rules", NAMESPACE, file, {
    labels: thanosLabels(cluster, "thanos-ruler", "ruler"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

function runbook(cluster: Cluster, alert: string): string {
  return `${text(cluster, "RUNBOOK_URL")}/clusters.md#${alert.toLowerCase()}`;
}

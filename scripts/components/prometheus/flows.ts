// Who talks to the programs of 20-prometheus, and to whom they talk.
import { type Cluster, flag, nodesOf, text } from "../../../lib/core/cluster.ts";
import type { Flow, Network } from "../../../lib/core/network.ts";
import {
  ALERTMANAGER_PODS,
  ANYWHERE,
  controllerOf,
  DNS,
  door,
  fromApiServer,
  GRAFANA_PODS,
  monitoring,
  node,
  portOf,
  PROMETHEUS_PODS,
  toApiServer,
  toS3,
} from "../network/ends.ts";

const STATE_METRICS = monitoring("kube-state-metrics");
const OPERATOR = monitoring("prometheus-operator");

/**
 * Flows of 20-prometheus. The node-exporter has none: it is in the node's own network, where policies do not
 * reach.
 */
export function prometheusNetwork(cluster: Cluster): Network {
  return {
    workloads: [PROMETHEUS_PODS, ALERTMANAGER_PODS, GRAFANA_PODS, STATE_METRICS, OPERATOR],
    flows: [
      ...door(cluster, GRAFANA_PODS, 3000),
      ...scrapes(cluster),
      ...(cluster.role === "edge" ? edge(cluster) : []),
      ...alerts(cluster),
      ...toS3(cluster, PROMETHEUS_PODS),
      ...toApiServer(cluster, PROMETHEUS_PODS, STATE_METRICS, OPERATOR),
      fromApiServer(cluster, PROMETHEUS_PODS, 9090),
      fromApiServer(cluster, ALERTMANAGER_PODS, 9093),
      fromApiServer(cluster, GRAFANA_PODS, 3000),
    ],
  };
}

/** Prometheus to what has metrics of this step and of those before it. */
function scrapes(cluster: Cluster): Flow[] {
  const from = PROMETHEUS_PODS;
  const controller = controllerOf(cluster);
  const manager = { namespace: "longhorn-system", pod: "longhorn-manager", label: "app" };
  const controlPlane = flag(cluster, "CONTROL_PLANE_METRICS") ? [2381, 10249, 10257, 10259] : [];
  return [
    { from, to: node(cluster), ports: [9100, 10250, ...controlPlane] },
    { from, to: DNS, ports: [9153] },
    { from, to: PROMETHEUS_PODS, ports: [8080, 9090, 10902] },
    { from, to: ALERTMANAGER_PODS, ports: [8080, 9093] },
    { from, to: GRAFANA_PODS, ports: [3000] },
    { from, to: STATE_METRICS, ports: [8080, 8081] },
    { from, to: OPERATOR, ports: [8080] },
    ...(controller ? [{ from, to: controller.workload, ports: [controller.metrics] }] : []),
    ...(text(cluster, "STORAGE") === "longhorn" ? [{ from, to: manager, ports: [9500] }] : []),
  ];
}

/** The centre to the sidecar. Its NodePort keeps the address of who calls, where no other node may pass a call on. */
function edge(cluster: Cluster): Flow[] {
  const centres = cluster.fleet.filter(({ role }) => role === "central");
  const passedOn = text(cluster, "NODE_NETWORKS") === "" ? [] : nodesOf(cluster);
  const networks = [...centres.flatMap(({ nodes }) => nodes), ...passedOn];
  return [
    { from: { networks }, to: PROMETHEUS_PODS, ports: [10901] },
    { from: GRAFANA_PODS, to: PROMETHEUS_PODS, ports: [9090] },
  ];
}

function alerts(cluster: Cluster): Flow[] {
  const url = text(cluster, "ALERT_WEBHOOK_URL");
  return [
    { from: PROMETHEUS_PODS, to: ALERTMANAGER_PODS, ports: [9093] },
    { from: GRAFANA_PODS, to: ALERTMANAGER_PODS, ports: [9093] },
    // The address is a secret, and a name has no fixed one.
    ...(url ? [{ from: ALERTMANAGER_PODS, to: ANYWHERE, ports: [portOf(url)] }] : []),
  ];
}

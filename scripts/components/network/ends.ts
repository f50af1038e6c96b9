// Ends of flows that several components share.
import { type Cluster, nodesOf, number, text } from "../../../lib/core/cluster.ts";
import type { End, Flow, Workload } from "../../../lib/core/network.ts";

/** Pods of ours in the namespace monitoring. */
export function monitoring(pod: string): Workload {
  return { namespace: "monitoring", pod };
}

export const PROMETHEUS_PODS = monitoring("prometheus");
export const ALERTMANAGER_PODS = monitoring("alertmanager");
export const GRAFANA_PODS = monitoring("grafana");
export const DNS: End = { namespace: "kube-system", pod: "kube-dns", label: "k8s-app" };
export const ANYWHERE: End = { networks: ["0.0.0.0/0"] };

/** What is in the network of the nodes, where policies do not reach: exporters, kubelet, API server. */
export function node(cluster: Cluster): End {
  return { networks: nodesOf(cluster) };
}

/** Programs that watch objects. */
export function toApiServer(cluster: Cluster, ...workloads: Workload[]): Flow[] {
  const ports = [number(cluster, "API_SERVER_PORT")];
  return workloads.map((from) => ({ from, to: node(cluster), ports }));
}

/** Our own tools, which come in through the API server. */
export function fromApiServer(cluster: Cluster, to: Workload, port: number): Flow {
  return { from: node(cluster), to, ports: [port] };
}

/** Blocks and snapshots. */
export function toS3(cluster: Cluster, ...workloads: Workload[]): Flow[] {
  const url = text(cluster, "S3_ENDPOINT");
  const { hostname } = new URL(url);
  const to = /^[\d.]+$/.test(hostname) ? { networks: [`${hostname}/32`] } : ANYWHERE;
  return workloads.map((from) => ({ from, to, ports: [portOf(url)] }));
}

/** People to a program, where the ingress controller is ours. */
export function door(cluster: Cluster, to: End, port: number): Flow[] {
  const controller = controllerOf(cluster);
  return controller ? [{ from: controller.workload, to, ports: [port] }] : [];
}

/** The ingress controller, when it is ours: its pods, their ports for people, and that of metrics. */
export function controllerOf(cluster: Cluster) {
  const workload = (pod: string): Workload => ({ namespace: "ingress-nginx", pod });
  switch (text(cluster, "INGRESS")) {
    case "nginx":
      return { workload: workload("ingress-nginx"), ports: [80, 443], metrics: 10254 };
    case "traefik":
      return { workload: workload("traefik"), ports: [8000, 8443], metrics: 9100 };
  }
}

/** The port of a URL, said or meant. */
export function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port) || (protocol === "http:" ? 80 : 443);
}

// Who talks to the programs of 30-thanos, and to whom they talk.
import { isIPv4 } from "node:net";
import type { Cluster } from "../../../lib/core/cluster.ts";
import type { Flow, Network } from "../../../lib/core/network.ts";
import {
  ALERTMANAGER_PODS,
  door,
  fromApiServer,
  GRAFANA_PODS,
  monitoring,
  PROMETHEUS_PODS,
  toS3,
} from "../network/ends.ts";
import { edgesOf } from "./fleet.ts";

const QUERY = monitoring("thanos-query");
const FRONTEND = monitoring("thanos-frontend");
const STORE = monitoring("thanos-store");
const COMPACTOR = monitoring("thanos-compactor");
const RULER = monitoring("thanos-ruler");

/** Flows of 30-thanos, which are at the centre: its own components, and their way to the sidecars of the edges. */
export function thanosNetwork(cluster: Cluster): Network {
  if (cluster.role === "edge") return { workloads: [], flows: [] };
  const sidecars = Map.groupBy(
    edgesOf(cluster).map(({ sidecar }) => sidecar.split(":") as [host: string, port: string]),
    ([, port]) => Number(port),
  );
  return {
    workloads: [QUERY, FRONTEND, STORE, COMPACTOR, RULER],
    flows: [
      ...door(cluster, FRONTEND, 9090),
      ...[QUERY, FRONTEND].map((to): Flow => ({ from: PROMETHEUS_PODS, to, ports: [9090] })),
      ...[STORE, COMPACTOR].map((to): Flow => ({ from: PROMETHEUS_PODS, to, ports: [10902] })),
      { from: PROMETHEUS_PODS, to: RULER, ports: [8080, 10902] },
      { from: GRAFANA_PODS, to: FRONTEND, ports: [9090] },
      { from: FRONTEND, to: QUERY, ports: [9090] },
      ...[PROMETHEUS_PODS, STORE, RULER].map((to): Flow => ({ from: QUERY, to, ports: [10901] })),
      ...[...sidecars].map(([port, ends]): Flow => ({
        from: QUERY,
        // A policy knows no names.
        to: { networks: ends.map(([host]) => isIPv4(host) ? `${host}/32` : "0.0.0.0/0") },
        ports: [port],
      })),
      { from: RULER, to: QUERY, ports: [9090] },
      { from: RULER, to: ALERTMANAGER_PODS, ports: [9093] },
      ...toS3(cluster, STORE, COMPACTOR, RULER),
      fromApiServer(cluster, QUERY, 9090),
    ],
  };
}

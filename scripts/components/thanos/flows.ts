// Who talks to the programs of 30-thanos, and to whom they talk.
import { type Cluster, number } from "../../../lib/core/cluster.ts";
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
  const edges = edgesOf(cluster).map(({ ip }) => `${ip}/32`);
  const sidecars = { networks: edges };
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
      ...(edges.length > 0
        ? [{ from: QUERY, to: sidecars, ports: [number(cluster, "SIDECAR_NODE_PORT")] }]
        : []),
      { from: RULER, to: QUERY, ports: [9090] },
      { from: RULER, to: ALERTMANAGER_PODS, ports: [9093] },
      ...toS3(cluster, STORE, COMPACTOR, RULER),
      fromApiServer(cluster, QUERY, 9090),
    ],
  };
}

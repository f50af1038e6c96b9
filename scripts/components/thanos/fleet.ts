// What the central cluster derives from the list of clusters: the endpoints of Thanos Query. The
// alerts about each cluster come from the same list (alerts.ts), so no edge is left unwatched.
import { stringify } from "yaml";
import { type Cluster, number, type Peer, text } from "../../../lib/core/cluster.ts";
import { configMap, type Manifest, RELOAD_ANNOTATION } from "../../../lib/core/object.ts";
import { clientConfig, mutualTls } from "./grpc.ts";
import { thanosLabels } from "./labels.ts";

const NAMESPACE = "monitoring";

/** Programs of this cluster that Query asks; SRV records give every pod of a headless Service. */
const LOCAL = ["thanos-sidecar", "thanos-store", "thanos-ruler"];

/** Where central reaches the sidecar of an edge. */
export function edgeAddress(cluster: Cluster, { ip }: Peer): string {
  return `${ip}:${number(cluster, "SIDECAR_NODE_PORT")}`;
}

/** The clusters that central reaches from outside. */
export function edgesOf({ fleet }: Cluster): Peer[] {
  return fleet.filter(({ role }) => role === "edge");
}

/** The endpoint file of Query, in Thanos' own format; it is read again every 5 s. */
export function endpointsConfig(cluster: Cluster): Manifest {
  // Not strict: one edge that is away must not fail every query. ThanosEdgeSidecarMissing tells.
  const edges = edgesOf(cluster).map((edge) => ({
    address: edgeAddress(cluster, edge),
    ...(mutualTls(cluster) ? { client_config: clientConfig(edge) } : {}),
  }));
  const domain = `${NAMESPACE}.svc.${text(cluster, "CLUSTER_DOMAIN")}`;
  const local = LOCAL.map((service) => ({ address: `dnssrv+_grpc._tcp.${service}.${domain}` }));
  const file = stringify({ endpoints: [...local, ...edges] });
  return configMap("thanos-query-endpoints", NAMESPACE, { "endpoints.yml": file }, {
    labels: thanosLabels(cluster, "thanos-query", "query"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

// What the central cluster derives from the list of clusters: the endpoints of Thanos Query, and from the same list
// the alerts about each cluster, so a new edge is never left unwatched.
import { type Cluster, type Pause, text } from "../../../lib/core/cluster.ts";
import { configMap, type Manifest, RELOAD_ANNOTATION } from "../../../lib/core/object.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { clientConfig } from "./grpc.ts";
import { thanosLabels } from "./labels.ts";

const NAMESPACE = "monitoring";

/** Programs of this cluster that Query asks; SRV records give every pod of a headless Service. */
const LOCAL = ["thanos-sidecar", "thanos-store", "thanos-ruler"];

/** The clusters that central reaches from outside. */
export function edgesOf({ fleet }: Cluster): Cluster[] {
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

/** Alerts of the central Prometheus: an edge that Query has lost. */
export function fleetAlerts(cluster: Cluster): Manifest {
  const rules = edgesOf(cluster).flatMap(({ name: EDGE, sidecar: SIDECAR, pause }) =>
    renderFile("thanos/edge-alerts.yaml", cluster, { EDGE, SIDECAR, SINCE: since(pause) }).spec
      .rules
  );
  const labels = thanosLabels(cluster, "thanos", "rules");
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "thanos-fleet", namespace: NAMESPACE, labels },
    spec: { groups: rules.length > 0 ? [{ name: "thanos-fleet", rules }] : [] },
  };
}

/** Alerts of the Ruler, one set per cluster. */
export function fleetRules(cluster: Cluster): Manifest {
  const groups = cluster.fleet.flatMap(({ id: ID, name: NAME, pause }) =>
    renderFile("thanos/cluster-alerts.yaml", cluster, { ID, NAME, SINCE: since(pause) }).spec.groups
  );
  const file = { "fleet.yaml": toYaml({ groups }, { lineWidth: 0 }) };
  return configMap("thanos-ruler-fleet-rules", NAMESPACE, file, {
    labels: thanosLabels(cluster, "thanos-ruler", "ruler"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

/** The end of an expression: nobody misses a paused cluster before its day is over, and nobody has to deploy then. */
function since(pause?: Pause): string {
  return pause ? ` and on () (vector(time()) >= ${pause.end})` : "";
}

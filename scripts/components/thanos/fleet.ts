// What clusters get for Thanos from the list of all: at the centre the endpoints of Query and the alerts about each, so
// no new edge is left unwatched; and what each shows of itself for mutual TLS between Query and sidecars.
import { type Cluster, flag, type Pause, text } from "../../../lib/core/cluster.ts";
import { configMap, labelsOf, RELOAD_ANNOTATION, secret } from "../../../lib/core/object.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";

const NAMESPACE = "monitoring";
// Programs of this cluster that Query asks; SRV records give every pod of a headless Service.
const LOCAL = ["thanos-sidecar", "thanos-store", "thanos-ruler"];
const REREAD = { [RELOAD_ANNOTATION]: "live" };

/** The clusters that central reaches from outside. */
export function edgesOf({ fleet }: Cluster): Cluster[] {
  return fleet.filter(({ role }) => role === "edge");
}

function labels(cluster: Cluster, name: string, component: string): Record<string, string> {
  return labelsOf({ name, component, partOf: "metrics", version: text(cluster, "THANOS_VERSION") });
}

/** What names the clusters of the fleet at the centre: Query and the rules read it again by themselves. */
export function fleetObjects(central: Cluster): Manifest[] {
  return [endpointsConfig(central), fleetAlerts(central), fleetRules(central)];
}

/** The endpoint file of Query, in Thanos' own format; it is read again every 5 s. */
export function endpointsConfig(cluster: Cluster): Manifest {
  const domain = `${NAMESPACE}.svc.${text(cluster, "CLUSTER_DOMAIN")}`;
  const endpoints = [
    ...LOCAL.map((service) => ({ address: `dnssrv+_grpc._tcp.${service}.${domain}` })),
    // Not strict: one edge that is away must not fail every query. ThanosEdgeSidecarMissing tells.
    ...edgesOf(cluster).map((edge) => ({ address: edge.sidecar, ...dialling(cluster, edge) })),
  ];
  const file = { "endpoints.yml": toYaml({ endpoints }) };
  const about = { labels: labels(cluster, "thanos-query", "query"), annotations: REREAD };
  return configMap("thanos-query-endpoints", NAMESPACE, file, about);
}

/** How Query dials an edge; the address is no name to check. */
function dialling(cluster: Cluster, edge: Cluster) {
  const compression = flag(cluster, "SIDECAR_COMPRESSION") ? { compression: "snappy" } : undefined;
  if (flag(cluster, "THANOS_GRPC_MTLS")) {
    const tls_config = {
      ca_file: "/etc/thanos/grpc/ca.crt",
      cert_file: "/etc/thanos/grpc/tls.crt",
      key_file: "/etc/thanos/grpc/tls.key",
      min_version: "1.3",
    };
    return { client_config: { tls_config, server_name: edge.name, ...compression } };
  }
  // Query minds the compression of an endpoint only beside a word about TLS.
  return compression ? { client_config: { tls_config: { enabled: false }, ...compression } } : {};
}

/** Certificate, key and CA; none without mutual TLS. The sidecar of an edge alone reads a new one without a restart. */
export function grpcSecrets(cluster: Cluster): Manifest[] {
  const identity = cluster.grpcIdentity;
  if (!identity) return [];
  const own = labels(cluster, "thanos-grpc", "grpc");
  const pair = { "tls.crt": identity.certificate, "tls.key": identity.key };
  return [
    // Query dials on as it began to until an address was away for five minutes: a switch needs the restart by these.
    secret("thanos-grpc-tls", NAMESPACE, pair, {
      type: "kubernetes.io/tls",
      labels: own,
      annotations: cluster.role === "edge" ? REREAD : undefined,
    }),
    secret("thanos-grpc-ca", NAMESPACE, { "ca.crt": identity.authority }, { labels: own }),
  ];
}

/** With THANOS_UI_AUTH: who may open the page of Thanos Query. */
export function loginSecret(cluster: Cluster): Manifest[] {
  if (!flag(cluster, "THANOS_UI_AUTH")) return [];
  const login = { auth: text(cluster, "UI_BASIC_AUTH") }; // the ingress wants this key
  const about = { labels: labels(cluster, "thanos-frontend", "query-frontend") };
  return [secret("thanos-basic-auth", NAMESPACE, login, about)];
}

/** Alerts of the central Prometheus: an edge that Query has lost. */
export function fleetAlerts(cluster: Cluster): Manifest {
  const rules = edgesOf(cluster).flatMap(({ name: EDGE, sidecar: SIDECAR, pause }) => {
    const values = { EDGE, SIDECAR, SINCE: since(pause) };
    return renderFile("thanos/edge-alerts.yaml", cluster, values).spec.rules;
  });
  const own = labels(cluster, "thanos", "rules");
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "thanos-fleet", namespace: NAMESPACE, labels: own },
    spec: { groups: rules.length > 0 ? [{ name: "thanos-fleet", rules }] : [] },
  };
}

/** Alerts of the Ruler, one set per cluster. */
export function fleetRules(cluster: Cluster): Manifest {
  const groups = cluster.fleet.flatMap(({ id: ID, name: NAME, pause }) =>
    renderFile("thanos/cluster-alerts.yaml", cluster, { ID, NAME, SINCE: since(pause) }).spec.groups
  );
  const file = { "fleet.yaml": toYaml({ groups }, { lineWidth: 0 }) };
  const about = { labels: labels(cluster, "thanos-ruler", "ruler"), annotations: REREAD };
  return configMap("thanos-ruler-fleet-rules", NAMESPACE, file, about);
}

/** The end of an expression: nobody misses a paused cluster before its day is over, and nobody has to deploy then. */
function since(pause?: Pause): string {
  return pause ? ` and on () (vector(time()) >= ${pause.end})` : "";
}

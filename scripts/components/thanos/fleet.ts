// What clusters get for Thanos from the list of all: at the centre the endpoints of Query, and from the same list the
// alerts about each cluster, so a new edge is never left unwatched; and what each shows of itself for mutual TLS between
// Query and sidecars (THANOS_GRPC_MTLS). Inside a cluster gRPC stays plain.
import { type Cluster, flag, type Pause, text } from "../../../lib/core/cluster.ts";
import {
  configMap,
  labelsOf,
  type Manifest,
  RELOAD_ANNOTATION,
  secret,
} from "../../../lib/core/object.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";

const NAMESPACE = "monitoring";
/** Programs of this cluster that Query asks; SRV records give every pod of a headless Service. */
const LOCAL = ["thanos-sidecar", "thanos-store", "thanos-ruler"];
/** Where the manifests mount the Secrets of {@link grpcSecrets}. */
const FOLDER = "/etc/thanos/grpc";

/** The clusters that central reaches from outside. */
export function edgesOf({ fleet }: Cluster): Cluster[] {
  return fleet.filter(({ role }) => role === "edge");
}

function labels(cluster: Cluster, name: string, component: string): Record<string, string> {
  return labelsOf({ name, component, partOf: "metrics", version: text(cluster, "THANOS_VERSION") });
}

/** The endpoint file of Query, in Thanos' own format; it is read again every 5 s. */
export function endpointsConfig(cluster: Cluster): Manifest {
  const domain = `${NAMESPACE}.svc.${text(cluster, "CLUSTER_DOMAIN")}`;
  const endpoints = [
    ...LOCAL.map((service) => ({ address: `dnssrv+_grpc._tcp.${service}.${domain}` })),
    // Not strict: one edge that is away must not fail every query. ThanosEdgeSidecarMissing tells.
    ...edgesOf(cluster).map((edge) => ({ address: edge.sidecar, ...dialling(cluster, edge) })),
  ];
  return configMap(
    "thanos-query-endpoints",
    NAMESPACE,
    { "endpoints.yml": toYaml({ endpoints }) },
    {
      labels: labels(cluster, "thanos-query", "query"),
      annotations: { [RELOAD_ANNOTATION]: "live" },
    },
  );
}

/** How Query dials an edge; the address is no name to check. */
function dialling(cluster: Cluster, edge: Cluster) {
  const compression = flag(cluster, "SIDECAR_COMPRESSION") ? { compression: "snappy" } : undefined;
  const tls_config = {
    ca_file: `${FOLDER}/ca.crt`,
    cert_file: `${FOLDER}/tls.crt`,
    key_file: `${FOLDER}/tls.key`,
    min_version: "1.3",
  };
  if (flag(cluster, "THANOS_GRPC_MTLS")) {
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
      annotations: cluster.role === "edge" ? { [RELOAD_ANNOTATION]: "live" } : undefined,
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
  const rules = edgesOf(cluster).flatMap(({ name: EDGE, sidecar: SIDECAR, pause }) =>
    renderFile("thanos/edge-alerts.yaml", cluster, { EDGE, SIDECAR, SINCE: since(pause) }).spec
      .rules
  );
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
  return configMap("thanos-ruler-fleet-rules", NAMESPACE, file, {
    labels: labels(cluster, "thanos-ruler", "ruler"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  });
}

/** The end of an expression: nobody misses a paused cluster before its day is over, and nobody has to deploy then. */
function since(pause?: Pause): string {
  return pause ? ` and on () (vector(time()) >= ${pause.end})` : "";
}

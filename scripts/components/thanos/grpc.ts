// Mutual TLS between Thanos Query and the sidecars of edges (THANOS_GRPC_MTLS): what each cluster
// shows of itself. Inside a cluster gRPC stays plain. Query goes on dialling an address as it began to
// until it was away for five minutes; switching on or off needs the restart that these Secrets bring.
import { type Cluster, flag } from "../../../lib/core/cluster.ts";
import { type Manifest, RELOAD_ANNOTATION, secret } from "../../../lib/core/object.ts";
import { thanosLabels } from "./labels.ts";

const NAMESPACE = "monitoring";
/** Where the manifests mount both Secrets. */
const FOLDER = "/etc/thanos/grpc";

/**
 * The cluster's certificate with its key, and the CA; none without mutual TLS. The sidecar of an edge
 * reads its certificate again at every handshake, so a new one restarts no Prometheus; what else
 * reads them does it at start.
 */
export function grpcSecrets(cluster: Cluster): Manifest[] {
  const identity = cluster.grpcIdentity;
  if (!identity) return [];
  const labels = thanosLabels(cluster, "thanos-grpc", "grpc");
  const pair = { "tls.crt": identity.certificate, "tls.key": identity.key };
  return [
    secret("thanos-grpc-tls", NAMESPACE, pair, {
      type: "kubernetes.io/tls",
      labels,
      annotations: cluster.role === "edge" ? { [RELOAD_ANNOTATION]: "live" } : undefined,
    }),
    secret("thanos-grpc-ca", NAMESPACE, { "ca.crt": identity.authority }, { labels }),
  ];
}

/** How Query dials an edge, in the words of its endpoint file; the address is no name to check. */
export function clientConfig(cluster: Cluster, edge: Cluster) {
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

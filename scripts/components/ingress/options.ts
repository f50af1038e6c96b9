// The configuration of the controllers, and the certificate that either shows.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { configMap, labelsOf, type Manifest, secret } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";

const NAMESPACE = "ingress-nginx";

/** What nginx does for every host. */
export function nginxOptions(cluster: Cluster): Manifest {
  // Somewhat longer than a query, so that Thanos can say itself that it took too long.
  const PATIENCE = Math.ceil(durationSeconds(text(cluster, "QUERY_TIMEOUT"))) + 10;
  return renderFile("ingress/nginx-options.yaml", cluster, { PATIENCE });
}

/** What Traefik reads from a file: the certificate of every host, and no TLS older than 1.2. */
export function traefikOptions(cluster: Cluster): Manifest {
  const pair = { certFile: "/etc/traefik/tls/tls.crt", keyFile: "/etc/traefik/tls/tls.key" };
  const stores = { default: { defaultCertificate: pair } };
  const options = { default: { minVersion: "VersionTLS12" } };
  const tls = { options, ...cluster.doorCertificate && { stores } };
  return configMap("traefik", NAMESPACE, { "dynamic.yaml": toYaml({ tls }) }, {
    labels: labels("traefik", text(cluster, "TRAEFIK_VERSION")),
  });
}

/** The certificate of INGRESS_TLS_DIR; none without INGRESS_TLS. */
export function certificateSecret({ doorCertificate: pair }: Cluster): Manifest[] {
  if (!pair) return [];
  const values = { "tls.crt": pair.certificate, "tls.key": pair.key };
  const about = { type: "kubernetes.io/tls", labels: labels("ingress-tls", "v1") };
  return [secret("ingress-tls", NAMESPACE, values, about)];
}

function labels(name: string, version: string): Record<string, string> {
  return labelsOf({ name, component: "controller", partOf: "ingress", version });
}

// 05-ingress: ingress-nginx, or Traefik, on the two NodePorts, serving every Ingress of the class nginx. Needs nothing.
// Safe to run again: neither has webhooks or Jobs. From one to the other: INGRESS, this step, once more with --prune.
import "./needs.ts";
import { controller, doors, names, ports } from "./checks/doors.ts";
import { BY_API, LIVE } from "../lib/core/check.ts";
import { type Cluster, flag, text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import { configMap, labelsOf, type Manifest, secret } from "../lib/core/object.ts";
import { durationSeconds } from "../lib/core/quantity.ts";
import { step } from "../lib/deploy/step.ts";
import { render, renderFile } from "../lib/render/render.ts";
import { toYaml } from "../lib/render/yaml.ts";
import { policiesIn } from "./components/network/network.ts";

const NAMESPACE = "ingress-nginx";

export const ingress = step({
  name: "05-ingress",
  checks: [
    { ...BY_API, name: "Names", hop: "host names -> node", run: names },
    { ...BY_API, name: "NodePorts", hop: "people -> node", run: ports },
    { ...BY_API, name: "Ingress controller", hop: "class nginx", run: controller },
    { ...LIVE, name: "Doors", hop: "people -> ingress -> programs", run: doors },
  ],
  skips: (cluster) =>
    text(cluster, "INGRESS") === "existing"
      ? "INGRESS=existing: the cluster's own controller serves the class nginx"
      : undefined,
  objects(cluster) {
    const isTraefik = text(cluster, "INGRESS") === "traefik";
    const nginx = flag(cluster, "INGRESS_TLS") ? "nginx-tls" : "nginx";
    const options = isTraefik ? traefikOptions(cluster) : nginxOptions(cluster);
    const add = [options, ...certificateSecret(cluster), ...policiesIn(cluster, NAMESPACE)];
    return render(`ingress/${isTraefik ? "traefik" : nginx}`, cluster, { add });
  },
  async run({ objects, phase, apply, ready }) {
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
  },
});

/** What nginx does for every host. */
function nginxOptions(cluster: Cluster): Manifest {
  // Somewhat longer than a query, so that Thanos can say itself that it took too long.
  const PATIENCE = Math.ceil(durationSeconds(text(cluster, "QUERY_TIMEOUT"))) + 10;
  return renderFile("ingress/nginx-options.yaml", cluster, { PATIENCE });
}

/** What Traefik reads from a file: the certificate of every host, and no TLS older than 1.2. */
function traefikOptions(cluster: Cluster): Manifest {
  const pair = { certFile: "/etc/traefik/tls/tls.crt", keyFile: "/etc/traefik/tls/tls.key" };
  const stores = { default: { defaultCertificate: pair } };
  const options = { default: { minVersion: "VersionTLS12" } };
  const tls = { options, ...cluster.doorCertificate && { stores } };
  return configMap("traefik", NAMESPACE, { "dynamic.yaml": toYaml({ tls }) }, {
    labels: labels("traefik", text(cluster, "TRAEFIK_VERSION")),
  });
}

/** The certificate of INGRESS_TLS_DIR; none without INGRESS_TLS. */
function certificateSecret({ doorCertificate: pair }: Cluster): Manifest[] {
  if (!pair) return [];
  const values = { "tls.crt": pair.certificate, "tls.key": pair.key };
  const about = { type: "kubernetes.io/tls", labels: labels("ingress-tls", "v1") };
  return [secret("ingress-tls", NAMESPACE, values, about)];
}

function labels(name: string, version: string): Record<string, string> {
  return labelsOf({ name, component: "controller", partOf: "ingress", version });
}

if (import.meta.main) await main(ingress);

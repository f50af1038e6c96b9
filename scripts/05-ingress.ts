// 05-ingress: ingress-nginx, or Traefik, on the two NodePorts, serving every Ingress of the class nginx. Needs nothing.
// Safe to run again: neither has webhooks or Jobs. From one to the other: INGRESS, this step, once more with --prune.
import "./needs.ts";
import { controller, doors, names, ports } from "./checks/doors.ts";
import { BY_API, LIVE } from "../lib/core/check.ts";
import { flag, text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import { render } from "../lib/render/render.ts";
import { step } from "../lib/deploy/step.ts";
import { certificateSecret, nginxOptions, traefikOptions } from "./components/ingress/options.ts";
import { policiesIn } from "./components/network/network.ts";

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
    const policies = policiesIn(cluster, "ingress-nginx");
    const add = [options, ...certificateSecret(cluster), ...policies];
    return render(`ingress/${isTraefik ? "traefik" : nginx}`, cluster, { add });
  },
  async run({ objects, phase, apply, ready }) {
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
  },
});

if (import.meta.main) await main(ingress);

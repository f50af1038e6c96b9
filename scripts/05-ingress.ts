// 05-ingress: ingress-nginx on the two NodePorts, serving every Ingress of the class nginx.
// Needs nothing. Safe to run again: it has no admission webhook and no Jobs.
import { type Cluster, text } from "../lib/cluster.ts";
import { main } from "../lib/command.ts";
import { configMap, labelsOf, type Manifest } from "../lib/manifest.ts";
import { durationSeconds } from "../lib/quantity.ts";
import { render } from "../lib/render.ts";
import { step } from "../lib/step.ts";

export const ingress = step({
  name: "05-ingress",
  skips: (cluster) =>
    text(cluster, "INGRESS") === "existing"
      ? "INGRESS=existing: the cluster's own controller serves the class nginx"
      : undefined,
  objects: (cluster) => render("ingress", cluster, { add: [controllerOptions(cluster)] }),
  async run({ objects, phase, apply, ready }) {
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
  },
});

/** What nginx does for every host; the controller reads changes by itself. */
function controllerOptions(cluster: Cluster): Manifest {
  // Somewhat longer than a query, so that Thanos can say itself that it took too long.
  const patience = String(Math.ceil(durationSeconds(text(cluster, "QUERY_TIMEOUT"))) + 10);
  const options = {
    // The holes of 2021-2026 went through snippets, foreign Secrets and free text in annotations.
    "allow-snippet-annotations": "false",
    "allow-cross-namespace-resources": "false",
    "annotations-risk-level": "Medium",
    "strict-validate-path-type": "true",
    // Both would send a browser from NodePort 30080 to an https address where nothing answers.
    "ssl-redirect": "false",
    hsts: "false",
    "proxy-read-timeout": patience,
    "proxy-send-timeout": patience,
    "proxy-body-size": "16m", // large dashboards; the default is 1m
    // One process per core of the host would not fit the memory limit, twice that after a reload.
    "worker-processes": "2",
  };
  return configMap("ingress-nginx-controller", "ingress-nginx", options, {
    labels: labelsOf({
      name: "ingress-nginx",
      component: "controller",
      partOf: "ingress",
      version: "v1.15.1",
    }),
  });
}

if (import.meta.main) await main(ingress);

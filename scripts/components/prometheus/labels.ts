// Labels of the objects of 20-prometheus that are built in code.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { labelsOf } from "../../../lib/core/object.ts";

/** Labels of an object of `name` at `version` (its image tag). */
export function metricsLabels(name: string, version: string): Record<string, string> {
  return labelsOf({ name, component: name, partOf: "metrics", version });
}

/** Those of Grafana's. */
export function grafanaLabels(cluster: Cluster): Record<string, string> {
  return metricsLabels("grafana", text(cluster, "GRAFANA_VERSION"));
}

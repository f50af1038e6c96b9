// kube-prometheus' dashboards, packed for one folder of Grafana.
import { configMap, type Manifest, RELOAD_ANNOTATION } from "../../lib/manifest.ts";
import { metricsLabels } from "./labels.ts";
import { ourJobs } from "./rules.ts";

// Other systems, and what the rules and scrapes that are left out would have filled.
const EMPTY_HERE = /^(.*windows.*|nodes-aix|nodes-darwin|prometheus-remote-write|apiserver)\.json$/;
const CONTROL_PLANE = /^(controller-manager|scheduler|proxy)\.json$/;

interface Dashboard {
  templating?: { list?: { name: string; hide?: number }[] };
}

/**
 * The bundle's ConfigMaps as one that Grafana mounts: 350 kB without the blanks, of the 1 MiB that
 * fit. The variable `cluster`, hidden in some of them upstream, is shown. Nothing of nothing.
 */
export function packDashboards(
  objects: Manifest[],
  { controlPlane }: { controlPlane: boolean },
): Manifest[] {
  const files = objects.flatMap(({ data }) => Object.entries<string>(data ?? {}))
    .filter(([name]) => !EMPTY_HERE.test(name) && (controlPlane || !CONTROL_PLANE.test(name)))
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, json]) => [name, ourJobs(JSON.stringify(withCluster(JSON.parse(json))))]);
  if (files.length === 0) return [];
  return [configMap("grafana-dashboards-kubernetes", "monitoring", Object.fromEntries(files), {
    labels: metricsLabels("grafana", "13.2.0"),
    annotations: { [RELOAD_ANNOTATION]: "live" },
  })];
}

function withCluster(dashboard: Dashboard): Dashboard {
  for (const variable of dashboard.templating?.list ?? []) {
    if (variable.name === "cluster") variable.hide = 0;
  }
  return dashboard;
}

// What Grafana serves: our dashboards, kube-prometheus' for Kubernetes itself, and the runbooks. Ours are written in a
// short form (dashboard.schema.json): what is asked; layout is decided here, looks in dashboard.json beside it.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse } from "yaml";
import { hiddenBy } from "../../../lib/core/check.ts";
import { type Cluster, flag, projectPath, text } from "../../../lib/core/cluster.ts";
import { configMap, type Manifest, RELOAD_ANNOTATION } from "../../../lib/core/object.ts";
import { SUBSTITUTE_ANNOTATION } from "../../../lib/render/template.ts";
import forms from "../../../manifests/prometheus/dashboard.json" with { type: "json" };
import { grafanaLabels, ourJobs } from "./objects.ts";
import { expandPanel, PANEL_LOOKS, placeOf } from "./panel.ts";
import type { Panel, PanelPlace, PanelSource } from "./panel.ts";

/** A dashboard as its YAML file says it. */
export interface DashboardSource {
  title: string;
  uid: string;
  about: string;
  since?: string; // how far back it looks when opened, such as `24h`; 3h without it
  variables?: { name: string; label: string; query: string }[];
  rows: { title?: string; panels: PanelSource[] }[];
}

/** A dashboard as Grafana has it. */
export interface Dashboard {
  uid: string;
  title: string;
  panels: Panel[];
  templating: { list: { name: string; query: unknown; [field: string]: unknown }[] };
  [field: string]: unknown;
}

// Files are the same for both roles, and parsing them is half of what rendering takes; a pack is that of a whole role.
const sources = new Map<string, DashboardSource>();
const packs = new Map<string, Manifest>();

/** Our dashboards by file name without ending; `components` are folders below manifests/ beside those of metrics. */
export function ownDashboards(cluster: Cluster, components: string[]): Record<string, Dashboard> {
  const place = placeOf(cluster);
  const files = ["prometheus/base", `prometheus/${cluster.role}`, ...components]
    .map((folder) => projectPath(join("manifests", folder, "dashboards"))).filter(existsSync)
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((file) => file.endsWith(".yaml")).sort();
  return Object.fromEntries(files.map((file) => {
    const source = sources.getOrInsertComputed(file, () => parse(readFileSync(file, "utf8")));
    return [basename(file, ".yaml"), expand(source, place)];
  }));
}

/** {@link ownDashboards} as the ConfigMap that Grafana mounts, far below the 1 MiB that fit. */
export function packOwn(cluster: Cluster, components: string[]): Manifest {
  const key = JSON.stringify([placeOf(cluster), components, grafanaLabels(cluster)]);
  return packs.getOrInsertComputed(key, () => {
    const files = Object.entries(ownDashboards(cluster, components))
      .map(([name, dashboard]) => [`${name}.json`, toJson(dashboard)] as const);
    return packed("grafana-dashboards-own", cluster, files);
  });
}

const COLUMNS = 24;

/** A dashboard for its place. On an edge, without the label `cluster`, that variable is hidden and always `.*`. */
export function expand(source: DashboardSource, place: PanelPlace): Dashboard {
  const { title, uid, about, since = "3h", variables = [], rows } = source;
  const { central, datasource, timezone } = place;
  // Values are asked for with the time range: clusters come and go.
  const queried = ({ name, label, query }: Record<"name" | "label" | "query", string>) => ({
    ...forms.variables.queried,
    name,
    label,
    datasource: { type: "prometheus", uid: datasource },
    query: { query, refId: name },
    definition: query,
  });
  // Hourly samples are another data source: see datasources.yaml.
  const current = { text: datasource, value: datasource };
  const cluster = { name: "cluster", label: "Cluster", query: "label_values(up, cluster)" };
  const clusters = central
    ? [queried(cluster), { ...forms.variables.source, current }]
    : [forms.variables.allClusters];
  return {
    ...forms.dashboard,
    uid,
    title,
    description: about,
    // An edge has little more than the three hours that Prometheus keeps at least.
    time: { from: `now-${central ? since : "3h"}`, to: "now" },
    timezone,
    templating: { list: [...clusters, ...variables.map(queried)] },
    panels: laidOut(rows, place).map((panel, index) => ({ id: index + 1, ...panel })),
  };
}

/** JSON with one panel a line, so that a difference shows which panel changed. */
function toJson({ panels, ...rest }: Dashboard): string {
  const lines = panels.map((panel) => JSON.stringify(panel)).join(",\n");
  return `${JSON.stringify(rest).slice(0, -1)},"panels":[\n${lines}\n]}\n`;
}

/** Panels and titles of rows: from left to right, the next line below the highest one; a title has a line of its own. */
function laidOut(rows: DashboardSource["rows"], place: PanelPlace): Panel[] {
  const placed: Panel[] = [];
  let y = 0;
  for (const { title, panels } of rows) {
    if (title) placed.push({ gridPos: { x: 0, y: y++, w: COLUMNS, h: 1 }, ...forms.row, title });
    let x = 0, line = 0;
    for (const panel of panels) {
      const h = panel.height ?? PANEL_LOOKS[panel.type].height;
      if (x + panel.width > COLUMNS) [x, y, line] = [0, y + line, 0];
      placed.push({ gridPos: { x, y, w: panel.width, h }, ...expandPanel(panel, place) });
      x += panel.width;
      line = Math.max(line, h);
    }
    y += line;
  }
  return placed;
}

// Other systems, and what the rules and scrapes that are left out would have filled.
const EMPTY_HERE = /^(.*windows.*|nodes-aix|nodes-darwin|prometheus-remote-write|apiserver)\.json$/;
const CONTROL_PLANE = /^(controller-manager|scheduler|proxy)\.json$/;
// Compares clusters, of which an edge's Prometheus knows none.
const CENTRAL = /^k8s-resources-multicluster\.json$/;

/** The bundle's ConfigMaps as one that Grafana mounts: 350 kB without the blanks, of the 1 MiB that fit. */
export function packUpstream(objects: Manifest[], cluster: Cluster): Manifest[] {
  const place = placeOf(cluster);
  const controlPlane = flag(cluster, "CONTROL_PLANE_METRICS");
  const files = objects.flatMap(({ data }) => Object.entries<string>(data ?? {}))
    .filter(([name]) =>
      !EMPTY_HERE.test(name) && (controlPlane || !CONTROL_PLANE.test(name)) &&
      (place.central || !CENTRAL.test(name))
    )
    .map(([name, json]) => [name, ourJobs(JSON.stringify(adapted(name, json, place)))] as const);
  return files.length > 0 ? [packed("grafana-dashboards-kubernetes", cluster, files)] : [];
}

// Two of upstream's know no clusters, but select by `by` everywhere: at the centre their pods' addresses, which are the
// same in every cluster, would be mixed up.
const WITHOUT_CLUSTER: Record<string, [by: string, metric: string]> = {
  "alertmanager-overview.json": ['namespace=~"$namespace"', "alertmanager_build_info"],
  "grafana-overview.json": ['job=~"$job"', "grafana_build_info"],
};

// Windows that hold no two samples of an hour.
const SHORT_WINDOW = /\[[0-9]+[sm]\]/g;

function adapted(name: string, json: string, place: PanelPlace): unknown {
  const { central, datasource, timezone } = place;
  const [by, metric] = (central && WITHOUT_CLUSTER[name]) || [];
  const inJson = (matcher: string) => JSON.stringify(matcher).slice(1, -1);
  const text = by ? json.replaceAll(inJson(by), () => inJson(`cluster="$cluster",${by}`)) : json;
  const dashboard = JSON.parse(text.replaceAll(SHORT_WINDOW, () => "[$__rate_interval]"));
  // Upstream's show UTC.
  if (timezone !== "browser") dashboard.timezone = timezone;
  const variables: Dashboard["templating"]["list"] = dashboard.templating?.list ?? [];
  for (const variable of variables) {
    if (variable.type === "datasource") variable.current = { text: datasource, value: datasource };
    if (variable.name !== "cluster") continue;
    variable.hide = central ? 0 : 2;
    // Upstream's .+ for all would not match data without the label.
    if (variable.allValue) variable.allValue = ".*";
  }
  if (by) {
    const query = `label_values(${metric}, cluster)`;
    variables.splice(1, 0, { ...forms.variables.upstreamCluster, query });
  }
  return dashboard;
}

/** The ConfigMap with a page for each of docs/runbooks, under the name of its file. */
export function packRunbooks(cluster: Cluster): Manifest {
  const folder = projectPath("docs/runbooks");
  const pages = readdirSync(folder)
    .map((file) => [file, page(readFileSync(join(folder, file), "utf8"))] as const);
  return packed("grafana-runbooks", cluster, pages);
}

/** Where the pages of docs/runbooks are: RUNBOOK_URL, or the folder itself where that Grafana is a stand-in. */
export function runbooksOf(cluster: Cluster): string {
  const pages = text(cluster, "RUNBOOK_URL");
  const isOfGrafana = new URL(pages).hostname === `grafana.${text(cluster, "DOMAIN")}`;
  return isOfGrafana && hiddenBy(cluster, "grafana") ? "docs/runbooks" : pages;
}

/** Where a person reads the runbook that an alert of the cluster links to. */
export function runbookAt(link: string, cluster: Cluster): string {
  return link.replace(text(cluster, "RUNBOOK_URL"), runbooksOf(cluster));
}

/** Markdown as it is written, in which the sections can be jumped to. Begins as browsers know a page. */
function page(markdown: string): string {
  const body = markdown.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replace(/^## (.*)$/gm, (line, title: string) => `<b id="${title.toLowerCase()}">${line}</b>`);
  return `<!doctype html>\n<meta charset="utf-8">\n<pre style="white-space: pre-wrap">\n${body}</pre>\n`;
}

function packed(name: string, cluster: Cluster, files: (readonly [string, string])[]): Manifest {
  const sorted = files.toSorted(([a], [b]) => a < b ? -1 : 1);
  return configMap(name, "monitoring", Object.fromEntries(sorted), {
    labels: grafanaLabels(cluster),
    // Dashboards have variables of their own; and Grafana reads them again by itself.
    annotations: { [SUBSTITUTE_ANNOTATION]: "disabled", [RELOAD_ANNOTATION]: "live" },
  });
}

// The short form of a dashboard (*/dashboards/*.yaml, described by dashboard.schema.json) expanded to Grafana's own
// JSON. Sources say what is asked; layout is decided here, looks in manifests/prometheus/dashboard.json.
import forms from "../../../manifests/prometheus/dashboard.json" with { type: "json" };
import { expandPanel, heightOf, type Panel, type PanelPlace, type PanelSource } from "./panel.ts";

/** A dashboard as its YAML file says it. */
export interface DashboardSource {
  title: string;
  uid: string;
  about: string;
  /** How far back it looks when opened, such as `24h`; 3h without it. */
  since?: string;
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

const COLUMNS = 24;

/**
 * The dashboard as Grafana takes it. The label `cluster` exists only at the centre, where a variable chooses it; on an
 * edge the same variable is hidden and always `.*`, which matches its absence, so one expression serves both.
 */
export function expand(source: DashboardSource, place: PanelPlace): Dashboard {
  const { title, uid, about, since = "3h", variables = [], rows } = source;
  const { central, datasource, timezone } = place;
  // Values are asked for with the time range: clusters come and go.
  const queried = (name: string, label: string, query: string) => ({
    ...forms.variables.queried,
    name,
    label,
    datasource: { type: "prometheus", uid: datasource },
    query: { query, refId: name },
    definition: query,
  });
  // Hourly samples are another data source: see datasources.yaml.
  const current = { text: datasource, value: datasource };
  const clusters = central
    ? [
      queried("cluster", "Cluster", "label_values(up, cluster)"),
      { ...forms.variables.source, current },
    ]
    : [forms.variables.allClusters];
  return {
    ...forms.dashboard,
    uid,
    title,
    description: about,
    // An edge has little more than the three hours that Prometheus keeps at least.
    time: { from: `now-${central ? since : "3h"}`, to: "now" },
    timezone,
    templating: {
      list: [
        ...clusters,
        ...variables.map(({ name, label, query }) => queried(name, label, query)),
      ],
    },
    panels: laidOut(rows).map(({ what, gridPos }, index) => ({
      id: index + 1,
      gridPos,
      ...(typeof what === "string" ? { ...forms.row, title: what } : expandPanel(what, place)),
    })),
  };
}

/** JSON with one panel a line, so that a difference shows which panel changed. */
export function toJson({ panels, ...rest }: Dashboard): string {
  const lines = panels.map((panel) => JSON.stringify(panel)).join(",\n");
  return `${JSON.stringify(rest).slice(0, -1)},"panels":[\n${lines}\n]}\n`;
}

/** Panels and titles of rows: from left to right, the next line below the highest one; a title has a line of its own. */
function laidOut(rows: DashboardSource["rows"]) {
  const placed: { what: PanelSource | string; gridPos: Panel["gridPos"] }[] = [];
  let y = 0;
  for (const { title, panels } of rows) {
    if (title) placed.push({ what: title, gridPos: { x: 0, y: y++, w: COLUMNS, h: 1 } });
    let x = 0, line = 0;
    for (const panel of panels) {
      const h = heightOf(panel);
      if (x + panel.width > COLUMNS) [x, y, line] = [0, y + line, 0];
      placed.push({ what: panel, gridPos: { x, y, w: panel.width, h } });
      x += panel.width;
      line = Math.max(line, h);
    }
    y += line;
  }
  return placed;
}

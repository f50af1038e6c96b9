// The short form of a dashboard (*/dashboards/*.yaml, described by dashboard.schema.json) expanded to
// Grafana's own JSON. Sources say what is asked; layout is decided here, looks in panel.ts.
import { expandPanel, heightOf, type Panel, type PanelSource } from "./panel.ts";
import type { PanelPlace } from "./place.ts";

/** A dashboard as its YAML file says it. */
export interface DashboardSource {
  title: string;
  /** Fixed for ever: links and bookmarks point at it. */
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
const TAG = "thanos-multi-cluster";

/**
 * The dashboard as Grafana takes it. The label `cluster` exists only at the centre, where a variable
 * chooses it; on an edge the same variable is hidden and always `.*`, which matches its absence, so
 * one expression serves both.
 */
export function expand(source: DashboardSource, place: PanelPlace): Dashboard {
  return {
    uid: source.uid,
    title: source.title,
    description: source.about,
    tags: [TAG],
    // The last one there is: Grafana 13 has nothing to migrate.
    schemaVersion: 42,
    editable: false,
    graphTooltip: 1,
    // An edge has little more than the three hours that Prometheus keeps at least.
    time: { from: `now-${place.central ? source.since ?? "3h" : "3h"}`, to: "now" },
    refresh: "1m",
    timezone: place.timezone,
    annotations: { list: [] },
    links: [dashboardLinks("All", TAG), dashboardLinks("Kubernetes", "kubernetes-mixin")],
    templating: {
      list: [
        place.central ? queried("cluster", "Cluster", "label_values(up, cluster)", place) : ALL,
        ...(place.central ? [chosenSource(place)] : []),
        ...(source.variables ?? []).map(({ name, label, query }) =>
          queried(name, label, query, place)
        ),
      ],
    },
    panels: laidOut(source.rows).map(({ what, gridPos }, index) => ({
      id: index + 1,
      gridPos,
      ...(typeof what === "string"
        ? { type: "row", title: what, collapsed: false, panels: [] }
        : expandPanel(what, place)),
    })),
  };
}

/** JSON with one panel a line, so that a difference shows which panel changed. */
export function toJson({ panels, ...rest }: Dashboard): string {
  const lines = panels.map((panel) => JSON.stringify(panel)).join(",\n");
  return `${JSON.stringify(rest).slice(0, -1)},"panels":[\n${lines}\n]}\n`;
}

const ALL = {
  name: "cluster",
  type: "constant",
  hide: 2,
  skipUrlSync: true,
  query: ".*",
  current: { text: ".*", value: ".*" },
};

function queried(name: string, label: string, query: string, { datasource }: PanelPlace) {
  return {
    name,
    label,
    type: "query",
    datasource: { type: "prometheus", uid: datasource },
    query: { query, refId: name },
    definition: query,
    refresh: 2, // with the time range: clusters come and go
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: ".*",
    current: { text: ["All"], value: ["$__all"] },
  };
}

/** Hourly samples are another data source: see datasources.yaml. */
function chosenSource({ datasource }: PanelPlace) {
  return {
    name: "datasource",
    label: "Data source",
    type: "datasource",
    query: "prometheus",
    current: { text: datasource, value: datasource },
  };
}

function dashboardLinks(title: string, tag: string) {
  const looks = { asDropdown: true, includeVars: true, keepTime: true };
  return { type: "dashboards", title, tags: [tag], ...looks };
}

/**
 * Panels, and titles of rows, with their places: from left to right, the next line below the highest one; a title
 * gets a line of its own.
 */
function laidOut(rows: DashboardSource["rows"]) {
  const placed: { what: PanelSource | string; gridPos: Panel["gridPos"] }[] = [];
  let y = 0;
  for (const { title, panels } of rows) {
    if (title) {
      placed.push({ what: title, gridPos: { x: 0, y, w: COLUMNS, h: 1 } });
      y += 1;
    }
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

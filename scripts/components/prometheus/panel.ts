// A panel in short form, as Grafana has it; looks are decided in manifests/prometheus/dashboard.json, once for all.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import forms from "../../../manifests/prometheus/dashboard.json" with { type: "json" };

/** Where a cluster's Grafana stands, and where its data comes from (datasources.yaml of its role). */
export function placeOf(cluster: Cluster) {
  const central = cluster.role === "central", zone = text(cluster, "TIMEZONE");
  return {
    central,
    // Uid; at the centre what shows a course of time can be asked of another one.
    datasource: central ? "thanos" : "prometheus",
    clusters: expected(cluster), // how many should be seen; `$fleet` in expressions
    timezone: zone === "UTC" ? "browser" : zone,
  };
}

export type PanelPlace = ReturnType<typeof placeOf>;

// All of them, without those that are not there while they are paused.
function expected({ fleet }: Cluster): number | string {
  const paused = fleet.flatMap(({ name, pause }) =>
    pause ? `label_replace(vector(time()) < ${pause.end}, "cluster", "${name}", "", "")` : []
  );
  if (paused.length === 0) return fleet.length;
  const away = `count((${paused.join(" or ")}) unless on (cluster) up)`;
  return `(${fleet.length} - (${away} or vector(0)))`;
}

type Threshold = Record<string, string | number>;

/** One panel, as dashboard.schema.json describes it: a table has `by` and `columns`, all others `expr` or `queries`. */
export interface PanelSource {
  type: keyof typeof forms.panels;
  title: string;
  about: string;
  unit?: string;
  expr?: string;
  legend?: string;
  queries?: { expr: string; legend: string }[];
  by?: string[];
  columns?: { name: string; expr: string; unit: string; thresholds?: Threshold }[];
  link?: { title: string; url: string }; // from the first column; `${__value.raw}` is the cell
  thresholds?: Threshold;
  states?: Record<string, string>;
  empty?: string;
  min?: number;
  max?: number;
  stack?: boolean;
  width: number;
  height?: number;
}

/** A panel as Grafana has it; rows have no targets. */
export interface Panel {
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { refId: string; expr: string; [field: string]: unknown }[];
  // deno-lint-ignore no-explicit-any
  [field: string]: any;
}

/** What a type of panel has of its own; `height` in rows of the grid. */
interface Looks {
  height: number;
  instant: boolean;
  options: Record<string, unknown>;
  target?: Record<string, unknown>;
  custom?: Record<string, unknown>;
}

export const PANEL_LOOKS: Record<PanelSource["type"], Looks> = forms.panels;
const REF_IDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** The panel as Grafana takes it, but for its number and where it lies. */
export function expandPanel(panel: PanelSource, place: PanelPlace) {
  const { type, title, about: description, expr = "", legend = "__auto", columns, unit } = panel;
  const { instant, options, target } = PANEL_LOOKS[type];
  const uid = place.central && !instant ? "${datasource}" : place.datasource;
  const datasource = { type: "prometheus", uid };
  const queries = columns?.map(({ expr }) => ({ expr, legend: "__auto" })) ?? panel.queries ??
    [{ expr, legend }];
  return {
    type,
    title,
    description,
    datasource,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: REF_IDS[index]!,
      datasource,
      editorMode: "code",
      expr: expr.trim().replaceAll("$fleet", String(place.clusters)),
      legendFormat: place.central ? legend : legend.replace(/\{\{cluster\}\}\s*/, ""),
      instant,
      range: !instant,
      ...target,
    })),
    ...(type === "table" ? tableOf(panel, place) : { fieldConfig: fieldsOf(panel) }),
    options: type === "heatmap" ? { ...options, yAxis: { unit } } : options,
  };
}

function fieldsOf({ type, unit, min, max, empty, stack, thresholds, states = {} }: PanelSource) {
  const { custom } = PANEL_LOOKS[type];
  const options = Object.entries(states).map(([value, state], index) => {
    const [color, ...text] = state.split(" ");
    return [value, { color, text: text.join(" "), index }];
  });
  const overTime = {
    fillOpacity: stack ? 40 : 5,
    stacking: { mode: stack ? "normal" : "none", group: "A" },
    thresholdsStyle: { mode: thresholds ? "dashed" : "off" },
  };
  return {
    defaults: {
      unit,
      min,
      max,
      noValue: empty,
      color: { mode: type === "timeseries" ? "palette-classic" : "thresholds" },
      thresholds: stepsOf(thresholds),
      mappings: options.length > 0 ? [{ type: "value", options: Object.fromEntries(options) }] : [],
      custom: type === "timeseries" ? { ...custom, ...overTime } : custom,
    },
    overrides: [],
  };
}

function stepsOf({ base = "green", ...steps }: Threshold = {}) {
  const rising = Object.entries(steps).map(([color, value]) => ({ color, value }));
  return { mode: "absolute", steps: [{ color: base, value: null }, ...rising] };
}

/** One row per combination of the labels in `by`; the queries' answers are merged side by side. */
function tableOf({ by = [], columns = [], link, empty }: PanelSource, { central }: PanelPlace) {
  const shown = by.filter((label) => central || label !== "cluster");
  const titleOf = (label: string) => label.charAt(0).toUpperCase() + label.slice(1);
  const columnOf = (index: number) => columns.length > 1 ? `Value #${REF_IDS[index]}` : "Value";
  const fields = [
    ...shown.map((label) => [label, titleOf(label)]),
    ...columns.map(({ name }, index) => [columnOf(index), name]),
  ];
  const [first = ""] = by;
  return {
    transformations: [
      { id: "merge", options: {} },
      {
        id: "organize",
        options: {
          excludeByName: { Time: true, ...(central ? {} : { cluster: true }) },
          indexByName: Object.fromEntries(fields.map(([field], index) => [field, index])),
          renameByName: Object.fromEntries(fields),
        },
      },
    ],
    fieldConfig: {
      defaults: { noValue: empty, custom: { align: "auto" } },
      overrides: [
        ...columns.map(({ name, unit, thresholds }) =>
          override(name, {
            unit,
            ...thresholds && {
              thresholds: stepsOf(thresholds),
              "custom.cellOptions": { type: "color-text" },
            },
          })
        ),
        ...(link && shown.includes(first) ? [override(titleOf(first), { links: [link] })] : []),
      ],
    },
  };
}

function override(options: string, properties: Record<string, unknown>) {
  const pairs = Object.entries(properties).map(([id, value]) => ({ id, value }));
  return { matcher: { id: "byName", options }, properties: pairs };
}

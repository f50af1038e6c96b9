// A panel in short form, as Grafana has it; looks are decided in manifests/prometheus/dashboard.json, once for all.
import forms from "../../../manifests/prometheus/dashboard.json" with { type: "json" };
import type { PanelPlace } from "./place.ts";

type Threshold = Record<string, string | number>;

/** One panel. A table has `by` and `columns`, every other type `expr` or `queries`. */
export interface PanelSource {
  type: keyof typeof forms.panels;
  title: string;
  /** What it means, and what to do about it. */
  about: string;
  unit?: string;
  expr?: string;
  legend?: string;
  queries?: { expr: string; legend: string }[];
  by?: string[];
  columns?: { name: string; expr: string; unit: string; thresholds?: Threshold }[];
  /** From the column named first in `by` to another page; `${__value.raw}` is the cell. */
  link?: { title: string; url: string };
  /** `{ orange: 1, red: 5 }`: green below 1. `base` gives the lowest colour another name. */
  thresholds?: Threshold;
  /** Values with a meaning, as `0: red down`. */
  states?: Record<string, string>;
  /** What stands there instead of "No data". */
  empty?: string;
  min?: number;
  max?: number;
  stack?: boolean;
  width: number;
  height?: number;
}

/** A query of a panel. */
export interface Target {
  refId: string;
  expr: string;
  [field: string]: unknown;
}

/** A panel as Grafana has it; rows have no targets. */
export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: { type: string; uid: string };
  targets?: Target[];
  // deno-lint-ignore no-explicit-any
  [field: string]: any;
}

const REF_IDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Height in grid rows, whether now is enough, and the options of a type. */
interface Looks {
  height: number;
  instant: boolean;
  options: Record<string, unknown>;
  /** Of each of its queries, and of each of its fields. */
  target?: Record<string, unknown>;
  custom?: Record<string, unknown>;
}

const LOOKS: Record<keyof typeof forms.panels, Looks> = forms.panels;

/** Rows of the grid that the panel takes. */
export function heightOf({ type, height }: PanelSource): number {
  return height ?? LOOKS[type].height;
}

/** The panel as Grafana takes it, but for its number and where it lies. */
export function expandPanel(panel: PanelSource, place: PanelPlace) {
  const looks = LOOKS[panel.type];
  const uid = place.central && !looks.instant ? "${datasource}" : place.datasource;
  const datasource = { type: "prometheus", uid };
  return {
    type: panel.type,
    title: panel.title,
    description: panel.about,
    datasource,
    targets: queriesOf(panel).map(({ expr, legend }, index) => ({
      refId: REF_IDS[index]!,
      datasource,
      editorMode: "code",
      expr: expr.trim().replaceAll("$fleet", String(place.clusters)),
      legendFormat: place.central ? legend : legend.replace(/\{\{cluster\}\}\s*/, ""),
      instant: looks.instant,
      range: !looks.instant,
      ...looks.target,
    })),
    ...(panel.type === "table" ? tableOf(panel, place) : { fieldConfig: fieldsOf(panel) }),
    options: panel.type === "heatmap"
      ? { ...looks.options, yAxis: { unit: panel.unit } }
      : looks.options,
  };
}

function queriesOf(panel: PanelSource): { expr: string; legend: string }[] {
  if (panel.columns) return panel.columns.map(({ expr }) => ({ expr, legend: "__auto" }));
  return panel.queries ?? [{ expr: panel.expr!, legend: panel.legend ?? "__auto" }];
}

function fieldsOf(panel: PanelSource) {
  return {
    defaults: {
      unit: panel.unit,
      min: panel.min,
      max: panel.max,
      noValue: panel.empty,
      color: { mode: panel.type === "timeseries" ? "palette-classic" : "thresholds" },
      thresholds: stepsOf(panel.thresholds),
      mappings: mappingsOf(panel.states),
      custom: customOf(panel),
    },
    overrides: [],
  };
}

function customOf({ type, stack, thresholds }: PanelSource) {
  const { custom } = LOOKS[type];
  if (type !== "timeseries") return custom;
  return {
    ...custom,
    fillOpacity: stack ? 40 : 5,
    stacking: { mode: stack ? "normal" : "none", group: "A" },
    thresholdsStyle: { mode: thresholds ? "dashed" : "off" },
  };
}

function stepsOf({ base = "green", ...steps }: Threshold = {}) {
  return {
    mode: "absolute",
    steps: [
      { color: base, value: null },
      ...Object.entries(steps).map(([color, value]) => ({ color, value })),
    ],
  };
}

function mappingsOf(states: Record<string, string> = {}) {
  const options = Object.fromEntries(
    Object.entries(states).map(([value, state], index) => {
      const [color, ...text] = state.split(" ");
      return [value, { color, text: text.join(" "), index }];
    }),
  );
  return Object.keys(options).length > 0 ? [{ type: "value", options }] : [];
}

/** One row per combination of the labels in `by`; the queries' answers are merged side by side. */
function tableOf({ by = [], columns = [], link, empty }: PanelSource, { central }: PanelPlace) {
  const labels = by.filter((label) => central || label !== "cluster");
  const value = (index: number) => columns.length > 1 ? `Value #${REF_IDS[index]}` : "Value";
  const order = [...labels, ...columns.map((_, index) => value(index))];
  const rename = Object.fromEntries([
    ...labels.map((label) => [label, capital(label)]),
    ...columns.map(({ name }, index) => [value(index), name]),
  ]);
  const linked = link && labels.includes(by[0]!);
  return {
    transformations: [
      { id: "merge", options: {} },
      {
        id: "organize",
        options: {
          excludeByName: { Time: true, ...(central ? {} : { cluster: true }) },
          indexByName: Object.fromEntries(order.map((name, index) => [name, index])),
          renameByName: rename,
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
        ...(linked ? [override(capital(by[0]!), { links: [link] })] : []),
      ],
    },
  };
}

function override(column: string, properties: Record<string, unknown>) {
  return {
    matcher: { id: "byName", options: column },
    properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
  };
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

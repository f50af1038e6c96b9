// The closing table of make bench: ours beside plain kubectl, kapp, the server alone, and the bars.
import { table } from "../../lib/io/report.ts";
import type { Figure, Figures } from "./measure.ts";

interface Row {
  title: string;
  ours: number;
  kubectl?: number;
  kapp?: number;
  /** The API server alone. */
  floor?: number;
  /** The most that ours may be: itself, or in parts of another's. */
  bars?: Partial<Record<"ours" | "kubectl" | "kapp" | "floor", number>>;
  unit?: keyof typeof DIGITS;
}

const DIGITS = { s: 2, x: 2, MiB: 0, "": 0 };

/** The table of all figures. */
export function resultTable(figures: Figures): string {
  const heading = ["case", "ours", "kubectl", "kapp", "server alone", "bar", "measured", "met"];
  return table([heading, ...rows(figures).filter(({ ours }) => !isNaN(ours)).map(cells)]);
}

function rows(figures: Figures): Row[] {
  const of = (name: string, field?: Figure) => figures.median(name, field);
  const beside = (name: string, other = name) => ({
    ours: of(name),
    kubectl: of(`kubectl ${other}`),
    kapp: of(`kapp ${name}`),
  });
  const rendered = (count: number, bar: number): Row => ({
    title: `P6  render ${count} clusters`,
    ours: of(`render ${count}`),
    kubectl: of(`kustomize ${count}`),
    bars: { ours: bar },
  });
  const many = (verb: string): Row[] => [
    ...["250", "500"].map((count): Row => ({
      title: `P14 kubectl at once, ${verb} of ${count}`,
      ours: of(`${verb} ${count}`, "atOnce"),
      bars: { ours: 16 },
      unit: "",
    })),
    {
      title: `P15 memory, ${verb} of 250`,
      ours: of(`${verb} 250`, "own"),
      unit: "MiB",
    },
    {
      title: `P15 memory, ${verb} of 500`,
      ours: of(`${verb} 500`, "own"),
      bars: { ours: 300 },
      unit: "MiB",
    },
  ];
  return [
    {
      title: "P1  cold, 251 objects",
      ...beside("cold"),
      floor: of("floor cold"),
      bars: { kubectl: 0.45, floor: 1.35 },
    },
    {
      title: "P2  nothing to do",
      ...beside("no-op"),
      floor: of("floor no-op"),
      bars: { kubectl: 0.25, kapp: 0.3 },
    },
    { title: "P3  one field changed", ...beside("one field", "no-op"), bars: { ours: 1.3 } },
    { title: "P4  plan of it", ...beside("plan", "diff"), bars: { kubectl: 0.25 } },
    {
      title: "P5  drift of 3 clusters (peers: 3 times one)",
      ours: of("drift"),
      kubectl: 3 * of("kubectl diff"),
      kapp: 3 * of("kapp plan"),
      bars: { ours: 3 },
    },
    rendered(3, 0.3),
    rendered(50, 1),
    rendered(500, 8),
    {
      title: "P6  memory for 500",
      ours: of("render 500", "own"),
      bars: { ours: 150 },
      unit: "MiB",
    },
    {
      title: "P7  3 clusters cold at once, to one",
      ours: of("cold of 3") / of("cold"),
      floor: of("floor cold of 3") / of("floor cold"),
      bars: { ours: 1.6 },
      unit: "x",
    },
    { title: "P8  memory of a deploy", ours: of("cold", "own"), bars: { ours: 200 }, unit: "MiB" },
    {
      title: "    with its kubectl",
      ours: of("cold", "tree"),
      kubectl: of("kubectl cold", "tree"),
      kapp: of("kapp cold", "tree"),
      unit: "MiB",
    },
    {
      title: "P9  requests, nothing to do",
      ours: of("no-op", "requests"),
      kubectl: of("kubectl no-op", "requests"),
      kapp: of("kapp no-op", "requests"),
      bars: { ours: 30 },
      unit: "",
    },
    {
      title: "P10 after a kill half way, to cold",
      ours: of("after kill") / of("cold"),
      bars: { ours: 0.45 },
      unit: "x",
    },
    { title: "P11 cold over a bad line", ours: of("bad line") },
    { title: "P12 check the env files of 500", ours: of("check 500"), bars: { ours: 3 } },
    { title: "P13 28 clusters alone", ours: of("fleet alone") },
    {
      title: "P13 beside one dead and one slow, to that",
      ours: of("fleet beside") / of("fleet alone"),
      bars: { ours: 1.3 },
      unit: "x",
    },
    ...many("deploy"),
    ...many("plan"),
  ];
}

function cells({ title, unit = "s", bars = {}, ...figures }: Row): string[] {
  const shown = (value: number) => `${value.toFixed(DIGITS[unit])} ${unit}`.trim();
  const asked = Object.entries(bars).map(([of, bar]) => {
    const whole = of === "ours" ? undefined : figures[of as "kubectl" | "kapp" | "floor"];
    const measured = whole === undefined ? figures.ours : figures.ours / whole;
    const words = of === "floor" ? "server" : of;
    return {
      bar: whole === undefined ? `${bar} ${unit}`.trim() : `${bar} of ${words}`,
      measured: whole === undefined ? "" : measured.toFixed(2),
      isMet: measured <= bar,
      isThere: !isNaN(measured),
    };
  }).filter(({ isThere }) => isThere);
  const { ours, kubectl, kapp, floor } = figures;
  return [
    title,
    ...[ours, kubectl, kapp, floor].map((value) =>
      value === undefined || isNaN(value) ? "" : shown(value)
    ),
    asked.map(({ bar }) => bar).join(", "),
    asked.map(({ measured }) => measured).filter(Boolean).join(", "),
    asked.length === 0 ? "" : asked.every(({ isMet }) => isMet) ? "yes" : "no",
  ];
}

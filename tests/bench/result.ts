// The closing table of make bench: ours beside plain kubectl, kapp, the server alone, and the target of the
// design.
import { table } from "../../lib/io/report.ts";
import type { Figures } from "./measure.ts";

interface Row {
  title: string;
  ours: number;
  kubectl?: number;
  kapp?: number;
  /** The API server alone. */
  floor?: number;
  /** The most that ours may be. */
  target?: number;
  unit?: "s" | "MiB" | "%" | "x" | "";
}

/** The table of all figures. */
export function resultTable(figures: Figures): string {
  const heading = ["case", "ours", "kubectl", "kapp", "floor", "ours/best", "target", "met"];
  return table([heading, ...rows(figures).map(cells)]);
}

function rows(figures: Figures): Row[] {
  const of = figures.median.bind(figures);
  const beside = (name: string, other = name) => ({
    ours: of(name),
    kubectl: of(`kubectl ${other}`),
    kapp: of(`kapp ${name}`),
  });
  const rendered = (count: number, target: number): Row => ({
    title: `P6  render ${count} clusters`,
    ours: of(`render ${count}`),
    kubectl: of(`kustomize ${count}`),
    target,
  });
  return [
    { title: "P1  cold, 251 objects", ...beside("cold"), floor: of("floor cold"), target: 5.5 },
    { title: "P2  nothing to do", ...beside("no-op"), floor: of("floor no-op"), target: 1.0 },
    { title: "P3  one field changed", ...beside("one field", "no-op"), target: 1.3 },
    { title: "P4  plan of it", ...beside("plan", "diff"), target: 2 },
    {
      title: "P5  drift of 3 clusters (peers: 3 times one)",
      ours: of("drift"),
      kubectl: 3 * of("kubectl diff"),
      kapp: 3 * of("kapp plan"),
      target: 2.5,
    },
    rendered(3, 0.3),
    rendered(50, 1),
    rendered(500, 8),
    { title: "P6  memory for 500", ours: of("render 500", "own"), target: 150, unit: "MiB" },
    {
      title: "P7  3 clusters cold at once, to one",
      ours: of("cold of 3") / of("cold"),
      floor: of("floor cold of 3") / of("floor cold"),
      target: 1.6,
      unit: "x",
    },
    { title: "P8  memory of a deploy", ours: of("cold", "own"), target: 200, unit: "MiB" },
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
      target: 30,
      unit: "",
    },
    {
      title: "P10 after a kill half way, to cold",
      ours: 100 * of("after kill") / of("cold"),
      target: 60,
      unit: "%",
    },
    { title: "P11 cold over a bad line", ours: of("bad line") },
    { title: "P12 check the env files of 500", ours: of("check 500"), target: 3 },
  ];
}

function cells({ title, ours, kubectl, kapp, floor, target, unit = "s" }: Row): string[] {
  const digits = unit === "s" || unit === "x" ? 2 : 0;
  const peers = [kubectl, kapp].filter((value) => value !== undefined)
    .filter((value) => !Number.isNaN(value));
  const shown = (value?: number) =>
    value === undefined || Number.isNaN(value) ? "" : `${value.toFixed(digits)} ${unit}`.trim();
  return [
    title,
    shown(ours),
    shown(kubectl),
    shown(kapp),
    shown(floor),
    peers.length === 0 ? "" : (ours / Math.min(...peers)).toFixed(2),
    target === undefined ? "" : `${target} ${unit}`.trim(),
    target === undefined ? "" : ours <= target ? "yes" : "no",
  ];
}

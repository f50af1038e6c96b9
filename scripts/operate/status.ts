// How every cluster is, from the centre alone (but --deep): a line each, the worst first, well ones folded.
import "../needs.ts";
import { setTimeout as sleep } from "node:timers/promises";
import process from "node:process";
import { choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { DeployError } from "../../lib/core/error.ts";
import { counted, FEW } from "../../lib/core/short_list.ts";
import { columnsOf, print, printJson, Report, table } from "../../lib/io/report.ts";
import * as status from "./centre/status.ts";
import { atCentre, jsonOf } from "./centre/questions.ts";

const FLAGS = {
  all: "the well ones one by one, too",
  deep: "when a deploy last changed each, too: asks every cluster itself",
  json: "as JSON on stdout (docs/schema/status.json)",
  watch: "again every ten seconds, until Ctrl-C",
};
const WIDTH = 80;
const COLUMNS: Record<string, (one: status.Health, now: Date) => string> = {
  cluster: ({ id, role }) => `${id}-${role}`,
  state: ({ state }) => state === "critical" ? "crit" : state,
  seen: ({ sampleAge }) => status.ageWord(sampleAge, "none"),
  upload: ({ uploadAge }) => status.ageWord(uploadAge, "none"),
  logs: ({ logAge }) => status.ageWord(logAge, ">2h"),
  alerts: ({ alerts }) => alerts ? alertsText(alerts) : "-",
  disk: ({ volume }) => volume ? `${Math.round(volume.used * 100)}%` : "-",
  cert: ({ certificate }, now) => status.timeLeft(certificate, now),
  changed: ({ changedAge = null }) => status.ageWord(changedAge, "never"), // with --deep
  "look here": ({ look }) => look,
};

await command("status.ts CLUSTER... | GROUP... | edges | all", FLAGS, async (words, flags) => {
  const { fleet, ...choice } = await choiceFor(words, { ...WITHOUT_SECRETS, ...LOOKS });
  const clusters = [...choice.clusters, ...choice.paused], { all, deep, json, watch } = flags;
  const clear = watch && process.stdout.isTTY ? "\x1b[H\x1b[2J" : "";
  for (;;) {
    try {
      const found = await atCentre(fleet, (ask) => status.fleetStatus(ask, clusters, deep));
      if (json) printJson(jsonOf("status", { clusters: found }));
      else print(clear + statusPage(found, { all }));
      if (!watch) return status.exitCodeOfStatus(found);
    } catch (error) {
      if (!watch || !(error instanceof DeployError)) throw error;
      new Report().error(error);
    }
    await sleep(10_000);
  }
}, import.meta.main);

/** The page for people, 80 columns wide; `all`: none is folded. */
export function statusPage(found: status.Health[], { all = false, now = new Date() } = {}): string {
  const those = Map.groupBy(found, ({ state }) => state), well = those.get("well")?.length ?? 0;
  const isFolded = !all && well > FEW;
  const shown = isFolded ? found.filter(({ state }) => state !== "well") : found;
  const counts = [...those].map(([state, { length }]) => `${length} ${state}`);
  const isDeep = found.some(({ changedAge }) => changedAge !== undefined);
  const title = Object.keys(COLUMNS).filter((column) => isDeep || column !== "changed");
  const rows = [title, ...shown.map((one) => title.map((column) => COLUMNS[column]!(one, now)))];
  const time = now.toTimeString().slice(0, 8);
  return [
    `${counted(found.length, "cluster")}: ${counts.join(", ")}, at ${time}`,
    ...shown.length > 0 ? table(rows, isDeep ? " " : "  ").split("\n") : [],
    ...isFolded ? [`${well} more are well (ARGS=--all)`] : [],
  ].map(cut).join("\n");
}

/** A line of 80 columns at most; only the reason of a pause can be longer. */
function cut(line: string): string {
  const letters = [...line];
  while (columnsOf(letters.join("")) > WIDTH) letters.splice(-2, 2, "…");
  return letters.join("");
}

function alertsText({ critical, warning }: { critical: number; warning: number }): string {
  const few = (count: number, of: string) => count > 0 ? [`${Math.min(99, count)}${of}`] : [];
  return [...few(critical, "c"), ...few(warning, "w")].join(" ") || "0";
}

// The page for Monday: how the fleet is, what to do this week, what ends when and what changed, as one HTML file that
// can be mailed and kept, and as JSON beside it, with which the next one is compared. Changes nothing on any cluster.
import "../needs.ts";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { type Cluster, isPaused, projectPath } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { parsedJson } from "../../lib/core/object.ts";
import { pending, planFleet } from "../../lib/deploy/plan_fleet.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { print, Report } from "../../lib/io/report.ts";
import { runbooksOf } from "../components/prometheus/dashboards.ts";
import { STEPS } from "../steps.ts";
import { atCentre, centralOf, jsonOf } from "./centre/questions.ts";
import { reportPage } from "./report/page.ts";
import { askFor } from "./report/facts.ts";
import * as value from "./report/value.ts";

const USAGE = "report.ts CLUSTER... | GROUP... | edges | all";
const INTO = "where it is kept, and the last one is looked for; default: report";

await command(USAGE, { "into=FOLDER": INTO }, async (words, _, values) => {
  const told = new Report();
  const choice = await choiceFor(words, { ...WITHOUT_SECRETS, ...LOOKS });
  const { fleet } = choice, clusters = [...choice.clusters, ...choice.paused];
  const { planned, unasked } = lookedAt(clusters);
  if (unasked.length > 0) {
    told.note(`drift is not looked at without the secrets: ${unasked.join(", ")}`);
  }
  const [said, plans] = await Promise.all([
    atCentre(fleet, (ask) => askFor(ask, clusters, fleet)),
    planFleet(STEPS, planned),
  ]);
  const drift = new Map(plans.map(({ cluster, entries, error }) => {
    return [cluster.id, error === undefined ? pending(entries).length : { error }];
  }));
  const folder = resolve(values.into?.at(-1) ?? projectPath("report"));
  const of = words.join(","), previous = await lastIn(folder, of);
  const runbooks = runbooksOf(centralOf(fleet));
  const report = value.reportOf({ of, clusters, drift, unasked, runbooks, previous, ...said });
  print(await writeReport(folder, report, runbooks));
  told.say(report.verdict);
  return value.exitCodeOfReport(report);
}, import.meta.main);

/** Those of which drift is looked at, and ids of those of which it is not for lack of secrets; paused ones are neither. */
export function lookedAt(clusters: Cluster[]): { planned: Cluster[]; unasked: string[] } {
  const { planned = [], unasked = [] } = Object.groupBy(
    clusters.filter((one) => !isPaused(one)),
    ({ missing }) => missing.length === 0 ? "planned" : "unasked",
  );
  return { planned, unasked: unasked.map(({ id }) => id) };
}

/** The newest report in a folder that was made with these words; what cannot be read is told and passed over. */
export async function lastIn(folder: string, of: string): Promise<value.Sources["previous"]> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => /^fleet-.*\.json$/.test(one)).sort().reverse()) {
    const path = join(folder, name);
    const found = parsedJson(await readFile(path, "utf8").catch(() => ""));
    if (!found) new Report().warn(`${path} is no report: passed over`);
    else if (found.of === of && found.schema === "thanos-multi-cluster/report/v1") return found;
  }
}

/** Writes the page and its JSON, and gives the page's path. @throws {DeployError} exit 4: it is there already, 3: disk. */
export async function writeReport(
  folder: string,
  report: value.FleetReport,
  runbooks: string,
  now = new Date(),
): Promise<string> {
  const stamp = now.toISOString().slice(0, 19).replaceAll(":", "");
  const name = join(folder, `fleet-${stamp}Z`);
  const css = await readFile(new URL("report/page.css", import.meta.url), "utf8");
  const remedy = "name another folder: ARGS=--into=FOLDER";
  const json = jsonOf("report", report, now), html = reportPage({ report, now, css, runbooks });
  for (const [path, text] of [[`${name}.json`, json], [`${name}.html`, html]] as const) {
    if (existsSync(path)) {
      const refused = { exitCode: ExitCode.refused, fix: "make report once more" };
      throw new DeployError(`Refused: "${path}" is there already`, refused);
    }
    await replaceFile(path, (temporary) => writeFile(temporary, text), remedy);
  }
  return `${name}.html`;
}

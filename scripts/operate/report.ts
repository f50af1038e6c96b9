// The page for Monday: how the fleet is, what to do this week, what ends when and what changed, as one HTML file that
// can be mailed and kept, and as JSON beside it, with which the next one is compared. Changes nothing on any cluster.
import "../needs.ts";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { pending, planFleet } from "../../lib/deploy/plan_fleet.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { print, Report } from "../../lib/io/report.ts";
import { STEPS } from "../steps.ts";
import { firingOf } from "./centre/alerts.ts";
import { answersOf, exitCodeOfStatus } from "./centre/status.ts";
import { atCentre, jsonOf } from "./centre/way.ts";
import { weekOf } from "./centre/week.ts";
import { reportPage } from "./report/page.ts";
import { type FleetReport, reportOf } from "./report/value.ts";

const FLAGS = {
  "into=FOLDER": "where it is kept, and the last one is looked for; default: report",
};

if (import.meta.main) {
  await command(
    "report.ts CLUSTER... | GROUP... | edges | all",
    FLAGS,
    async (words, _, values) => {
      const told = new Report();
      const whole = await choiceFor(words, LOOKS).catch(() => undefined);
      const choice = whole ?? await choiceFor(words, { ...WITHOUT_SECRETS, ...LOOKS });
      if (!whole) told.note("drift is not looked at: it takes the secrets");
      const { fleet } = choice, clusters = [...choice.clusters, ...choice.paused];
      const [found, drift] = await Promise.all([
        atCentre(fleet, async (ask) => {
          const [answers, week] = await Promise.all([
            answersOf(ask, clusters),
            weekOf(ask, clusters),
          ]);
          return { answers, week, firing: await firingOf(ask, answers.alerts, fleet) };
        }),
        driftOf(whole?.clusters ?? []),
      ]);
      const folder = resolve(values.into?.at(-1) ?? projectPath("report"));
      const of = words.join(","), previous = await lastIn(folder, of);
      const runbooks = text(fleet.find(({ role }) => role === "central")!, "RUNBOOK_URL");
      const report = reportOf({ of, clusters, drift, runbooks, previous, ...found });
      print(await writeReport(folder, report, runbooks));
      told.say(report.verdict);
      return exitCodeOfStatus(report.clusters);
    },
  );
}

/** How many changes a deploy would make, of each cluster that can be asked. */
async function driftOf(clusters: Cluster[]): Promise<Map<string, number>> {
  const plans = await planFleet(STEPS, clusters);
  const asked = plans.filter(({ error }) => error === undefined);
  return new Map(asked.map(({ cluster, entries }) => [cluster.id, pending(entries).length]));
}

/** The newest report in a folder that was made with these words; what cannot be read is told and passed over. */
export async function lastIn(
  folder: string,
  of: string,
): Promise<FleetReport & { at: string } | undefined> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => /^fleet-.*\.json$/.test(one)).sort().reverse()) {
    try {
      const found = JSON.parse(await readFile(join(folder, name), "utf8"));
      if (found.of === of && found.schema === "thanos-multi-cluster/report/v1") return found;
    } catch {
      new Report().warn(`${join(folder, name)} is no report: passed over`);
    }
  }
}

/**
 * Writes the page and its JSON under a name of their second, and gives the page's path; nothing is overwritten.
 * @throws {DeployError} exit 4 when there is one already, 3 when the disk refuses.
 */
export async function writeReport(
  folder: string,
  report: FleetReport,
  runbooks: string,
  now = new Date(),
): Promise<string> {
  const stamp = now.toISOString().slice(0, 19).replaceAll(":", "");
  const path = join(folder, `fleet-${stamp}Z`);
  const css = await readFile(new URL("report/page.css", import.meta.url), "utf8");
  const remedy = "name another folder: ARGS=--into=FOLDER";
  const parts = {
    json: jsonOf("report", report, now),
    html: reportPage({ report, now, css, runbooks }),
  };
  for (const [kind, text] of Object.entries(parts)) {
    if (existsSync(`${path}.${kind}`)) {
      throw new DeployError(`Refused: "${path}.${kind}" is there already`, {
        exitCode: ExitCode.refused,
        fix: "make report once more",
      });
    }
    await replaceFile(`${path}.${kind}`, (temporary) => writeFile(temporary, text), remedy);
  }
  return `${path}.html`;
}

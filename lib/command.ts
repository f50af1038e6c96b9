// A command line: strict flags, clusters by id, failures to exit codes.
import process from "node:process";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { missingBundles } from "./bundle.ts";
import {
  chooseClusters,
  type Cluster,
  flag,
  loadFleet,
  projectPath,
  refuseUnknownIds,
  secretsOf,
} from "./cluster.ts";
import { DeployError, ExitCode } from "./error.ts";
import {
  type ClusterResult,
  deployFleet,
  exitCodeOfFleet,
  notShown,
  resultsJson,
  summary,
  urlsOf,
} from "./fleet.ts";
import { obeySignals } from "./interrupt.ts";
import { clusterFiles } from "./layers.ts";
import { readPlan, refuseMoved } from "./planfile.ts";
import { planSteps } from "./plans.ts";
import { exitCodeOf, maskSecrets, print, Report } from "./report.ts";
import { notRun, type Step } from "./step.ts";

type Flags = Record<string, boolean | undefined>;

/** What every deploying command understands. */
export const DEPLOY_FLAGS = {
  adopt: "accept a rebuilt cluster (its kube-system UID changed)",
  json: "the results as JSON on stdout",
  "steal-lock": "deploy though another run holds the cluster (its process must be gone)",
  prune: "delete what no step wants any more; volumes, claims and namespaces stay",
};

/**
 * Runs a command and ends the process with its exit code. `flags` maps each known flag to its help;
 * an unknown one ends with exit 2 and the known ones.
 */
export async function command(
  usage: string,
  flags: Record<string, string>,
  run: (words: string[], flags: Flags) => Promise<number>,
): Promise<never> {
  try {
    const { words, values } = parse(usage, flags);
    if (values.help) {
      print(help(usage, flags));
      Deno.exit(ExitCode.done);
    }
    obeySignals((text) => new Report().say(text));
    const code = await run(words, values);
    if (code !== ExitCode.done) new Report().say(`exit code ${code}`);
    Deno.exit(code);
  } catch (error) {
    new Report().error(error);
    const code = exitCodeOf(error);
    new Report().say(`exit code ${code}`);
    Deno.exit(code);
  }
}

function parse(usage: string, flags: Record<string, string>): { words: string[]; values: Flags } {
  const options: ParseArgsConfig["options"] = { help: { type: "boolean" } };
  for (const name of Object.keys(flags)) options[name] = { type: "boolean" };
  try {
    const { positionals, values } = parseArgs({
      args: process.argv.slice(2),
      options,
      allowPositionals: true,
    });
    return { words: positionals, values: values as Flags };
  } catch (error) {
    throw new DeployError("Cannot understand the command line", {
      exitCode: ExitCode.config,
      where: error instanceof Error ? error.message.split(". ")[0]! : String(error),
      fix: help(usage, flags).trimEnd().replaceAll("\n", "\n  "),
    });
  }
}

function help(usage: string, flags: Record<string, string>): string {
  const lines = Object.entries({ ...flags, help: "this text" })
    .map(([name, text]) => `  --${name.padEnd(10)} ${text}`);
  return [`usage: ${usage}`, ...lines, ""].join("\n");
}

/** The clusters that a command works on, and the central one when it is none of them. */
export interface Choice {
  clusters: Cluster[];
  central?: Cluster;
}

/** The fleet's chosen clusters (all of them for the word `all`), with their secrets masked. */
export async function clustersFor(words: string[]): Promise<Cluster[]> {
  return (await choiceFor(words)).clusters;
}

/** The one cluster that a command works on; exit 2 for several, with `what` as the command to type. */
export async function onlyOf(words: string[], what: string): Promise<Cluster> {
  const clusters = await clustersFor(words);
  if (clusters.length === 1) return clusters[0]!;
  throw new DeployError("Cannot do this on several clusters at once", {
    exitCode: ExitCode.config,
    fix: `${what} CLUSTER=${clusters[0]!.id}`,
  });
}

/** As {@link clustersFor}, with the central cluster that should hear of what happens to them. */
export async function choiceFor(words: string[]): Promise<Choice> {
  const known = (await clusterFiles(projectPath("env"))).ids;
  const ids = words.includes("all") ? known : words;
  // A mistyped id is said before anything that the files may lack.
  refuseUnknownIds(known, ids);
  const fleet = await loadFleet();
  maskSecrets(fleet.flatMap(secretsOf));
  const clusters = chooseClusters(fleet, ids);
  const central = fleet.find(({ role }) => role === "central");
  return { clusters, central: central && clusters.includes(central) ? undefined : central };
}

/**
 * Deploys steps to clusters, writes the closing table (or, with `--json`, the results to stdout), and
 * gives the exit code. `CANARY` of the environment names the one that goes first: the others follow
 * when it is well. `PLAN` names an approved plan.
 */
export async function deploy(steps: Step[], ids: string[], flags: Flags = {}): Promise<number> {
  const started = performance.now();
  const { PLAN, CANARY } = process.env;
  const { clusters, central } = await choiceFor(ids);
  const approved = PLAN ? await readPlan(PLAN) : undefined;
  const results: ClusterResult[] = [];
  for (const group of CANARY ? canaryFirst(clusters, CANARY) : [clusters]) {
    const goes = exitCodeOfFleet(results) === ExitCode.done;
    results.push(
      ...goes
        ? await deployFleet(steps, group, {
          adopt: flags.adopt,
          prune: flags.prune,
          stealLock: flags["steal-lock"],
          approve: approved &&
            (async (cluster) => refuseMoved(approved, cluster, await planSteps(steps, cluster))),
          central,
        })
        : group.map((cluster) => ({ cluster, steps: steps.map(notRun) })),
    );
  }
  await close(steps, results, (performance.now() - started) / 1000);
  const code = exitCodeOfFleet(results);
  if (flags.json) print(resultsJson(results, code));
  return code;
}

function canaryFirst(clusters: Cluster[], id: string): Cluster[][] {
  refuseUnknownIds(clusters.map(({ id }) => id), [id]);
  return [clusters.filter((one) => one.id === id), clusters.filter((one) => one.id !== id)];
}

/** What a run of so many seconds came to, what it could not show, and where to look now. */
async function close(steps: Step[], results: ClusterResult[], seconds: number): Promise<void> {
  const report = new Report();
  report.say(`\n${summary(results, seconds)}`);
  const hidden = notShown(results);
  if (hidden.length > 0) {
    report.say(`\nNot shown here:\n  ${hidden.join("\n  ")}`);
  }
  for (const bundle of missingBundles()) {
    report.warn(`${bundle} was left out: it could not be had (UPSTREAM_MIRROR, README.md)`);
  }
  for (const { cluster, steps: ran } of results.filter(({ cluster }) => !isSimulated(cluster))) {
    const done = steps.filter(({ name }) =>
      ran.some(({ step, state }) => step === name && state === "ok")
    );
    const urls = await urlsOf(done, cluster);
    if (urls.length > 0) report.say(`\nopen  ${urls.join("\n      ")}`);
  }
}

function isSimulated(cluster: Cluster): boolean {
  return flag(cluster, "SIMULATED_NODES");
}

/** Runs one step script: `scripts/30-thanos.ts 197 [--adopt]`. */
export function main(step: Step): Promise<never> {
  return command(
    `scripts/${step.name}.ts CLUSTER... | all`,
    DEPLOY_FLAGS,
    (words, flags) => deploy([step], words, flags),
  );
}

// A command line: strict flags, clusters by id, failures to exit codes.
import { resolve } from "node:path";
import process from "node:process";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { chooseClusters, loadFleet, refuseUnknown, secretsOf } from "../config/cluster.ts";
import type { FleetOptions } from "../config/merge.ts";
import { type Cluster, isPaused, pauseWords, projectPath } from "../core/cluster.ts";
import { configError, ExitCode, messageOf, refusalError } from "../core/error.ts";
import { obeySignals } from "../io/interrupt.ts";
import { clusterFiles } from "../config/files.ts";
import { exitCodeOf, maskSecrets, print, Report } from "../io/report.ts";
import { tellRetries } from "../kube/kubectl_error.ts";

/** The flags that were given, and the values of those that take one. */
export type Flags = Record<string, boolean | undefined>;
export type Values = Record<string, string[] | undefined>;

/** Runs a command, if `isMain`, and ends with its exit code. `flags` maps each (`take=NAME`: with a value) to its help. */
export async function command(
  usage: string,
  flags: Record<string, string>,
  run: (words: string[], flags: Flags, values: Values) => Promise<number | void>,
  isMain = true,
): Promise<void> {
  if (!isMain) return;
  // A reader that goes away ends no run: it goes on to its own exit code.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const report = new Report();
  let code: number = ExitCode.done;
  try {
    const { positionals, values } = parse(usage, flags);
    if (values.help) {
      print(help(usage, flags));
      Deno.exit(ExitCode.done);
    }
    obeySignals(report.say);
    tellRetries(report.note);
    code = await run(positionals, values as Flags, values as Values) ?? ExitCode.done;
  } catch (error) {
    report.error(error);
    code = exitCodeOf(error);
  }
  if (code !== ExitCode.done) report.say(`exit code ${code}`);
  Deno.exit(code);
}

function parse(usage: string, flags: Record<string, string>) {
  const options: ParseArgsConfig["options"] = { help: { type: "boolean" } };
  for (const flag of Object.keys(flags)) {
    const [name, value] = flag.split("=") as [string, string?];
    options[name] = value ? { type: "string", multiple: true } : { type: "boolean" };
  }
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw configError("Cannot understand the command line", {
      where: messageOf(error).split(". ")[0],
      fix: help(usage, flags).trimEnd().replaceAll("\n", "\n  "),
    });
  }
}

function help(usage: string, flags: Record<string, string>): string {
  const lines = Object.entries({ ...flags, help: "this text" })
    .map(([name, text]) => `  --${name.padEnd(10)} ${text}`);
  return [`usage: ${usage}`, ...lines, ""].join("\n");
}

/** The clusters that a command works on, those left out as paused, all, and the central one that is not chosen. */
export interface Choice {
  clusters: Cluster[];
  fleet: Cluster[];
  central?: Cluster;
  paused: Cluster[];
}

/** `paused`: a cluster that is named by its id (default: refused, 4); groups, `edges` and `all` leave it out. */
export interface ChoiceOptions extends FleetOptions {
  paused?: "looked at" | "left out";
}

/** For a command that works without any secret. */
export const WITHOUT_SECRETS: ChoiceOptions = { withoutSecrets: true };

/** For a command that changes nothing on the cluster. */
export const LOOKS: ChoiceOptions = { paused: "looked at" };

/** The one cluster that a command works on; exit 2 for none or several, with `what` and an id as what to type. */
export async function onlyOf(
  words: string[],
  what: string,
  options?: ChoiceOptions,
): Promise<Cluster> {
  const { clusters, paused } = await choiceFor(words, options);
  if (clusters.length === 1) return clusters[0]!;
  const [one] = options?.paused === "looked at" ? [...clusters, ...paused] : clusters;
  throw configError("Cannot do this but on one cluster", {
    fix: one ? `${what}${one.id}` : "name one that is not paused",
  });
}

/** What `words` choose (ids, groups, `edges`, `all`), with the secrets of all masked. */
export async function choiceFor(typed: string[], options: ChoiceOptions = {}): Promise<Choice> {
  const words = typed.flatMap((word) => word.split(","));
  // A mistyped id is said before anything that the files may lack.
  const numbers = words.filter((word) => /^\d+$/.test(word));
  if (words.length === 0 || numbers.length > 0) {
    const folder = resolve(options.root ?? projectPath("."), "env");
    refuseUnknown((await clusterFiles(folder)).ids, [], numbers);
  }
  const fleet = await loadFleet(options);
  maskSecrets(fleet.flatMap(secretsOf));
  const chosen = chooseClusters(fleet, words);
  const resting = chosen.filter(isPaused), named = resting.filter(({ id }) => words.includes(id));
  const [first] = options.paused ? [] : named;
  if (first) {
    throw refusalError(`Refused: ${first.id} is ${pauseWords(first.pause!)}`, {
      where: named.map(({ sources }) => `${sources.PAUSED}  PAUSED`),
      fix: "take PAUSED and PAUSED_UNTIL out there; until then nobody deploys to it or misses it",
    });
  }
  tellPaused(resting);
  const paused = resting.filter((one) => options.paused !== "looked at" || !named.includes(one));
  const clusters = chosen.filter((one) => !paused.includes(one));
  const central = fleet.find(({ role }) => role === "central");
  const hears = clusters.length > 0 && central && !clusters.includes(central);
  return { clusters, fleet, central: hears ? central : undefined, paused };
}

export function tellPaused(paused: Cluster[]): void {
  for (const [words, those] of Map.groupBy(paused, ({ pause }) => pauseWords(pause!))) {
    new Report().note(`${words}: ${those.map(({ id }) => id).join(", ")}`);
  }
}

/** Says what is accepted in settings but worth telling: once what several clusters share. */
export function tellWarnings(clusters: Cluster[]): void {
  const said = clusters.flatMap(({ id, warnings }) => warnings.map((warning) => ({ id, warning })));
  for (const [warning, those] of Map.groupBy(said, ({ warning }) => warning)) {
    const ids = those.map(({ id }) => id).join(", ");
    new Report(those.length < clusters.length ? `${ids} | ` : "").warn(warning);
  }
}

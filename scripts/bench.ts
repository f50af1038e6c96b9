// How fast a deploy is, beside plain kubectl in the same run: a fresh API server for each cold case, the
// median of ROUNDS (3). Machines are noisy: the ratio tells more than the seconds.
import "./needs.ts";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath, text } from "../lib/cluster.ts";
import { command } from "../lib/command.ts";
import { DeployError, ExitCode } from "../lib/error.ts";
import {
  accessTo,
  PLAYGROUND_TOOLS,
  startControlPlanes,
  stopControlPlanes,
  writeKubeconfig,
} from "../lib/kwok.ts";
import { print, Report, table } from "../lib/report.ts";
import { ensureTools } from "../lib/tool.ts";
import { benchCluster, FOLDER } from "./bench/corpus.ts";

const NAME = "bench";
const folder = projectPath(FOLDER);
const list = join(folder, "list.json");
const program = join(folder, "kubectl");
/** What kubectl has asked the API server since a case began. */
const calls = join(folder, "calls");
const report = new Report();

/** Figures of one case, one per round. */
interface Figures {
  seconds: number[];
  /** Highest resident set in MiB, without that of kubectl. */
  mebibytes: number[];
  /** Requests that kubectl sent to the API server. */
  requests: number[];
}

const all = new Map<string, Figures>();

async function measured(
  name: string,
  work: () => Promise<{ mebibytes?: number }>,
): Promise<number> {
  await writeFile(calls, "");
  const started = performance.now();
  const { mebibytes = 0 } = await work();
  const seconds = (performance.now() - started) / 1000;
  const log = await readFile(calls, "utf8");
  const figures = all.get(name) ?? { seconds: [], mebibytes: [], requests: [] };
  figures.seconds.push(seconds);
  figures.mebibytes.push(mebibytes);
  figures.requests.push(log.match(/(GET|PATCH|POST|PUT|DELETE) https:/g)?.length ?? 0);
  all.set(name, figures);
  report.phase(name, seconds);
  return seconds;
}

function once(...words: string[]) {
  const script = projectPath("scripts/bench/once.ts");
  const env = { ...process.env, BENCH_KUBECTL: program, NO_COLOR: "1" };
  return $({ quiet: true, nothrow: true, env })`
    exec ${Deno.execPath()} run --frozen --no-prompt --allow-all ${script} ${words}`;
}

async function ours(...words: string[]): Promise<{ mebibytes?: number }> {
  const { exitCode, stdout, stderr } = await once(...words);
  if (exitCode === ExitCode.done) return JSON.parse(stdout.trim().split("\n").at(-1)!);
  throw failed(words.join(" "), stderr);
}

async function theirs(...words: string[]): Promise<Record<string, never>> {
  const target = [`--kubeconfig=${folder}/kubeconfig`, `--context=${context}`];
  const { exitCode, stderr } = await $({ quiet: true, nothrow: true })`
    exec ${program} ${target} ${words}`;
  // diff ends with 1 when it has found something.
  if (exitCode !== 0 && !(words[0] === "diff" && exitCode === 1)) throw failed(words[0]!, stderr);
  return {};
}

function failed(what: string, stderr: string): DeployError {
  const where = stderr.trim().split("\n").slice(-8);
  return new DeployError(`Cannot measure ${what}`, { exitCode: ExitCode.prerequisite, where });
}

let context = "";

/** A control plane on which nothing was ever deployed. */
async function fresh(tools: Record<string, string>): Promise<void> {
  await stop();
  await writeProgram(tools);
  const playground = { folder: join(folder, "kwok"), tools };
  await startControlPlanes(playground, [NAME]);
  const cluster = await benchCluster();
  context = text(cluster, "KUBE_CONTEXT");
  await writeKubeconfig(join(folder, "kubeconfig"), [[cluster, await accessTo(playground, NAME)]]);
}

/** A kubectl of which each request is a line of a file, too. */
async function writeProgram(tools: Record<string, string>): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const script = `#!/bin/bash\nexec ${tools.kubectl} -v=6 "$@" 2> >(tee -a ${calls} >&2)\n`;
  await writeFile(program, script, { mode: 0o755 });
}

async function stop(): Promise<void> {
  await stopControlPlanes(join(folder, "kwok"));
  await rm(folder, { recursive: true, force: true });
}

const SERVER_SIDE = ["--server-side", "--force-conflicts", "--field-manager=bench", "-f"];

async function round(tools: Record<string, string>, revision: number): Promise<void> {
  await fresh(tools);
  const cold = await measured("cold deploy", () => ours("deploy"));
  await measured("nothing to do", () => ours("deploy"));
  await measured("one field changed", () => ours("deploy", `${revision}`));
  await measured("plan", () => ours("plan", `${revision}`));
  await writeFile(list, (await once("list")).stdout);
  await measured("kubectl: nothing to do", () => theirs("apply", ...SERVER_SIDE, list));
  await measured("kubectl: diff", () => theirs("diff", ...SERVER_SIDE, list));

  await fresh(tools);
  await writeFile(list, (await once("list")).stdout);
  await measured("kubectl: cold deploy", async () => {
    // In one go the custom resources come before their definitions are ready.
    await theirs("apply", ...SERVER_SIDE, list).catch(() => {});
    await theirs("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s");
    return await theirs("apply", ...SERVER_SIDE, list);
  });

  await fresh(tools);
  const killed = once("deploy");
  await new Promise((resolve) => setTimeout(resolve, cold * 500));
  await killed.kill("SIGKILL");
  await killed;
  await measured("after a kill half way", () => ours("deploy"));
}

/** Rows: what, ours, beside it, the target of the design in seconds (or MiB, or requests). */
function result(): string {
  const of = (name: string, field: keyof Figures = "seconds") => median(all.get(name)![field]);
  const cold = of("cold deploy");
  const compared = (title: string, name: string, other: string, target: string) => {
    const [own, their] = [of(name), of(other)];
    return [
      title,
      `${own.toFixed(2)} s`,
      `${their.toFixed(2)} s`,
      (own / their).toFixed(2),
      target,
    ];
  };
  const alone = (title: string, value: string, target: string) => [title, value, "", "", target];
  return table([
    ["WHAT", "OURS", "KUBECTL", "RATIO", "TARGET"],
    compared("P1  cold, 251 objects", "cold deploy", "kubectl: cold deploy", "5.5 s"),
    compared("P2  nothing to do", "nothing to do", "kubectl: nothing to do", "1.0 s"),
    compared("P3  one field changed", "one field changed", "kubectl: nothing to do", "1.3 s"),
    compared("P4  plan", "plan", "kubectl: diff", "2 s"),
    alone("P6  render 3 clusters", `${of("render 3").toFixed(2)} s`, "0.3 s"),
    alone("P6  render 50 clusters", `${of("render 50").toFixed(2)} s`, "1 s"),
    alone("P6  render 500 clusters", `${of("render 500").toFixed(2)} s`, "8 s"),
    alone("P6  memory for 500", `${of("render 500", "mebibytes").toFixed(0)} MiB`, "150 MiB"),
    alone("P12 check the env files of 500", `${of("check 500").toFixed(2)} s`, "3 s"),
    alone("P8  memory of a deploy", `${of("cold deploy", "mebibytes").toFixed(0)} MiB`, "200 MiB"),
    alone("P9  requests, nothing to do", of("nothing to do", "requests").toFixed(0), "30"),
    alone("    requests of kubectl", of("kubectl: nothing to do", "requests").toFixed(0), ""),
    alone(
      "P10 after a kill half way",
      `${(100 * of("after a kill half way") / cold).toFixed(0)} % of cold`,
      "60 %",
    ),
  ]);
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

await command("bench.ts", {}, async () => {
  const rounds = Number(process.env.ROUNDS || 3);
  const tools = await ensureTools(PLAYGROUND_TOOLS, { say: (line) => report.say(line) });
  try {
    for (let index = 1; index <= rounds; index++) {
      report.heading(`round ${index} of ${rounds}`);
      await writeProgram(tools);
      for (const count of ["3", "50", "500"]) {
        await measured(`render ${count}`, () => ours("render", count));
      }
      await measured("check 500", () => ours("check", "500"));
      await round(tools, index + 1);
    }
  } finally {
    await stop();
  }
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  print(`\n${availableParallelism()} cores, ${memory} GiB, ${rounds} rounds, medians\n${result()}`);
  return ExitCode.done;
});

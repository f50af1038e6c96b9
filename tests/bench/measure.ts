// What a measured command took: seconds, memory, requests to the API servers.
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { $ } from "zx";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { treeOf, watchMemory } from "./memory.ts";
import type { Servers } from "./server.ts";

/** One run of a command. */
export interface Sample {
  seconds: number;
  /** Highest resident set of the process itself in MiB. */
  own: number;
  /** The same of it with all that it started. To watch that takes time, so only some cases have it. */
  tree?: number;
  /** What the API servers were asked. */
  requests: number;
  /** The most kubectl at once; of runs with the stub. */
  atOnce?: number;
  /** Objects that it changed, or would change. */
  changed?: number;
  state?: string;
  /** Ids of clusters that could not be deployed to. */
  away?: string[];
}

/** Commands of ours, each in a process of its own. */
export class Ours {
  readonly #servers: Servers;
  readonly #env: Record<string, string | undefined>;

  constructor(servers: Servers, kubectl: string) {
    this.#servers = servers;
    this.#env = { ...process.env, NO_COLOR: "1", BENCH_KUBECTL: kubectl };
  }

  /** Runs a verb of once.ts; what it asks `clusters` is counted. */
  async run(
    words: string[],
    { clusters = [], env = {}, memory = false }: {
      clusters?: Cluster[];
      env?: Record<string, string>;
      memory?: boolean;
    } = {},
  ): Promise<Sample> {
    const marks = await Promise.all(clusters.map((one) => this.#servers.mark(one)));
    const started = performance.now();
    const running = this.#start(words, env);
    const watched = memory ? watchMemory(running.pid!) : undefined;
    const { exitCode, stdout, stderr } = await running;
    const seconds = (performance.now() - started) / 1000;
    const tree = await watched?.();
    if (exitCode !== ExitCode.done) throw failed(words.join(" "), stderr);
    // The log is written in time, but not by us.
    await sleep(200);
    const requests = await Promise.all(
      clusters.map((one, index) => this.#servers.requestsSince(marks[index]!, one)),
    );
    const { mebibytes, ...rest } = JSON.parse(stdout.trim().split("\n").at(-1)!);
    const asked = requests.reduce((sum, count) => sum + count, 0);
    return { seconds, own: mebibytes, tree, requests: asked, ...rest };
  }

  /** Starts a verb and kills it, and all that it has started, after so many seconds. */
  async killed(words: string[], seconds: number): Promise<void> {
    const running = this.#start(words, {});
    await sleep(seconds * 1000);
    const pids = await treeOf(running.pid!);
    await $({ quiet: true, nothrow: true })`kill -9 ${pids.map(String)}`;
    const { exitCode } = await running;
    if (exitCode === ExitCode.done) throw failed(words.join(" "), "it was done before the kill");
  }

  #start(words: string[], env: Record<string, string>) {
    const script = projectPath("tests/bench/once.ts");
    return $({ quiet: true, nothrow: true, env: { ...this.#env, ...env } })`
      exec ${Deno.execPath()} run --frozen --no-prompt --allow-all ${script} ${words}`;
  }
}

/** Why a figure would mean nothing. */
export function failed(what: string, stderr: string): DeployError {
  const where = stderr.trim().split("\n").slice(-8);
  return new DeployError(`Cannot measure ${what}`, { exitCode: ExitCode.verification, where });
}

/** What of a sample goes into the table. */
export type Figure = "seconds" | "own" | "tree" | "requests" | "atOnce";

/** The samples of all rounds, by case. */
export class Figures {
  readonly #samples = new Map<string, Partial<Sample>[]>();

  add(name: string, sample: Partial<Sample>): void {
    this.#samples.set(name, [...this.#samples.get(name) ?? [], sample]);
  }

  /** Median over the rounds (of an even number the lower middle); NaN for what was not measured. */
  median(name: string, field: Figure = "seconds"): number {
    return medianOf((this.#samples.get(name) ?? []).map((sample) => sample[field] ?? NaN));
  }
}

/** Of an even number the lower middle; NaN of none. */
export function medianOf(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? NaN;
}

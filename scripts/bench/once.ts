// One measured command of make bench, in a process of its own: deploy, plan or render.
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { projectPath } from "../../lib/cluster.ts";
import { command } from "../../lib/command.ts";
import { DeployError, ExitCode } from "../../lib/error.ts";
import { deployFleet, exitCodeOfFleet } from "../../lib/fleet.ts";
import { useKubectl } from "../../lib/kubectl.ts";
import { asList } from "../../lib/manifest.ts";
import { planFleet } from "../../lib/plans.ts";
import { print, worstCode } from "../../lib/report.ts";
import { benchCluster, benchFleet, benchStep, corpus, FOLDER } from "./corpus.ts";
import { STEPS } from "../fleet.ts";

const VERBS: Record<string, (word?: string) => Promise<number>> = {
  async deploy(revision) {
    return exitCodeOfFleet(await deployFleet([benchStep(revision)], [await benchCluster()]));
  },
  async plan(revision) {
    const plans = await planFleet([benchStep(revision)], [await benchCluster()]);
    return worstCode(plans.map(({ error }) => error));
  },
  /** The corpus as kubectl takes it. */
  async list() {
    print(asList(await corpus(await benchCluster())));
    return ExitCode.done;
  },
  /** Everything of our own for as many clusters; the bundles are the same for all of them. */
  async render(count) {
    for (const cluster of await benchFleet(await site(Number(count)))) {
      for (const { objects, afterFleet } of STEPS) if (!afterFleet) await objects(cluster);
    }
    return ExitCode.done;
  },
  /** The env files of as many clusters, checked against each other. */
  async check(count) {
    await benchFleet(await site(Number(count)));
    return ExitCode.done;
  },
};

/** A project folder with the env files of one centre and edges, so many in all. */
async function site(count: number): Promise<string> {
  const root = projectPath(join(FOLDER, `site-${count}`)), env = join(root, "env");
  await cp(projectPath("env"), env, { recursive: true });
  const edge = await readFile(projectPath("env/cluster-197.env"), "utf8");
  for (let id = 200; id < 200 + count - 3; id++) {
    const text = edge.replaceAll("197", String(id));
    const address = text.replaceAll(`192.168.101.${id}`, `10.0.${id >> 8}.${id & 255}`);
    await writeFile(join(env, `cluster-${id}.env`), address);
  }
  return root;
}

await command("once.ts VERB [WORD]", {}, async ([verb = "", word]) => {
  const { BENCH_KUBECTL } = process.env;
  if (BENCH_KUBECTL) useKubectl(BENCH_KUBECTL);
  const run = VERBS[verb];
  if (!run) throw new DeployError(`Cannot ${verb}: no such verb`, { exitCode: ExitCode.config });
  const code = await run(word);
  const [, peak] = /VmHWM:\s+(\d+) kB/.exec(await readFile("/proc/self/status", "utf8")) ?? [];
  if (verb !== "list") print(JSON.stringify({ mebibytes: Number(peak) / 1024 }));
  return code;
});

// How fast a deploy is, beside plain kubectl, kapp (where it is on PATH) and the API server alone in the same
// run: fresh servers for each cold case, the medians of ROUNDS (3). Machines are noisy: the ratio tells more
// than the seconds. CASES=one,line,many,fleet,sidecars,blocks,logs takes some of the cases alone;
// sidecars and blocks are about the centre of a fleet, with its defaults and with PROFILE=fleet; logs needs
// LIVE_OPENSEARCH_ROOT.
import "../../scripts/needs.ts";
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $, which } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { hold } from "../../lib/io/interrupt.ts";
import { useKubectl } from "../../lib/kube/kubectl.ts";
import { print, Report } from "../../lib/io/report.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { everyday, fleetWide, floors, killed, overBadLine, rendering } from "./cases.ts";
import { manyBlocks } from "./blocks.ts";
import { centreTable } from "./centre.ts";
import type { Bench } from "./context.ts";
import { benchFleet, corpus, FOLDER } from "./corpus.ts";
import { troubledFleet } from "./fleet.ts";
import { searchedWords } from "./logs.ts";
import { Figures, Ours } from "./measure.ts";
import { kapp, kustomize, plainKubectl } from "./peers.ts";
import { resultTable } from "./result.ts";
import { Servers, TOOLS } from "./server.ts";
import { manySidecars } from "./sidecars.ts";
import { manyClusters } from "./stub.ts";

const folder = projectPath(FOLDER);
const report = new Report();

async function prepared(servers: Servers, kubectl: string): Promise<Bench> {
  const fleet = await benchFleet();
  const cluster = fleet.find(({ role }) => role === "central")!;
  useKubectl(kubectl);
  // How many copies a volume gets is asked of the nodes.
  await servers.start([cluster]);
  const objects = await corpus(cluster);
  const ours = new Ours(servers, kubectl);
  return {
    servers,
    ours,
    kubectl,
    kapp: await which("kapp", { nothrow: true }) ?? undefined,
    folder,
    fleet,
    cluster,
    objects,
    figures: new Figures(),
    report,
  };
}

/** Beside the others, and what a few clusters at once take. */
async function oneCluster(bench: Bench, revision: number): Promise<void> {
  await rendering(bench);
  await kustomize(bench);
  const state = await everyday(bench, revision);
  await plainKubectl(bench);
  await kapp(bench);
  await floors(bench);
  await killed(bench, state);
  await fleetWide(bench);
}

async function tell(
  { figures, kubectl, kapp }: Bench,
  rounds: number,
  load: string,
  words: string,
): Promise<void> {
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  const { clientVersion } = JSON.parse(
    (await $({ quiet: true })`${kubectl} version --client --output json`).stdout,
  );
  const peer = kapp ? (await $({ quiet: true })`${kapp} version`).lines()[0]! : "kapp not on PATH";
  const machine = `${availableParallelism()} cores (load ${load} before), ${memory} GiB`;
  const programs = `Deno ${Deno.version.deno}, kubectl ${clientVersion.gitVersion}, ${peer}`;
  print(`\n${machine}\n${programs}`);
  print(
    `${rounds} ${rounds === 1 ? "round" : "rounds, medians"}\n\n${resultTable(figures)}\n${
      centreTable(figures)
    }${words}`,
  );
}

await command("bench.ts", {}, async () => {
  const rounds = Math.max(1, Number(process.env.ROUNDS) || 3);
  const cases = process.env.CASES?.split(",");
  const has = (name: string) => cases?.includes(name) ?? true;
  const load = loadavg()[0]!.toFixed(1);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const tools = await ensureTools(TOOLS, { say: (line) => report.say(line) });
  const servers = new Servers(folder, tools);
  // kubectl keeps what it once saw of a server.
  process.env.KUBECACHEDIR = join(folder, "kubectl-cache");
  // A signal ends the run between two cases, so that the servers go with it.
  using _ = hold();
  try {
    const bench = await prepared(servers, tools.kubectl!);
    for (let index = 1; index <= rounds; index++) {
      report.heading(`round ${index} of ${rounds}`);
      if (has("one")) await oneCluster(bench, index + 1);
      if (index > 1) continue;
      if (has("line")) await overBadLine(bench);
      if (has("many")) await manyClusters(bench);
      if (has("fleet")) await troubledFleet(bench);
      if (has("sidecars")) await manySidecars(bench);
      if (has("blocks")) await manyBlocks(bench);
    }
    const words = has("logs") ? await searchedWords(bench, rounds) : "";
    await tell(bench, rounds, load, words);
  } finally {
    await servers.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return ExitCode.done;
});

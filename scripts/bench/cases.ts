// The cases of make bench: fresh servers, a command, and what must have come of it.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { type Cluster, text } from "../../lib/cluster.ts";
import { refuseInterrupted } from "../../lib/interrupt.ts";
import { writeKubeconfig } from "../../lib/kwok.ts";
import { asList, inWaves, type Manifest } from "../../lib/manifest.ts";
import type { Report } from "../../lib/report.ts";
import { badLine } from "./badline.ts";
import { corpus } from "./corpus.ts";
import { applyRaw } from "./floor.ts";
import { failed, type Figures, type Ours, type Sample } from "./measure.ts";
import { watchMemory } from "./memory.ts";
import type { Servers } from "./server.ts";

/** What all cases share. */
export interface Bench {
  servers: Servers;
  ours: Ours;
  kubectl: string;
  fleet: Cluster[];
  /** The central cluster, which most cases are about, and what is deployed there. */
  cluster: Cluster;
  objects: Manifest[];
  /** The bench's own, absolute. */
  folder: string;
  figures: Figures;
  report: Report;
}

async function measure<T extends Partial<Sample>>(
  { figures, report }: Bench,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  refuseInterrupted();
  const sample = await work();
  figures.add(name, sample);
  const { requests, tree } = sample;
  const about = [
    requests ? `${requests} requests` : "",
    tree ? `${tree.toFixed(0)} MiB` : "",
  ].filter(Boolean).join(", ");
  report.phase(name, sample.seconds ?? 0, about);
  return sample;
}

async function timed(work: () => Promise<unknown>): Promise<{ seconds: number }> {
  const started = performance.now();
  await work();
  return { seconds: (performance.now() - started) / 1000 };
}

/** One of our commands on the central cluster, which has to change so many objects. */
async function own(
  bench: Bench,
  name: string,
  words: string[],
  changes: number,
): Promise<Sample> {
  const { ours, cluster } = bench;
  return await measure(bench, name, async () => {
    const sample = await ours.run(words, { clusters: [cluster] });
    if (sample.changed === changes) return sample;
    throw failed(name, `it changed ${sample.changed} objects and not ${changes}`);
  });
}

async function theirs(bench: Bench, name: string, ...calls: string[][]): Promise<void> {
  const { kubectl, servers, cluster } = bench;
  const target = [
    `--kubeconfig=${servers.kubeconfig}`,
    `--context=${text(cluster, "KUBE_CONTEXT")}`,
  ];
  const mark = await servers.mark(cluster);
  await measure(bench, name, async () => {
    let peak = 0;
    const { seconds } = await timed(async () => {
      for (const words of calls) {
        const running = $({ quiet: true, nothrow: true })`exec ${kubectl} ${target} ${words}`;
        const memory = watchMemory(running.pid!);
        const { exitCode, stderr } = await running;
        peak = Math.max(peak, await memory());
        // diff ends with 1 when it has found something.
        if (exitCode !== 0 && !(words[0] === "diff" && exitCode === 1)) throw failed(name, stderr);
      }
    });
    return { seconds, tree: peak, requests: await servers.requestsSince(mark, cluster) };
  });
}

const SERVER_SIDE = ["--server-side", "--force-conflicts", "--field-manager=bench", "-f"];

/** Ours and theirs on a cluster that changes little; gives the hash of what a deploy leaves. */
export async function everyday(bench: Bench, revision: number): Promise<string> {
  const { servers, ours, cluster: { id }, cluster, objects, folder } = bench;
  await servers.start([cluster]);
  await own(bench, "cold", ["deploy", id], objects.length);
  const { state } = await ours.run(["state", id]);
  await own(bench, "no-op", ["deploy", id], 0);
  await own(bench, "plan", ["plan", id, `${revision}`], 1);
  await own(bench, "one field", ["deploy", id, `${revision}`], 1);
  const list = join(folder, "list.json");
  await writeFile(list, asList(objects));
  // The first one becomes the manager of all fields, which is more than nothing to do.
  await theirs(bench, "kubectl adopts", ["apply", ...SERVER_SIDE, list]);
  await theirs(bench, "kubectl no-op", ["apply", ...SERVER_SIDE, list]);
  await theirs(bench, "kubectl diff", ["diff", ...SERVER_SIDE, list]);
  return state!;
}

/** Definitions, the wait for them, and the rest. */
export async function coldKubectl(bench: Bench): Promise<void> {
  const { servers, cluster, objects, folder } = bench;
  await servers.start([cluster]);
  const [first, second] = [join(folder, "definitions.json"), join(folder, "others.json")];
  const [definitions, others] = inWaves(objects);
  await writeFile(first, asList(definitions));
  await writeFile(second, asList(others));
  const wait = ["wait", "--for=condition=Established", "--timeout=120s", "crd", "--all"];
  const calls = [["apply", ...SERVER_SIDE, first], wait, ["apply", ...SERVER_SIDE, second]];
  await theirs(bench, "kubectl cold", ...calls);
}

/** The servers alone: one, and three at once on this machine. */
export async function floors(bench: Bench): Promise<void> {
  const { servers, fleet, cluster, objects } = bench;
  await servers.start([cluster]);
  const access = await servers.accessTo(cluster);
  await measure(bench, "floor cold", () => timed(() => applyRaw(access, objects)));
  await measure(bench, "floor no-op", () => timed(() => applyRaw(access, objects)));
  await servers.start(fleet);
  const all = await Promise.all(fleet.map(async (one) => ({
    access: await servers.accessTo(one),
    objects: await corpus(one),
  })));
  const work = () => Promise.all(all.map(({ access, objects }) => applyRaw(access, objects)));
  await measure(bench, "floor cold of 3", () => timed(work));
}

/** Killed half way, the second run leads to the state that one run leads to. */
export async function killed(bench: Bench, state: string): Promise<void> {
  const { servers, ours, cluster: { id }, cluster, figures } = bench;
  await servers.start([cluster]);
  await ours.killed(["deploy", id], figures.median("cold") / 2);
  await measure(bench, "after kill", () => ours.run(["deploy", id], { clusters: [cluster] }));
  const { state: after } = await ours.run(["state", id]);
  if (after !== state) throw failed("after kill", "it led to another state than one run does");
}

/** All three clusters: at once from nothing, and then what is not as wanted on them. */
export async function fleetWide(bench: Bench): Promise<void> {
  const { servers, ours, fleet } = bench;
  await servers.start(fleet);
  await measure(bench, "cold of 3", () => ours.run(["deploy", "all"], { clusters: fleet }));
  await measure(bench, "drift", () => ours.run(["plan", "all"], { clusters: fleet }));
}

/** One request in twenty is lost, one in fifty comes back; a fifth of a second each way; no webhook at first. */
const FAULTS = {
  cut: 0.05,
  busy: 0.02,
  latency: 200,
  webhook: { path: "/services/", seconds: 20 },
};

/** A cold deploy that has to arrive, whatever happens to the line. */
export async function overBadLine(bench: Bench): Promise<void> {
  const { servers, ours, cluster: { id }, cluster, folder } = bench;
  await servers.start([cluster]);
  const access = await servers.accessTo(cluster);
  await using line = await badLine(access, FAULTS);
  const path = join(folder, "kubeconfig-bad-line");
  await writeKubeconfig(path, [[cluster, { ...access, server: line.server }]]);
  await measure(
    bench,
    "bad line",
    () => ours.run(["deploy", id], { env: { BENCH_KUBECONFIG: path } }),
  );
  const { changed } = await ours.run(["deploy", id]);
  if (changed !== 0) throw failed("bad line", `${changed} objects did not arrive`);
}

/** Without any cluster: manifests and env files of small and large fleets. */
export async function rendering(bench: Bench): Promise<void> {
  const { ours } = bench;
  for (const count of ["3", "50", "500"]) {
    await measure(bench, `render ${count}`, () => ours.run(["render", count]));
  }
  await measure(bench, "check 500", () => ours.run(["check", "500"]));
}

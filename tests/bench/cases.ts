// What make bench measures of ours: fresh servers, a command, and what must have come of it.
import { join } from "node:path";
import { writeKubeconfig } from "../../scripts/demo/control_plane.ts";
import { badLine } from "./badline.ts";
import { type Bench, measure, timed } from "./context.ts";
import { corpus } from "./corpus.ts";
import { applyRaw } from "./floor.ts";
import { failed, type Sample } from "./measure.ts";

/** One of our commands on the central cluster, which has to change so many objects. */
async function own(
  bench: Bench,
  name: string,
  words: string[],
  changes: number,
  { memory = false } = {},
): Promise<Sample> {
  const { ours, cluster } = bench;
  return await measure(bench, name, async () => {
    const sample = await ours.run(words, { clusters: [cluster], memory });
    if (sample.changed === changes) return sample;
    throw failed(name, `it changed ${sample.changed} objects and not ${changes}`);
  });
}

/** A cluster from nothing and then changing little; gives the hash of what the deploy leaves. */
export async function everyday(bench: Bench, revision: number): Promise<string> {
  const { servers, ours, cluster: { id }, cluster, objects } = bench;
  await servers.start([cluster]);
  await own(bench, "cold", ["deploy", id], objects.length, { memory: true });
  const { state } = await ours.run(["state", id]);
  await own(bench, "no-op", ["deploy", id], 0);
  await own(bench, "plan", ["plan", id, `${revision}`], 1);
  await own(bench, "one field", ["deploy", id, `${revision}`], 1);
  return state!;
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

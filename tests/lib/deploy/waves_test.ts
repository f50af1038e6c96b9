// lib/deploy/waves.ts: which clusters have their turn when, and what is held back.
import assert from "node:assert/strict";
import { chooseClusters } from "../../../lib/config/cluster.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { type ClusterResult, notRun, summary } from "../../../lib/deploy/results.ts";
import { step } from "../../../lib/deploy/step.ts";
import { addNotRun, heldBack, runWaves, type Wave, wavesOf } from "../../../lib/deploy/waves.ts";
import { fleetOfSize } from "../../support/cluster_fixture.ts";

const ten = await fleetOfSize(10);
const named = (word: string) =>
  word === "pilot" ? ten.slice(1, 4) : chooseClusters(ten, word.split(","));
const ids = (clusters: Cluster[]) => clusters.map(({ id }) => id).join(" ");
const told = (waves: Wave[]) => waves.map(({ name, clusters }) => `${name}: ${ids(clusters)}`);
const waves = (typed: string, chosen = ten) => wavesOf(typed, chosen, named);

Deno.test("wavesOf() has each cluster in the first wave that names it; a percentage is of the rest, the centre last", () => {
  assert.deepEqual(told(waves("197 pilot 25% all")), [
    "197: 197",
    "pilot: 198 199",
    "25%: 200 201",
    "all: 196 202 203 204 205",
  ]);
  assert.deepEqual(told(waves("all")), [`all: ${ids(ten)}`]);
  assert.deepEqual(told(waves("197,198 edges 196"))[0], "197,198: 197 198");
});

Deno.test("wavesOf() rounds a percentage up, to at least one", () => {
  const sizes = (typed: string, count: number) =>
    waves(typed, ten.slice(0, count)).map(({ clusters }) => clusters.length);
  assert.deepEqual(sizes("1% all", 10), [1, 9]);
  assert.deepEqual(sizes("25% 25% 25% all", 10), [3, 2, 2, 3]);
  assert.deepEqual(sizes("50% 100%", 3), [2, 1]);
  // What is left is none: `all` is well with that.
  assert.deepEqual(sizes("100% all", 3), [3]);
  assert.deepEqual(sizes("197 all", 2), [1, 1]);
  assert.deepEqual(told(waves("197 all", ten.slice(1, 2))), ["197: 197"]);
});

const BAD: [typed: string, says: RegExp][] = [
  ["0% all", /0% is no part/],
  ["120% all", /120% is no part/],
  ["2.5% all", /2\.5% is no part/],
  ["-5% all", /-5% is no part/],
  ["197 197 all", /every cluster of 197 is in a wave before it/],
  ["pilot 198 all", /every cluster of 198 is in a wave before it/],
  ["100% 10% all", /every cluster of 10% is in a wave before it/],
  ["197 pilot", /196, 200, 201, 202, 203, 204, 205 would be in no wave, and stay as they are/],
  ["25%", /would be in no wave/],
  ["  ", /would be in no wave/],
  ["197 299 all", /299/],
];

for (const [typed, says] of BAD) {
  Deno.test(`wavesOf() refuses (2) WAVES="${typed}"`, () => {
    assert.throws(() => waves(typed), (error: DeployError) => {
      assert.equal(error.exitCode, 2);
      assert.match([error.message, ...error.where].join("\n"), says);
      return error.fix !== undefined;
    });
  });
}

Deno.test("wavesOf() refuses (2) a wave of clusters that are not chosen", () => {
  assert.throws(() => waves("197 all", ten.slice(2)), { exitCode: 2 });
});

const work = step({ name: "99-work", objects: () => Promise.resolve([]), run: async () => {} });

function ended(cluster: Cluster, error?: unknown): ClusterResult {
  const state = error === undefined ? "ok" : "failed";
  return { cluster, steps: [{ ...notRun(work), state, ...(error ? { error } : {}) }] };
}

/** Runs waves whose deploys fail on these clusters; `order` is who had a turn with whom. */
async function run(typed: string, failing: string[], maxFailures?: number, exitCode = 7) {
  const order: string[] = [];
  const { results, held } = await runWaves(waves(typed), (clusters) => {
    order.push(ids(clusters));
    return Promise.resolve(clusters.map((cluster) =>
      ended(
        cluster,
        failing.includes(cluster.id) ? new DeployError("Cannot go on", { exitCode }) : undefined,
      )
    ));
  }, maxFailures);
  return { order, results, held: told(held) };
}

Deno.test("runWaves() begins a wave when the one before is well, and names those that it holds back", async () => {
  const well = await run("197 pilot all", []);
  assert.deepEqual(well.order, ["197", "198 199", "196 200 201 202 203 204 205"]);
  assert.deepEqual([well.held, ids(well.results.map(({ cluster }) => cluster)).length], [[], 39]);
  const { order, results, held } = await run("197 pilot 25% all", ["199"]);
  assert.deepEqual(order, ["197", "198 199"]);
  assert.deepEqual(held, ["25%: 200 201", "all: 196 202 203 204 205"]);
  assert.deepEqual(results.map(({ cluster }) => cluster.id), ["197", "198", "199"]);
  // The same again: what is done is passed.
  assert.deepEqual((await run("197 pilot 25% all", [])).order.slice(0, 2), order);
});

Deno.test("MAX_FAILURES: runWaves() counts anew in each wave, and never passes one that has failed as a whole", async () => {
  const { order, held } = await run("40% 50% all", ["197", "201"], 2);
  assert.deepEqual([order.length, held], [3, []]);
  assert.deepEqual((await run("40% 50% all", ["197", "198"], 2)).order.length, 1);
  assert.deepEqual((await run("197 all", ["197"], 5)).held, [
    "all: 196 198 199 200 201 202 203 204 205",
  ]);
});

Deno.test("runWaves() holds the rest back after Ctrl-C, whatever may fail", async () => {
  assert.equal((await run("40% all", ["197"], 3, 130)).order.length, 1);
});

Deno.test("runWaves() names what MAX_FAILURES kept from beginning in the wave itself", async () => {
  const { held } = await runWaves(waves("40% all"), ([first, ...others]) =>
    Promise.resolve([
      ended(first!, new DeployError("Cannot go on", { exitCode: 7 })),
      ...others.map((cluster) => ({ cluster, steps: [notRun(work)] })),
    ]));
  assert.deepEqual(told(held), ["40%: 198 199 200", "all: 196 201 202 203 204 205"]);
  assert.equal(
    heldBack(held, [], 'make all WAVES="40% all"'),
    `held back, and as they were:
  40%  198, 199, 200
  all  196, 201, 202, 203, 204, 205
to go on, once what failed above is well: make all WAVES="40% all"`,
  );
});

Deno.test("runWaves() has one result of the centre, which is told after each wave and has its own", async () => {
  const [centre] = ten;
  const { results } = await runWaves(waves("197 198 all"), (clusters) => {
    const told = clusters.includes(centre!) ? [] : [{ cluster: centre!, steps: [notRun(work)] }];
    return Promise.resolve([...clusters.map((one) => ended(one)), ...told]);
  });
  const [, own] = results;
  assert.deepEqual([results.length, own!.cluster.id], [10, "196"]);
  assert.deepEqual(own!.steps.map(({ state }) => state), ["ok"]);
});

Deno.test("a centre that is held back after it was told of a wave is not ok, and the list says what it was told", async () => {
  const [centre, edge, ...others] = ten, later = step({ ...work, name: "99-later" });
  const { results, held } = await runWaves(waves("197 all"), () =>
    Promise.resolve([
      ended(edge!, new DeployError("Cannot go on", { exitCode: 7 })),
      ended(centre!),
    ]));
  addNotRun(results, ten, [later, work]);
  const table = summary(results, 1);
  assert.match(table, /^196 .* not run$/m);
  assert.match(table, /^197 .* failed in 99-work$/m);
  assert.equal(table.match(/ not run$/gm)?.length, 1 + others.length);
  assert.deepEqual(results.map(({ steps }) => steps.length), ten.map(() => 2));
  const list = heldBack(held, results, "make all");
  assert.match(
    list,
    /\n {2}all {2}196, .*\nbut for 196: its lists of the fleet were brought up to date\n/,
  );
});

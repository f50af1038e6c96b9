// lib/deploy/fleet.ts and lib/deploy/waves.ts after Ctrl-C: who was not begun is held back, and has not failed.
import assert from "node:assert/strict";
import process from "node:process";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { deployFleet, planCentral, removeFleet, tellCentral } from "../../../lib/deploy/fleet.ts";
import { exitCodeOfFleet, notRun, summary } from "../../../lib/deploy/results.ts";
import { step } from "../../../lib/deploy/step.ts";
import { isUntouched, runWaves, type Wave } from "../../../lib/deploy/waves.ts";
import { hold, obeySignals, refuseInterrupted, signalCode } from "../../../lib/io/interrupt.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  FREE,
  identityReply,
  listOf,
  type Reply,
} from "../../support/fake_kubectl.ts";

const [central, edge, other] = await fixtureFleet({ KUBECONFIG_FILE: "kubeconfig" }) as [
  Cluster,
  Cluster,
  Cluster,
];
const UID = "11111111-2222-3333-4444-555555555555";

function marked(id: string, role: string): Reply {
  const marker = { id, name: `cluster-${id}-${role}`, role, uid: UID };
  const reply = identityReply(UID, marker, ["configmap.v1."]);
  return { ...reply, on: `mkube-${id} ${reply.on}` };
}

/** Ctrl-C as the run hears of it, without a signal to the process of the tests; it counts to the end of this file. */
function ctrlC(): void {
  const { on } = process;
  const heard: Record<string, () => void> = {};
  Object.assign(process, { on: (name: string, hear: () => void) => heard[name] = hear });
  obeySignals(() => {});
  process.on = on;
  using _held = hold();
  heard.SIGINT!();
}

const ids = (waves: Wave[]) => waves.map(({ clusters }) => clusters.map(({ id }) => id).join(" "));

Deno.test("A44: after Ctrl-C clusters that nobody touched are held back, and have not failed", async () => {
  const calls = await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    marked("197", "edge"),
    marked("198", "edge"),
    { on: "get configmap|apply", stdout: listOf() },
    ...FREE,
  ]);
  const work = step({
    name: "99-work",
    objects: () => Promise.resolve([]),
    run: () => Promise.resolve(pressed.resolve(ctrlC())),
  });
  const pressed = Promise.withResolvers<void>();
  // It is looked at when Ctrl-C comes.
  const approve = async ({ cluster }: { cluster: Cluster }) => {
    if (cluster !== other) return;
    await pressed.promise;
    refuseInterrupted();
  };
  const waves = [[edge, other], [central]].map((clusters) => ({ name: "some", clusters }));
  const deploy = (clusters: Cluster[]) => deployFleet([work], clusters, { approve });
  const { results, held } = await runWaves(waves, deploy);
  assert.deepEqual([ids(held), signalCode()], [["198", "196"], 130]);
  const [done, looked] = results;
  assert.equal(done!.steps[0]!.state, "ok");
  assert.deepEqual([looked!.error, looked!.steps[0]!.state], [undefined, "not run"]);
  assert.doesNotMatch(summary(results, 1), /198$/m);
  const told = (await calls()).filter(({ args }) => args.includes("mkube-198"));
  assert.deepEqual(told.filter(({ args }) => / apply /.test(args)), []);
  // One whose turn comes only now is not even looked at.
  const [late] = await deploy([central]);
  assert.deepEqual([late!.error, late!.steps[0]!.state], [undefined, "not run"]);
  assert.ok((await calls()).every(({ args }) => !args.includes("mkube-196")));
});

Deno.test("A44: Ctrl-C while the centre is told ends the run with 130, and its plan as well", async () => {
  const part = step({ name: "99-work", objects: () => Promise.resolve([]), run: async () => {} });
  const work = { ...part, centralPart: () => part };
  const [told] = await tellCentral([work], () => ["197"], central);
  assert.deepEqual([told!.steps[0]!.state, exitCodeOfFleet([told!])], ["not run", 130]);
  await assert.rejects(planCentral([work], ["197"], central), { exitCode: 130 });
});

Deno.test("A44: Ctrl-C on the last call of a wave that ends well keeps the next from beginning", async () => {
  const work = step({ name: "99-work", objects: () => Promise.resolve([]), run: async () => {} });
  const waves = [edge, other, central].map((cluster) => ({ name: "one", clusters: [cluster] }));
  const { results, held } = await runWaves(
    waves,
    ([cluster]) =>
      Promise.resolve([{ cluster: cluster!, steps: [{ ...notRun(work), state: "ok" }] }]),
  );
  assert.deepEqual([ids(held), results.length], [["198", "196"], 1]);
});

Deno.test("removeFleet() after Ctrl-C calls nobody failed whom it has not touched, and goes on nowhere", async () => {
  assert.equal(signalCode(), 130, "the tests above have pressed it");
  const calls = await fakeKubectl([{ on: "config view", stdout: FLEET_CONFIG }]);
  const steps = ["10-first", "20-last"].map((name) =>
    step({ name, objects: () => Promise.resolve([]), run: () => Promise.resolve() })
  );
  const results = await removeFleet(steps, [edge, other], { really: true });
  assert.deepEqual(results.map(isUntouched), [true, true]);
  assert.deepEqual(results[0]!.steps.map(({ step }) => step), ["20-last", "10-first"]);
  assert.match(summary(results, 1), /\n0 changes in 1s$/);
  assert.ok((await calls()).every(({ args }) => !args.includes(" delete ")));
});

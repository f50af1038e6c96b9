import assert from "node:assert/strict";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { deployFleet } from "../../../lib/deploy/fleet.ts";
import { exitCodeOfFleet, summary } from "../../../lib/deploy/results.ts";
import { configMap } from "../../../lib/core/object.ts";
import { Report } from "../../../lib/io/report.ts";
import { runStep, step, type StepContext } from "../../../lib/deploy/step.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { inventoryOf } from "../../support/inventory.ts";
import { fixtureCluster, fixtureFleet } from "../../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  FREE,
  identityReply,
  listOf,
  type Reply,
} from "../../support/fake_kubectl.ts";

const settings = { KUBECONFIG_FILE: "tests/fixtures/kubeconfig", SIMULATED_NODES: "true" };
const inventory = (cluster: Cluster) => inventoryOf(cluster, [configMap("a", "monitoring", {})]);
const quiet = () => new Report("", () => {});

function example(run: (context: StepContext) => Promise<void>, needs: string[] = []) {
  const objects = () => Promise.resolve([configMap("a", "monitoring", {})]);
  return step({ name: "99-example", needs, objects, run });
}

const applied: Reply[] = [
  { on: " get configmap", stdout: listOf() },
  { on: " apply ", stdout: listOf(configMap("a", "monitoring", {})) },
];

Deno.test("runStep() counts objects, changes and what simulated nodes cannot show", async () => {
  await fakeKubectl(applied);
  const result = await runStep(
    example(async ({ objects, phase, apply, live, changed }) => {
      await phase("Apply", () => apply(objects));
      changed("bucket x created");
      await live("Answers", () => assert.fail("ran on simulated nodes"));
    }),
    inventory(await fixtureCluster("197", settings)),
    quiet(),
  );
  assert.deepEqual(
    [result.state, result.objects, result.changed, result.notShown],
    ["ok", 1, 2, ["Answers"]],
  );
});

Deno.test("runStep() shows nothing of a program that is a stand-in, and all of the others", async () => {
  const ran: string[] = [];
  const lines: string[] = [];
  const result = await runStep(
    example(async ({ live }) => {
      for (const program of ["grafana", "fluent-bit", undefined]) {
        await live(`Needs ${program}`, () => Promise.resolve(void ran.push(`${program}`)), program);
      }
    }),
    inventory(await fixtureCluster("197", { STAND_INS: "index-management,grafana" })),
    new Report("", (line) => lines.push(line)),
  );
  assert.deepEqual([ran, result.notShown], [["fluent-bit", "undefined"], ["Needs grafana"]]);
  assert.match(lines.join(""), /Needs grafana +not shown here \(grafana is a stand-in\)/);
});

Deno.test("runStep() signs the objects of its step", async () => {
  const calls = await fakeKubectl(applied);
  await runStep(
    example(({ objects, apply }) => apply(objects)),
    inventory(await fixtureCluster("197", settings)),
    quiet(),
  );
  const labels = JSON.parse((await calls()).at(-1)!.stdin).items[0].metadata.labels;
  assert.equal(labels["deploy.miribit.lab/step"], "99-example");
});

Deno.test("runStep() alone names the step that has to run before", async () => {
  await fakeKubectl([{
    on: "get services --all-namespaces --selector deploy.miribit.lab/step=20-prometheus",
  }]);
  const cluster = await fixtureCluster("197", settings);
  const result = await runStep(
    example(async () => {}, ["20-prometheus"]),
    inventory(cluster),
    quiet(),
    {
      alone: true,
    },
  );
  const error = result.error as DeployError;
  assert.deepEqual([result.state, error.exitCode, error.fix], [
    "failed",
    3,
    "make 20-prometheus CLUSTER=197",
  ]);
});

Deno.test("runStep() alone touches nothing where the step before has not brought a PriorityClass yet", async () => {
  const cluster = await fixtureCluster("197", settings);
  const ours = (name: string) => ({
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name },
  });
  const workload = {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "ruler", namespace: "monitoring" },
    spec: { template: { spec: { priorityClassName: "alerting" } } },
  };
  async function resultWith(...classes: string[]) {
    await fakeKubectl([
      {
        on: "get services .*step=20-prometheus",
        stdout: listOf({ kind: "Service", metadata: { name: "prometheus" } }),
      },
      { on: " get priorityclass", stdout: listOf(...classes.map(ours)) },
    ]);
    const tried = example(() => Promise.resolve(), ["20-prometheus"]);
    const objects = () => Promise.resolve([workload]);
    const own = inventoryOf(cluster, [ours("data")]);
    return await runStep({ ...tried, objects }, own, quiet(), { alone: true });
  }
  const { state, error } = await resultWith("data");
  const { exitCode, message, fix } = error as DeployError;
  assert.deepEqual([state, exitCode, fix], ["failed", 3, "make 20-prometheus CLUSTER=197"]);
  assert.match(message, /no PriorityClass alerting yet, which 20-prometheus brings$/);
  assert.equal((await resultWith("data", "alerting")).state, "ok");
});

Deno.test("deployFleet() renders every step before the first one changes anything", async () => {
  const calls = await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    identityReply("uid"),
    ...FREE,
  ]);
  const ran: string[] = [];
  const bad = new DeployError("Cannot render it", { exitCode: ExitCode.config });
  const steps = [
    step({ ...example(() => Promise.resolve(void ran.push("first"))), name: "10-first" }),
    step({
      ...example(() => Promise.resolve()),
      name: "20-last",
      objects: () => Promise.reject(bad),
    }),
  ];
  const results = await deployFleet(steps, [await fixtureCluster("197", settings)]);
  assert.deepEqual([exitCodeOfFleet(results), results[0]!.error, ran], [2, bad, []]);
  const writes = (await calls()).filter(({ args }) => / (apply|create|patch) /.test(args));
  assert.deepEqual(writes.map(({ args }) => args.match(/apply|create|patch lease/)![0]), [
    "create",
    "patch lease",
  ]);
});

Deno.test("deployFleet() goes on with the other clusters when one fails, and ends with its code", async () => {
  await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    { on: "mkube-197 get", stderr: "error: Unauthorized", code: 1 },
    identityReply("uid"),
    ...FREE,
    { on: " apply .*-f -", stdout: listOf() },
    { on: " get ", stdout: listOf() },
  ]);
  const ran: string[] = [];
  const results = await deployFleet(
    [example(({ cluster }) => Promise.resolve(void ran.push(cluster.id)))],
    await fixtureFleet({ KUBECONFIG_FILE: settings.KUBECONFIG_FILE }),
  );
  assert.deepEqual(ran.sort(), ["196", "198"]);
  assert.equal(exitCodeOfFleet(results), 5);
  assert.match(summary(results, 1), /197 +99-example .*not run/);
  assert.match(summary(results, 1), /failed on 197$/);
});

Deno.test("runStep() turns any failure into a result", async () => {
  const failing = example(() => Promise.reject(new DeployError("Cannot x", { exitCode: 8 })));
  const result = await runStep(failing, inventory(await fixtureCluster("197", settings)), quiet());
  assert.deepEqual([result.state, (result.error as DeployError).exitCode], ["failed", 8]);
});

// What is printed of thirty clusters: lib/deploy/results.ts, lib/deploy/plan_fleet.ts and lib/cli/deploy.ts.
import assert from "node:assert/strict";
import process from "node:process";
import type { CheckVerdict } from "../../../lib/core/check.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import type { Planned } from "../../../lib/deploy/plan.ts";
import { type ClusterPlan, printPlans } from "../../../lib/deploy/plan_fleet.ts";
import { openDoors, urlsOf } from "../../../lib/cli/deploy.ts";
import { type ClusterResult, notRun, resultsJson, summary } from "../../../lib/deploy/results.ts";
import { plansJson } from "../../../lib/deploy/plan_file.ts";
import { step } from "../../../lib/deploy/step.ts";
import { OWNER } from "../../../lib/core/object.ts";
import { fleetOfSize } from "../../support/cluster_fixture.ts";
import { refuseUndescribed } from "../../support/schema.ts";

const PAUSE = { reason: "rack move", until: "2026-12-04", end: 0 };

const thirty = await fleetOfSize(30);
const STEPS = ["98-first", "99-last"].map((name) =>
  step({ name, objects: () => Promise.resolve([]), run: async () => {} })
);

const AWAY = new DeployError("Cannot reach the API server", {
  exitCode: 5,
  where: "i/o timeout",
  fix: "kubectl get nodes",
});
const UNREADY = new DeployError("Not ready in time: 1 object", {
  exitCode: 7,
  where: "StatefulSet/monitoring/prometheus",
});

/** 203 and 204 are away, 199 fails in its first step, 200 is stopped before its last. */
function resultOf(cluster: Cluster): ClusterResult {
  const [first, last] = STEPS.map(notRun) as [ClusterResult["steps"][0], ClusterResult["steps"][0]];
  const ok = { state: "ok", objects: 20, changed: 1, seconds: 3.24 } as const;
  if (["203", "204"].includes(cluster.id)) return { cluster, steps: [first, last], error: AWAY };
  if (cluster.id === "199") {
    return { cluster, steps: [{ ...first, ...ok, state: "failed", error: UNREADY }, last] };
  }
  const hasEnded = cluster.id !== "200";
  const notShown = cluster.id === "198" ? ["a", "b"] : [];
  return { cluster, steps: [{ ...first, ...ok, notShown }, hasEnded ? { ...last, ...ok } : last] };
}

const results = thirty.map(resultOf);
const well = thirty.map(({ id }) => id).filter((id) => !/^(198|199|200|203|204)$/.test(id));

Deno.test("summary() of thirty: failures in full first, then one line per cluster, the worst first", () => {
  const lines = summary(results, 312).split("\n");
  const expected = `199  98-first
  Error  Not ready in time: 1 object
    StatefulSet/monitoring/prometheus

203, 204
  Error  Cannot reach the API server
    i/o timeout
    fix: kubectl --context mkube-203 get nodes

cluster  objects  changed  seconds  state
199      20       1        3.2      failed in 98-first
203      0        0        0.0      failed
204      0        0        0.0      failed
200      20       1        3.2      stopped before 99-last
196      40       2        6.5      ok
197      40       2        6.5      ok
198      40       2        6.5      ok                      2 live phases not shown here
${well.slice(2).map((id) => `${id}      40       2        6.5      ok`).join("\n")}

failed on 199, 203, 204`;
  assert.deepEqual(lines, expected.split("\n"));
});

Deno.test("printPlans() says of the centre that it is only what the chosen edges tell it", () => {
  const [cluster] = thirty as [Cluster];
  const [out] = written(() => printPlans([{ cluster, entries: [], told: ["198"] }]));
  assert.match(out, /^196 {2}\S+ {2}what the deploy of 198 does there, and no more$/m);
});

Deno.test("A59: printPlans() calls unwanted what no deploy deletes, with the one command that does", () => {
  const [cluster, ...others] = thirty as [Cluster, ...Cluster[]];
  const entries = [planned("delete"), planned("unchanged")];
  const [out] = written(() => printPlans([{ cluster, entries }]));
  assert.match(out, /^ {2}unwanted Deployment\/n\/delete$/m);
  assert.match(out, / 1 no longer wanted \(only make cluster-196 ARGS=--prune deletes\), 1 unch/);
  assert.doesNotMatch(out, /^ {2}delete /m);
  // Folded, where several have the same: of all of them, and nothing to fill in.
  const [many] = written(() => printPlans(others.map((cluster) => ({ cluster, entries }))));
  const ids = others.map(({ id }) => id).join(" ");
  assert.match(many, new RegExp(`\\(only make all GROUP="${ids}" ARGS=--prune deletes\\)`));
  assert.equal(many.match(/no longer wanted/g)?.length, 1);
});

Deno.test("summary() of a few, or with --matrix, has a row for each step; JSON is always whole", () => {
  const few = summary(results.slice(0, 6), 312).split("\n");
  assert.equal(few[0], "cluster  step      objects  changed  seconds  state");
  assert.equal(few.filter((line) => /9[89]-/.test(line)).length, 12);
  const matrix = summary(results, 312, true);
  assert.match(matrix, /^199 {2}98-first\n {2}Error/);
  assert.equal(matrix.match(/^\d+ +9[89]-.* (ok|failed|not run)/gm)?.length, 60);
  const { clusters } = JSON.parse(resultsJson(results, 7));
  assert.equal(clusters.length, 30);
  assert.ok(clusters.every(({ steps }: { steps: unknown[] }) => steps.length === 2));
});

Deno.test("openDoors() names a few of many clusters", () => {
  const door = { what: "port 1", closedBy: "X=true" };
  const steps = [{ ...STEPS[0]!, opens: () => [door] }];
  const doors = (clusters: Cluster[]) => openDoors(clusters.map((cluster) => ({ cluster, steps })));
  assert.match(doors(thirty.slice(0, 3)), /^196, 197, 198 {2}port 1/m);
  assert.match(doors(thirty), /^196, 197, 198 and 27 more {2}port 1/m);
});

// Also where these tests run in a terminal.
Object.defineProperty(process.stdout, "isTTY", { value: false });

/** What is written to stdout, and to stderr, meanwhile. */
function written(work: () => void): [out: string, err: string] {
  const streams = [process.stdout, process.stderr];
  const texts: [string, string] = ["", ""];
  const before = streams.map(({ write }) => write);
  streams.forEach((stream, index) => {
    stream.write = (chunk: string | Uint8Array) => {
      texts[index as 0 | 1] += chunk;
      return true;
    };
  });
  try {
    work();
  } finally {
    streams.forEach((stream, index) => stream.write = before[index]!);
  }
  return texts;
}

function planned(action: Planned["action"], ...fields: string[]): Planned {
  return { id: `Deployment/n/${action}`, action, fields, mark: "" };
}

const plans = thirty.map((cluster): ClusterPlan => {
  if (cluster.id === "203") return { cluster, entries: [], error: AWAY };
  const same = planned("unchanged");
  if (["199", "200"].includes(cluster.id)) {
    return { cluster, entries: [same, planned("update", "spec.replicas: 1 -> 2")] };
  }
  if (cluster.id === "201") return { cluster, entries: [same, planned("unseen", "S3 is away")] };
  return { cluster, entries: [same] };
});

Deno.test("printPlans() of thirty tells once what several have to say, and folds those that are as wanted", () => {
  const [out, err] = written(() => printPlans(plans));
  const idle = thirty.map(({ id }) => id).filter((id) => !/^(199|20[013])$/.test(id));
  const counts = (update: number, unchanged: number) =>
    `0 to create, ${update} to update, 0 no longer wanted, ${unchanged} unchanged`;
  assert.equal(
    out,
    `199  cluster-199-edge
200  cluster-200-edge
  update   Deployment/n/update
             spec.replicas: 1 -> 2
  ${counts(1, 1)}
201  cluster-201-edge
  unseen   Deployment/n/unseen
             S3 is away
  ${counts(0, 1)}, 1 not looked at
nothing to do on 26: ${idle.join(", ")}
`,
  );
  assert.match(err, /^203 \| Error {2}Cannot reach the API server$/m);
});

Deno.test("printPlans() of a few, or with --matrix, has every cluster by itself", () => {
  const heads = (out: string) => out.match(/^\d+ {2}cluster-.*\n {2}\S/gm)?.length;
  assert.equal(heads(written(() => printPlans(plans.slice(0, 6)))[0]), 6);
  const [whole] = written(() => printPlans(plans, { matrix: true }));
  assert.equal(heads(whole), 29);
  assert.doesNotMatch(whole, /nothing to do/);
});

Deno.test("printPlans() says how old what it finds is, and with --short neither that of many nor fields", () => {
  const at = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
  const entries: Planned[] = [
    { ...planned("update", "spec.replicas: 1 -> 2"), last: { by: OWNER, at: at(200_000) } },
    { ...planned("delete"), last: { by: "kubectl-edit", at: at(65) } },
    planned("create"),
    planned("unseen", "S3 is away"),
  ];
  const [whole] = written(() => printPlans([{ cluster: thirty[0]!, entries }]));
  assert.match(whole, /^ {2}update {3}Deployment\/n\/update {2}written 2d ago by a deploy$/m);
  assert.match(whole, /^ {2}unwanted Deployment\/n\/delete {2}written 1m ago by kubectl-edit$/m);
  assert.match(whole, /^ {2}create {3}Deployment\/n\/create$/m);
  const [short] = written(() => printPlans([{ cluster: thirty[0]!, entries }], { short: true }));
  assert.match(
    short,
    /update .*\n {2}unwanted .*\n {2}create .*\n {2}unseen .*\n {2}1 to create, 1 to/,
  );
  // The same of many is one, be it of another age.
  const many = thirty.map((cluster, index): ClusterPlan => (
    { cluster, entries: [{ ...entries[0]!, last: { by: OWNER, at: at(index * 100_000) } }] }
  ));
  assert.equal(written(() => printPlans(many))[0].match(/update {3}Deployment/g)?.length, 1);
});

Deno.test("urlsOf() names the doors of a cluster, and none of a stand-in", async () => {
  const door = (name: string) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name: `toy-${name}` },
    spec: { rules: [{ host: `${name}.test` }] },
  });
  const objects = () => Promise.resolve([door("pages"), door("api")]);
  const doors = [step({ name: "98-first", objects, run: async () => {} })];
  const [cluster] = thirty as [Cluster];
  assert.deepEqual(await urlsOf(doors, cluster), [
    "http://pages.test:30080",
    "http://api.test:30080",
  ]);
  const lab = { ...cluster, vars: { ...cluster.vars, STAND_INS: "collector,pages" } };
  assert.deepEqual(await urlsOf(doors, lab), ["http://api.test:30080"]);
});

Deno.test("resultsJson() writes what its schema describes, with what 50-verify has found", async () => {
  const checks: CheckVerdict[] = [
    { name: "Targets", hop: "a -> b", state: "warn", findings: [{ state: "warn", what: "old" }] },
  ];
  const [first, ...rest] = results;
  const steps = first!.steps.map((step) => ({ ...step, checks }));
  const { clusters } = await refuseUndescribed(
    "deploy",
    resultsJson([{ ...first!, steps }, ...rest], 7, [{ ...thirty[1]!, pause: PAUSE }]),
  );
  assert.deepEqual(clusters[0].steps[0].checks, checks);
});

Deno.test("plansJson() writes what its schema describes, and nothing else is", async () => {
  const actions = ["create", "update", "delete", "refused", "foreign", "kept"] as const;
  const entries = actions.map((action) => planned(action, "a: 1 -> 2"));
  entries[1]!.last = { by: "kubectl", at: "2026-11-30T00:00:00Z" };
  const whole = [{ cluster: thirty[0]!, entries }, ...plans];
  const told = await refuseUndescribed("plan", plansJson(whole, [{ ...thirty[1]!, pause: PAUSE }]));
  assert.deepEqual(told.clusters[0].changes[1].last, entries[1]!.last);
  await assert.rejects(refuseUndescribed("plan", JSON.stringify({ ...told, more: 1 })));
});

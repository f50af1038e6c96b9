import assert from "node:assert/strict";
import { runUntilOk, throwIfFailed } from "../../../lib/probe/check.ts";
import type { Check, Problem, Subject } from "../../../lib/core/check.ts";
import { type Cluster, inContext } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";

/** What no check here looks at. */
const NOBODY = {
  cluster: { id: "197", vars: { KUBE_CONTEXT: "mkube-197", KUBECONFIG_FILE: "" }, missing: [] },
} as unknown as Subject;

const PROBLEM: Problem = { what: "no blocks", cause: "S3 is away", fix: "mc ping" };

function check(run: () => Promise<Problem[]>): Check {
  return { name: "Upload", hop: "sidecar -> S3", live: true, run };
}

Deno.test("runUntilOk() looks again while there is patience", async () => {
  let runs = 0;
  const said: string[] = [];
  const result = await runUntilOk(
    check(() => Promise.resolve(++runs < 3 ? [PROBLEM] : [])),
    NOBODY,
    { until: Date.now() + 5000, every: 0.001, say: (text) => said.push(text) },
  );
  assert.deepEqual([runs, result.problems, said], [3, [], ["Upload: no blocks"]]);
});

Deno.test("runUntilOk() gives the problems when the patience is over", async () => {
  const result = await runUntilOk(check(() => Promise.resolve([PROBLEM])), NOBODY, { until: 0 });
  assert.deepEqual(result, { name: "Upload", hop: "sidecar -> S3", problems: [PROBLEM] });
});

Deno.test("V1: runUntilOk() has at least the patience of the problem itself", async () => {
  let runs = 0;
  const slow = { ...PROBLEM, patience: 5 };
  const run = () => Promise.resolve(++runs < 3 ? [PROBLEM, slow] : []);
  const { problems } = await runUntilOk(check(run), NOBODY, { until: 0, every: 0.001 });
  assert.deepEqual([runs, problems], [3, []]);
});

Deno.test("V5: runUntilOk() makes a problem of a failure to ask, and of a bug with its stack", async () => {
  const failure = new DeployError("Cannot read /x of a", { exitCode: 8, where: "503", fix: "y" });
  const { problems } = await runUntilOk(check(() => Promise.reject(failure)), NOBODY, { until: 0 });
  assert.deepEqual(problems, [{ what: "Cannot read /x of a", cause: "503", fix: "y" }]);
  const bug = check(() => Promise.reject(new TypeError("x of undefined")));
  const [problem] = (await runUntilOk(bug, NOBODY, { until: 0 })).problems;
  assert.equal(problem!.what, "cannot be asked: x of undefined");
  assert.match(problem!.cause, /^TypeError: x of undefined\n +at /);
  assert.match(problem!.fix, /bug of ours/);
});

Deno.test("throwIfFailed() lists every problem of every check with hop, cause and fix", () => {
  const error = (() => {
    try {
      throwIfFailed("cluster-197-edge", [
        { name: "Targets", hop: "exporters -> Prometheus", problems: [] },
        { name: "Upload", hop: "sidecar -> S3", problems: [PROBLEM, { ...PROBLEM, what: "x" }] },
      ]);
    } catch (error) {
      return error;
    }
  })();
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 11);
  assert.equal(error.message, "1 of 2 checks failed on cluster-197-edge");
  assert.equal(error.where.length, 2);
  assert.equal(
    error.where[0],
    "Upload (sidecar -> S3): no blocks\nlikely cause: S3 is away\nfix: mc ping",
  );
});

Deno.test("throwIfFailed() is silent when all is well", () => {
  throwIfFailed("cluster-197-edge", [{ name: "Upload", hop: "sidecar -> S3", problems: [] }]);
});

Deno.test("runUntilOk() keeps the fact of the last try, and of that one only", async () => {
  let tries = 0;
  const check: Check = {
    name: "Line",
    hop: "pod -> index",
    live: true,
    run: (_, tell) => {
      if (++tries === 1) tell("found late");
      return Promise.resolve(tries === 1 ? [{ what: "w", cause: "c", fix: "f" }] : []);
    },
  };
  const result = await runUntilOk(check, NOBODY, { until: Date.now() + 10_000, every: 0.01 });
  assert.equal(tries, 2);
  assert.equal(result.fact, undefined);
});

Deno.test("V7: runUntilOk() puts the cluster's context into every command of a fix", async () => {
  const fix = "kubectl -n logging get pods; kubectl describe pvc a, then make 40-logging";
  const run = () => Promise.resolve([{ ...PROBLEM, fix }]);
  const { problems } = await runUntilOk(check(run), NOBODY, { until: 0 });
  assert.equal(
    problems[0]!.fix,
    "kubectl --context mkube-197 -n logging get pods; " +
      "kubectl --context mkube-197 describe pvc a, then make 40-logging",
  );
});

Deno.test("V7: inContext() names a kubeconfig of its own, and leaves alone what has a context or is no call", () => {
  const vars = { KUBE_CONTEXT: "mkube-197", KUBECONFIG_FILE: "env/kubeconfig-197" };
  const cluster = { ...NOBODY.cluster, vars } as Cluster;
  assert.equal(
    inContext(cluster, "kubectl logs a"),
    "kubectl --kubeconfig env/kubeconfig-197 --context mkube-197 logs a",
  );
  const texts = [
    "kubectl --context x get pods",
    "kubectl config get-contexts",
    "put kubectl first",
  ];
  for (const text of texts) assert.equal(inContext(cluster, text), text);
});

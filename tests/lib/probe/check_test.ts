import assert from "node:assert/strict";
import {
  exitCodeOfRows,
  openSubject,
  type Row,
  runChecks,
  tableOf,
} from "../../../lib/probe/check.ts";
import {
  type Check,
  type CheckVerdict,
  fail,
  type Finding,
  LIVE,
  note,
  ok,
  warn,
} from "../../../lib/core/check.ts";
import { type Cluster, inContext } from "../../../lib/core/cluster.ts";
import { DeployError, SlowError } from "../../../lib/core/error.ts";
import type { StepContext } from "../../../lib/deploy/step.ts";
import { verifyBy } from "../../../scripts/checks/verify.ts";

/** What no check here looks at. */
const CLUSTER = {
  id: "197",
  vars: {
    KUBE_CONTEXT: "mkube-197",
    KUBECONFIG_FILE: "",
    SIMULATED_NODES: false,
    STAND_INS: "grafana",
  },
  missing: [],
} as unknown as Cluster;

const PROBLEM: Finding = { what: "no blocks", cause: "S3 is away", fix: "mc ping" };

function check(run: Check["run"], more: Partial<Check> = {}): Check {
  return { ...LIVE, name: "Upload", hop: "sidecar -> S3", run, ...more };
}

/** The row of one check, which is run again for so many seconds. */
async function rowOf(
  one: Check,
  { patience = 0, when = "after" as "before" | "after", said = [] as string[] } = {},
): Promise<Row> {
  const say = (text: string) => void said.push(text);
  const subject = openSubject(CLUSTER, { when, objects: () => [], say });
  const until = Date.now() + patience * 1000;
  const [row] = await runChecks([one], subject, { until: () => until, every: 0.001 });
  return row!;
}

Deno.test("runChecks() looks again while there is patience, and keeps the last look only", async () => {
  let runs = 0;
  const said: string[] = [];
  const run = () => Promise.resolve(++runs < 3 ? [note("early"), PROBLEM] : ok("blocks"));
  const { state, findings } = await rowOf(check(run), { patience: 5, said });
  assert.deepEqual([runs, state, findings, said], [3, "ok", [ok("blocks")], ["Upload: no blocks"]]);
});

Deno.test("runChecks() gives what is wrong when the patience is over", async () => {
  const { state, findings } = await rowOf(check(() => Promise.resolve([ok("a"), PROBLEM])));
  assert.deepEqual([state, findings], ["fail", [ok("a"), PROBLEM]]);
});

Deno.test("V1: runChecks() has at least the patience of the finding itself", async () => {
  let runs = 0;
  const slow = { ...PROBLEM, patience: 5 };
  const run = () => Promise.resolve(++runs < 3 ? [PROBLEM, slow] : []);
  const { findings } = await rowOf(check(run));
  assert.deepEqual([runs, findings], [3, []]);
});

Deno.test("V5: runChecks() makes a row of a failure to ask, and of a bug with its stack", async () => {
  const failure = new DeployError("Cannot read /x of a", { exitCode: 8, where: "503", fix: "y" });
  const asked = await rowOf(check(() => Promise.reject(failure)));
  assert.equal(exitCodeOfRows([asked]), 8);
  assert.match(
    tableOf([asked]),
    /^ {2}fail {2}Upload {2}Cannot read \/x of a\n {10}503\n {8}fix: y$/,
  );
  const bug = await rowOf(check(() => Promise.reject(new TypeError("x of undefined"))));
  assert.equal(exitCodeOfRows([bug]), 1);
  assert.match(
    tableOf([bug]),
    /cannot be asked: x of undefined\n +TypeError: x of undefined\n +at [^]*fix: this is a bug of ours/,
  );
});

Deno.test("V5: runChecks() hides before a deploy what is merely slow; after it that is a failure", async () => {
  const slow = new SlowError("The pod has told nothing", { where: "pulling", fix: "run again" });
  const one = check(() => Promise.reject(slow), { needs: undefined });
  const row = await rowOf(one, { when: "before" });
  assert.equal(row.state, "hidden");
  assert.match(tableOf([row]), /^ {2}- {2}Upload .*\n +pulling\n +fix: run again$/);
  assert.equal(exitCodeOfRows([row]), 0);
  assert.equal((await rowOf(one)).state, "fail");
});

Deno.test("runChecks() does not ask a stand-in, nor pods that are simulated", async () => {
  const one = check(() => assert.fail("asked"), { program: "grafana" });
  assert.match(tableOf([await rowOf(one)]), /- +Upload +not shown here \(grafana is a stand-in\)/);
  const vars = { ...CLUSTER.vars, SIMULATED_NODES: true };
  const subject = openSubject({ ...CLUSTER, vars }, { when: "after", objects: () => [] });
  const rows = await runChecks([check(() => assert.fail("asked"))], subject);
  assert.match(tableOf(rows), /- +Upload +not shown here \(simulated nodes\)/);
});

Deno.test("runChecks() runs them side by side, eight at most, and keeps their order", async () => {
  let now = 0, most = 0;
  const checks = Array.from({ length: 20 }, (_, index) =>
    check(async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 20 - index));
      now--;
      return ok(String(index));
    }));
  const rows = await runChecks(checks, openSubject(CLUSTER, { when: "after", objects: () => [] }));
  assert.equal(most, 8);
  assert.deepEqual(rows.map(({ findings }) => findings[0]!.what), checks.map((_, at) => `${at}`));
});

Deno.test("openSubject(): checks that ask under one name share the answer, a failure too", async () => {
  const { once } = openSubject(CLUSTER, { when: "before", objects: () => [] });
  let asked = 0;
  const ask = () => once("nodes", () => Promise.reject(new Error(`${++asked}`)));
  for (let time = 0; time < 2; time++) await assert.rejects(ask(), { message: "1" });
});

Deno.test("tableOf() has cause, detail and fix below their row, and names each finding of the worst kind", () => {
  const row = (name: string, state: Row["state"], ...findings: Finding[]): Row => (
    { check: check(() => Promise.resolve([]), { name }), state, findings }
  );
  const rows = [
    row("Tools", "ok", ok("kubectl"), ok("bash")),
    row("Blocks", "ok"),
    row("Clock", "warn", ok("a"), warn("two: 6 s", "chrony"), warn("three: 7 s", "chrony")),
    row("NodePorts", "fail", { ...fail("taken", "free it", 4), detail: ["by shop/web"] }),
    row("iSCSI", "fail", note("not shown here"), { ...PROBLEM, what: "one\nline" }),
  ];
  assert.equal(
    tableOf(rows),
    `  ok    Tools      kubectl; bash
  ok    Blocks     sidecar -> S3
  warn  Clock      two: 6 s
                   three: 7 s
        fix: chrony
  fail  NodePorts  taken
          by shop/web
        fix: free it
  fail  iSCSI      one line
        likely cause: S3 is away
        fix: mc ping
                   not shown here`,
  );
  assert.equal(exitCodeOfRows(rows), 4);
  assert.equal(exitCodeOfRows(rows.slice(0, 3)), 0);
  assert.equal(tableOf([]), "");
});

Deno.test("tableOf() keeps the fix of a row before another one with the same fix", () => {
  const rows = ["a", "b"].map((name): Row => (
    { check: check(() => Promise.resolve([]), { name }), state: "fail", findings: [PROBLEM] }
  ));
  assert.equal(tableOf(rows).match(/fix: mc ping/g)?.length, 2);
});

Deno.test("runChecks() lets what has begun end when the run is to end", async () => {
  const log: string[] = [];
  const ends = check(async () => {
    try {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return ok("written");
    } finally {
      log.push("cleaned up");
    }
  });
  const throws = check(() => {
    throw new Error("before any promise");
  });
  const subject = openSubject(CLUSTER, { when: "after", objects: () => [] });
  const stops: Check = {
    ...ends,
    get needs(): undefined {
      throw new Error("the run is to end");
    },
  };
  await assert.rejects(runChecks([throws, ends, stops], subject), /is to end/);
  assert.deepEqual(log, ["cleaned up"]);
});

Deno.test("verifyBy() ends with 11 and every check that failed with its hop; it is silent when none has", async () => {
  const told: CheckVerdict[] = [];
  const context = {
    cluster: { ...CLUSTER, vars: { ...CLUSTER.vars, CLUSTER_NAME: "cluster-197-edge" } },
    phase: (_: string, work: () => Promise<unknown>) => work(),
    found: (checks: CheckVerdict[]) => told.push(...checks),
    report: { waiting() {}, say() {} },
  } as unknown as StepContext;
  const well = check(() => Promise.resolve(warn("old", "renew it")), { name: "Certificate" });
  await verifyBy([well], context, () => 0);
  await assert.rejects(verifyBy([well, check(() => Promise.resolve(PROBLEM))], context, () => 0), {
    exitCode: 11,
    message: "1 of 2 checks failed on cluster-197-edge",
    where: ["Upload (sidecar -> S3)"],
  });
  const objects = { ...well, name: "Objects", first: true };
  const all = [check(() => Promise.resolve(PROBLEM)), well, objects];
  const { where } = await verifyBy(all, context, () => 0).catch((error) => error);
  assert.deepEqual(where, ["Objects: old: that first (renew it)", "Upload (sidecar -> S3)"]);
  told.splice(3);
  // For who reads the results of the step, whether it ends well or not.
  assert.deepEqual(told.map(({ name, state }) => [name, state]), [
    ["Certificate", "warn"],
    ["Certificate", "warn"],
    ["Upload", "fail"],
  ]);
});

Deno.test("V7: runChecks() puts the cluster's context into every command of a fix", async () => {
  const fix = "kubectl -n logging get pods; kubectl describe pvc a, then make 40-logging";
  const { findings } = await rowOf(check(() => Promise.resolve([{ ...PROBLEM, fix }])));
  assert.equal(
    findings[0]!.fix,
    "kubectl --context mkube-197 -n logging get pods; " +
      "kubectl --context mkube-197 describe pvc a, then make 40-logging",
  );
});

Deno.test("V7: inContext() names a kubeconfig of its own, and leaves alone what has a context or is no call", () => {
  const vars = { KUBE_CONTEXT: "mkube-197", KUBECONFIG_FILE: "env/kubeconfig-197" };
  const cluster = { ...CLUSTER, vars } as Cluster;
  assert.equal(
    inContext(cluster, "kubectl logs a"),
    "kubectl --kubeconfig env/kubeconfig-197 --context mkube-197 logs a",
  );
  const odd = { ...cluster, vars: { ...vars, KUBECONFIG_FILE: "/home/kim/My Files/it's" } };
  assert.match(
    inContext(odd, "kubectl get pods"),
    /--kubeconfig '\/home\/kim\/My Files\/it'\\''s' --context/,
  );
  const texts = [
    "kubectl --context x get pods",
    "kubectl config get-contexts",
    "put kubectl first",
  ];
  for (const text of texts) assert.equal(inContext(cluster, text), text);
});

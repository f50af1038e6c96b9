import assert from "node:assert/strict";
import { type Ended, ended } from "./script_fixture.ts";

function run(script: string, ...words: string[]): Promise<Ended> {
  return runWith({}, script, ...words);
}

function runWith(
  environment: Record<string, string>,
  script: string,
  ...words: string[]
): Promise<Ended> {
  return ended([Deno.execPath(), "run", "--allow-all", script, ...words], environment);
}

Deno.test("A14: an unknown flag ends with exit 2 and the known ones", async () => {
  const { code, stderr } = await run("scripts/fleet.ts", "deploy", "196", "--dryrun");
  assert.equal(code, 2);
  assert.match(stderr, /--dryrun/);
  assert.match(stderr, /--adopt/);
});

Deno.test("A14: an unknown cluster or verb ends with exit 2 and the known ones", async () => {
  const cluster = await run("scripts/30-thanos.ts", "199");
  assert.equal(cluster.code, 2);
  assert.match(cluster.stderr, /196, 197, 198/);
  const verb = await run("scripts/fleet.ts", "deplyo", "196");
  assert.equal(verb.code, 2);
  assert.match(verb.stderr, /deploy, verify, plan, remove, drift/);
});

Deno.test("A11: config prints every effective setting with its source, secrets masked", async () => {
  const { code, stdout, stderr } = await run("scripts/config.ts", "197");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^NODE_IP=192\.168\.101\.197 +# env\/cluster-197\.env:\d+$/m);
  assert.match(stdout, /^QUERY_TIMEOUT=2m +# default$/m);
  assert.match(stdout, /^S3_SECRET_KEY=\*\*\* +# environment$/m);
  assert.doesNotMatch(stdout + stderr, /hush/);
});

Deno.test("--help lists the flags", async () => {
  const { code, stdout } = await run("scripts/30-thanos.ts", "--help");
  assert.equal(code, 0);
  assert.match(stdout, /usage: scripts\/30-thanos\.ts CLUSTER/);
});

// Its contexts lead nowhere near the clusters, so every deploy is refused.
const KUBECONFIG_FILE = "tests/fixtures/kubeconfig";

Deno.test("CANARY: a canary that is not well keeps the others as they are, and --json says so", async () => {
  const environment = { KUBECONFIG_FILE, CANARY: "197" };
  const { code, stdout } = await runWith(
    environment,
    "scripts/fleet.ts",
    "deploy",
    "all",
    "--json",
  );
  const { schema, exitCode, clusters } = JSON.parse(stdout);
  assert.deepEqual([code, exitCode, schema], [4, 4, "thanos-multi-cluster/deploy/v1"]);
  const told = clusters.map(({ id, error, steps }: Record<string, unknown>) => [
    id,
    typeof error,
    ...new Set((steps as { state: string }[]).map(({ state }) => state)),
  ]);
  assert.deepEqual(told, [
    ["197", "string", "not run"],
    ["196", "undefined", "not run"],
    ["198", "undefined", "not run"],
  ]);
});

Deno.test("CANARY, PLAN, MAX_FAILURES: what cannot be meant is refused (2) before anything is asked", async () => {
  const deploy = ["scripts/fleet.ts", "deploy", "197"] as const;
  assert.equal((await runWith({ KUBECONFIG_FILE, CANARY: "199" }, ...deploy)).code, 2);
  assert.equal((await runWith({ KUBECONFIG_FILE, PLAN: "no-such-plan.json" }, ...deploy)).code, 2);
  assert.equal((await runWith({ KUBECONFIG_FILE, MAX_FAILURES: "0" }, ...deploy)).code, 2);
});

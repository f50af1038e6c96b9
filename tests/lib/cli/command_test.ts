import assert from "node:assert/strict";
import { chmod, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadFleet } from "../../../lib/config/cluster.ts";
import { text } from "../../../lib/core/cluster.ts";
import type { DeployError } from "../../../lib/core/error.ts";
import { FLEET_CONFIG, identityReply } from "../../support/fake_kubectl.ts";
import { type Ended, ended } from "../../support/script_fixture.ts";

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
  const { code, stdout, stderr } = await run("scripts/operate/config.ts", "197");
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

Deno.test("CANARY, WAVES: a wave that is not well keeps the others as they are, and --json says so", async () => {
  const deploy = ["scripts/fleet.ts", "deploy", "all", "--json"] as const;
  const [canary, waves] = await Promise.all([
    runWith({ KUBECONFIG_FILE, CANARY: "197", LOG_RETENTION: "3d", S3_REGION: "" }, ...deploy),
    runWith({ KUBECONFIG_FILE, WAVES: "197 all", ARGS: "--json" }, ...deploy),
  ]);
  assert.deepEqual([waves.code, waves.stdout], [canary.code, canary.stdout]);
  const goesOn = (typed: string, { stderr }: Ended) => {
    const settings = typed.replace("$", `KUBECONFIG_FILE=${KUBECONFIG_FILE}`);
    const words = `to go on, once what failed above is well: make all ${settings}\n` +
      "  with the same S3_ACCESS_KEY, S3_SECRET_KEY, UI_BASIC_AUTH in the environment\n";
    const tidy = stderr.replace(/SECRET_FILE=\S+ /, "");
    assert.ok(tidy.includes(`\n  all  196, 198\n${words}`), stderr);
    assert.doesNotMatch(stderr, /hush/);
  };
  goesOn("$ S3_REGION= LOG_RETENTION=3d CANARY=197", canary);
  goesOn("$ WAVES='197 all' ARGS=--json", waves);
  const { code, stdout } = canary;
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

Deno.test("plan and deploy say how many images go by their tags where others are pinned", async () => {
  const folder = await mkdtemp(join(tmpdir(), "pins-"));
  const IMAGE_PINS_FILE = join(folder, "pinned.json");
  const digest = `sha256:${"0".repeat(64)}`;
  const run = async (verb: string, pins: string[]) => {
    const content = Object.fromEntries(pins.map((image) => [image, digest]));
    await writeFile(IMAGE_PINS_FILE, JSON.stringify(content));
    return await runWith({ KUBECONFIG_FILE, IMAGE_PINS_FILE }, "scripts/fleet.ts", verb, "197");
  };
  const few = await run("plan", ["quay.io/other:v1"]);
  const [, count] = /^ {2}warning {2}(\d+) images are not in \S+: make pin$/m.exec(few.stderr) ??
    [];
  assert.ok(Number(count) > 5, few.stderr);
  assert.match((await run("deploy", [])).stderr, new RegExp(`warning {2}${count} images are`));
});

Deno.test("A44: Ctrl-C before anything is touched holds every cluster back and ends with 130", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ctrl-c-"));
  await writeFile(join(folder, "config"), FLEET_CONFIG);
  const { stdout } = identityReply("11111111-2222-3333-4444-555555555555");
  // The first look at a cluster is answered after Ctrl-C has come.
  const kubectl = `#!/bin/bash
case "$*" in
*"version --client"*) echo '"gitVersion": "v1.36.3"' ;;
*"config view"*) cat ${folder}/config ;;
*) mkdir ${folder}/once && kill -INT $PPID; sleep 1; echo '${stdout}' ;;
esac
`;
  await writeFile(join(folder, "kubectl"), kubectl, { mode: 0o755 });
  const PATH = `${folder}:${Deno.env.get("PATH")}`;
  const { code, stderr } = await runWith(
    { PATH, KUBECONFIG_FILE },
    "scripts/fleet.ts",
    "deploy",
    "all",
  );
  assert.equal(code, 130, stderr);
  assert.match(stderr, /\nheld back, and as they were:\n {2}all {2}196, 197, 198\n/);
  assert.doesNotMatch(stderr, /failed on|Interrupted/);
});

Deno.test("CANARY, WAVES, PLAN, MAX_FAILURES: what cannot be meant is refused (2) before anything is asked", async () => {
  const deploy = ["scripts/fleet.ts", "deploy", "197"] as const;
  assert.equal((await runWith({ KUBECONFIG_FILE, CANARY: "199" }, ...deploy)).code, 2);
  assert.equal((await runWith({ KUBECONFIG_FILE, WAVES: "0% all" }, ...deploy)).code, 2);
  const both = { CANARY: "197", WAVES: "197 all" };
  assert.equal((await runWith({ KUBECONFIG_FILE, ...both }, ...deploy)).code, 2);
  assert.equal((await runWith({ KUBECONFIG_FILE, PLAN: "no-such-plan.json" }, ...deploy)).code, 2);
  assert.equal((await runWith({ KUBECONFIG_FILE, MAX_FAILURES: "0" }, ...deploy)).code, 2);
});

const NO_SECRETS = { S3_ACCESS_KEY: "", S3_SECRET_KEY: "", UI_BASIC_AUTH: "" };

Deno.test("V9: config shows every setting without any secret, and says at the end which are missing", async () => {
  const { code, stdout, stderr } = await runWith(NO_SECRETS, "scripts/operate/config.ts", "all");
  assert.equal(code, 0, stderr);
  for (const name of Object.keys(NO_SECRETS)) {
    assert.equal(stdout.match(new RegExp(`^${name}=  # missing$`, "gm"))?.length, 3);
  }
  assert.equal(stdout.match(/^NODE_IP=/gm)?.length, 3);
  assert.match(
    stderr.trimEnd().split("\n").at(-1)!,
    /a deploy needs S3_ACCESS_KEY, S3_SECRET_KEY, UI_BASIC_AUTH: fill in .*install -m 600 env\/secret\.env\.example/,
  );
});

Deno.test("V9: a command that needs no secret asks for none; one that does names them all", async () => {
  const kubeconfig = { KUBECONFIG_FILE };
  for (
    const words of [
      ["scripts/fleet.ts", "remove", "197"],
      ["scripts/operate/logs.ts", "197"],
      ["scripts/operate/restore_logs.ts", "197"],
      ["scripts/operate/restore_volume.ts", "197"],
    ] as [string, ...string[]][]
  ) {
    const { code, stderr } = await runWith({ ...NO_SECRETS, ...kubeconfig }, ...words);
    // It gets as far as the cluster, which is not there.
    assert.ok([4, 5].includes(code), `${words}: ${stderr}`);
    assert.doesNotMatch(stderr, /S3_ACCESS_KEY|secret\.env\.example/);
  }
  const { code, stderr } = await runWith(NO_SECRETS, "scripts/fleet.ts", "plan", "197");
  assert.equal(code, 2);
  for (const name of Object.keys(NO_SECRETS)) assert.match(stderr, new RegExp(`${name} is empty`));
});

Deno.test("V9: a secret that is missing after all ends with 2, its name and the fix", async () => {
  const root = new URL("../../..", import.meta.url).pathname;
  const environment = { SECRET_FILE: "tests/fixtures/no-such-secret.env" };
  const [cluster] = await loadFleet({ root, environment, withoutSecrets: true });
  assert.throws(() => text(cluster!, "S3_SECRET_KEY"), (error: DeployError) => {
    assert.deepEqual([error.exitCode, error.where], [2, [
      `missing: ${cluster!.missing.join(", ")}`,
    ]]);
    return /install -m 600 .* tests\/fixtures\/no-such-secret\.env/.test(error.fix!);
  });
  assert.throws(() => text(cluster!, "S3_CHECKSUM"), { exitCode: 2 });
});

Deno.test("V9: config, plan, drift and remove warn", async () => {
  const settings = { KUBECONFIG_FILE };
  for (
    const words of [
      ["scripts/operate/config.ts", "all"],
      ["scripts/fleet.ts", "plan", "all"],
      ["scripts/fleet.ts", "drift", "all"],
      ["scripts/fleet.ts", "remove", "all"],
    ] as [string, ...string[]][]
  ) {
    const { stderr } = await runWith(settings, ...words);
    const warnings = stderr.match(/.*GRAFANA_ADMIN_PASSWORD.*/g) ?? [];
    // Once, for it is the same default on all three.
    assert.equal(warnings.length, 1, `${words}: ${stderr}`);
    assert.match(warnings[0]!, /^ {2}warning {2}default {2}GRAFANA_ADMIN_PASSWORD: /);
  }
});

Deno.test("V9: tellWarnings() says once what all clusters share", async () => {
  const folder = await mkdtemp(join(tmpdir(), "secrets-"));
  const file = join(folder, "secret.env");
  await writeFile(file, "S3_SECRET_KEY='hush-secret-key'\n");
  await chmod(file, 0o644);
  const { code, stderr } = await runWith(
    { SECRET_FILE: file, S3_SECRET_KEY: "hush-secret-key" },
    "scripts/operate/config.ts",
    "all",
  );
  assert.equal(code, 0, stderr);
  const warnings = stderr.match(/.*lets others read secrets.*/g)!;
  assert.equal(warnings.length, 1, stderr);
  assert.match(warnings[0]!, /^ {2}warning {2}/);
});

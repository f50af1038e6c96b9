// Which clusters a command is about: one selector for all of them, and what becomes of those that are paused.
import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { choiceFor, type ChoiceOptions, LOOKS, onlyOf } from "../../../lib/cli/command.ts";
import { projectPath } from "../../../lib/core/cluster.ts";
import type { DeployError } from "../../../lib/core/error.ts";
import { FIXTURES, project, wording } from "../../support/project_fixture.ts";
import { type Ended, ended } from "../../support/script_fixture.ts";

const PAUSE = 'GROUPS=seoul\nPAUSED="rack move"\nPAUSED_UNTIL=';

/** The good fleet with 198 in the group seoul and paused until that day. */
async function pausedUntil(day: string) {
  const own = await readFile(join(FIXTURES, "fleet/cluster-198.env"), "utf8");
  const place = await project({ "cluster-198.env": `${own}\n${PAUSE}${day}\n` });
  const options = { root: place.root, environment: {} };
  return {
    async choose(words: string[], more: ChoiceOptions = {}) {
      const { clusters, central, paused } = await choiceFor(words, { ...options, ...more });
      const ids = (those: { id: string }[]) => those.map(({ id }) => id).join(" ");
      return [ids(clusters), central?.id, ids(paused)];
    },
    only: (words: string[], what: string, more: ChoiceOptions = {}) =>
      onlyOf(words, what, { ...options, ...more }),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

Deno.test("onlyOf() proposes no cluster that it would refuse", async () => {
  await using site = await pausedUntil("2099-12-31");
  const [restore, explain] = ["make restore-logs CLUSTER=", "make explain-"];
  await assert.rejects(site.only(["all"], restore), { fix: `${restore}196` });
  await assert.rejects(site.only(["seoul"], restore), { fix: "name one that is not paused" });
  await assert.rejects(site.only(["seoul"], explain, LOOKS), { fix: `${explain}198` });
});

Deno.test("choiceFor() leaves a paused cluster out of all, edges and groups, and refuses it by its id (4)", async () => {
  await using site = await pausedUntil("2099-12-31");
  assert.deepEqual(await site.choose(["all"]), ["196 197", undefined, "198"]);
  assert.deepEqual(await site.choose(["edges"]), ["197", "196", "198"]);
  // Nothing happens that the centre should hear of.
  assert.deepEqual(await site.choose(["seoul"]), ["", undefined, "198"]);
  for (const words of [["198"], ["197,198"], ["all", "198"]]) {
    await assert.rejects(site.choose(words), (error: DeployError) => {
      assert.match(
        wording(error),
        /^Refused: 198 is paused until 2099-12-31 \(rack move\)\nenv\/cluster-198\.env:9 {2}PAUSED\ntake PAUSED/,
      );
      return error.exitCode === 4;
    });
  }
  assert.deepEqual(await site.choose(["198"], LOOKS), ["198", "196", ""]);
  assert.deepEqual(await site.choose(["all", "198"], LOOKS), ["196 197 198", undefined, ""]);
  assert.deepEqual(await site.choose(["all"], LOOKS), ["196 197", undefined, "198"]);
  assert.deepEqual(await site.choose(["198"], { paused: "left out" }), ["", undefined, "198"]);
});

Deno.test("choiceFor() counts a cluster again when its last day is over where it is, and the settings say so", async () => {
  const today = new Date().toISOString().slice(0, 10);
  await using during = await pausedUntil(today);
  assert.deepEqual(await during.choose(["seoul"]), ["", undefined, "198"]);
  await using after = await pausedUntil("2026-11-01");
  assert.deepEqual(await after.choose(["198"]), ["198", "196", ""]);
  const own = await readFile(join(FIXTURES, "fleet/cluster-198.env"), "utf8");
  await using site = await project({
    "cluster-198.env": `${own}\n${PAUSE}2026-11-01\nTIMEZONE=Asia/Seoul\n`,
  });
  const [, , edge] = await site.load();
  assert.equal(edge!.pause!.end, Date.parse("2026-11-01T15:00Z") / 1000);
  assert.match(edge!.warnings.join("\n"), /cluster-198\.env:10 {2}PAUSED_UNTIL .* is over, and/);
});

Deno.test("GROUPS and PAUSED of the environment are refused: they would hold for every cluster", async () => {
  await using site = await project();
  const error = await site.refusal({ GROUPS: "pilot", PAUSED: "a", PAUSED_UNTIL: "2099-12-31" });
  assert.equal(
    error.where.filter((line) => /^environment {2}(GROUPS|PAUSED)/.test(line)).length,
    3,
  );
  assert.match(
    error.where.join("\n"),
    /every cluster: unset GROUPS, or leave it out of the command/,
  );
});

/** A copy of the project in which 198 is in the group seoul, and paused. */
async function copy() {
  const folder = await mkdtemp(join(tmpdir(), "choice-"));
  for (const part of ["lib", "scripts", "manifests", "env", "deno.json", "deno.lock"]) {
    await cp(projectPath(part), join(folder, part), { recursive: true });
  }
  const file = join(folder, "env/cluster-198.env");
  await writeFile(file, `${await readFile(file, "utf8")}\n${PAUSE}2099-12-31\n`);
  const settings = {
    KUBECONFIG_FILE: "no-such-kubeconfig",
    GRAFANA_ADMIN_PASSWORD: "hush-grafana",
  };
  return {
    run: (words: string[]): Promise<Ended> =>
      ended(
        [Deno.execPath(), "run", "--allow-all", join(folder, words[0]!), ...words.slice(1)],
        settings,
      ),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Every command that takes clusters; those that write there, and those that look. */
const WRITES = ["fleet.ts deploy", "fleet.ts verify", "fleet.ts remove", "30-thanos.ts"]
  .concat("operate/restore_logs.ts", "operate/restore_volume.ts");
const LOOK = ["fleet.ts plan", "operate/preflight.ts", "operate/logs.ts", "operate/explain.ts"]
  .concat("operate/config.ts", "operate/compare.ts", "operate/status.ts", "operate/alerts.ts")
  .concat("operate/report.ts");
const DRIFT = "fleet.ts drift";

Deno.test("every command goes by the selector: one that writes refuses what is paused, one that looks says so", async () => {
  await using site = await copy();
  const run = (command: string, ...words: string[]) =>
    site.run([...`scripts/${command}`.split(" "), ...words]);
  const wrong = run("operate/config.ts", "seuol");
  const written = WRITES.map(async (command) => {
    const { code, stderr } = await run(command, "198");
    assert.equal(code, 4, `${command}: ${stderr}`);
    assert.match(stderr, /Refused: 198 is paused until 2099-12-31 \(rack move\)/, command);
  });
  const looked = LOOK.map(async (command) => {
    const { stderr } = await run(command, "198");
    assert.match(stderr, /note +paused until 2099-12-31 \(rack move\): 198/, command);
    assert.doesNotMatch(stderr, /Refused: 198 is paused/, command);
  });
  await Promise.all([...written, ...looked]);
  for (const words of [[DRIFT, "198"], [DRIFT, "seoul"], ["fleet.ts deploy", "seoul"]]) {
    const { code, stderr, stdout } = await run(words[0]!, words[1]!);
    assert.deepEqual([code, stdout], [0, ""], stderr);
    assert.match(stderr, /paused until 2099-12-31/);
  }
  for (const command of ["fleet.ts plan", "operate/compare.ts"]) {
    const { code, stderr } = await run(command);
    assert.equal(code, 2, command);
    assert.match(stderr, /Cannot choose a cluster: none is named/, command);
  }
  const { code, stderr } = await wrong;
  assert.equal(code, 2, stderr);
  assert.match(stderr, /Cannot find seuol: [^]*196, 197, 198[^]*known groups: seoul/);
});

/** What takes the whole fleet, whatever is typed, and why. */
const WHOLE: Record<string, string> = {
  "lib/cli/command.ts": "the selector",
  "lib/cli/deploy.ts": "waves, of what the selector gave",
  "scripts/operate/certificates.ts": "files of this machine, for all",
  "scripts/operate/new_cluster.ts": "one more cluster, checked against all",
  "scripts/demo/demo.ts": "all control planes",
};

Deno.test("no command chooses clusters but by the one selector, and each is tried here", async () => {
  const files = ["lib", "scripts"].map(async (folder) =>
    (await readdir(projectPath(folder), { recursive: true })).filter((name) => name.endsWith(".ts"))
      .map((name) => `${folder}/${name}`)
  );
  const asking: string[] = [], choosing: string[] = [];
  for (const file of (await Promise.all(files)).flat()) {
    const text = await readFile(projectPath(file), "utf8");
    if (/\b(loadFleet|chooseClusters),?[^(]*from ".*config\/cluster\.ts"/s.test(text)) {
      choosing.push(file);
    }
    if (/\b(choiceFor|onlyOf)\(/.test(text)) asking.push(file);
  }
  assert.deepEqual(choosing.filter((file) => !(file in WHOLE)), []);
  const tried = [...WRITES, ...LOOK].map((words) => `scripts/${words.split(" ")[0]}`)
    .concat("lib/cli/command.ts", "lib/cli/deploy.ts", "scripts/operate/rotate_s3.ts")
    .concat("scripts/operate/pin.ts");
  assert.deepEqual(asking.filter((file) => !tried.includes(file)), []);
});

// .ci/run and .ci/lab: the last line counts every test that ran, and they fail where nothing was counted.
import assert from "node:assert/strict";
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";

/** Runs a script of .ci where these targets of make are shell lines; gives its code and last lines. */
async function ci(jobs: Record<string, string>, script = ".ci/run") {
  const folder = await mkdtemp(join(tmpdir(), "ci-"));
  try {
    await mkdir(join(folder, ".ci"));
    await copyFile(projectPath(script), join(folder, script));
    const make = join(folder, "make");
    const cases = Object.entries(jobs).map(([target, line]) => `*" ${target} "*) ${line};;`);
    await writeFile(make, ["#!/bin/bash", 'case " $* " in', ...cases, "esac", ""].join("\n"));
    await chmod(make, 0o700);
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
    const run = $({ quiet: true, nothrow: true, env, cwd: folder });
    let { exitCode, stdout } = await run`SCRIPT=$$ exec bash ${script}`;
    // A process that another test starts at this moment may still hold the program that was just written.
    while (exitCode === 126) ({ exitCode, stdout } = await run`SCRIPT=$$ exec bash ${script}`);
    return { code: exitCode, lines: stdout.trimEnd().split("\n") };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const TEST = "echo 'a ... ok'; echo 'ok | 863 passed (27 steps) | 0 failed | 4 ignored (1m27s)'";
const SMOKE = "echo 'ok | 19 passed | 0 failed (48s)'; echo 'smoke: 13 passed, 0 failed'";

Deno.test(".ci/run closes with one plain line that counts unit, API server and smoke tests", async () => {
  const { code, lines } = await ci({ test: TEST, smoke: SMOKE });
  assert.deepEqual([code, lines.at(-1)], [0, "895 passed, 0 failed, 4 skipped"]);
  assert.ok(lines.includes("a ... ok"));
});

Deno.test(".ci/run fails with a true count when a job fails, and begins no other", async () => {
  const unit = await ci({
    test: "echo 'FAILED | 860 passed | 3 failed (1s)'; exit 2",
    smoke: SMOKE,
  });
  assert.deepEqual([unit.code, unit.lines.at(-1)], [2, "860 passed, 3 failed, 0 skipped"]);
  const smoke = await ci({ test: TEST, smoke: "echo 'smoke: 5 passed, 8 failed'; exit 2" });
  assert.deepEqual([smoke.code, smoke.lines.at(-1)], [2, "868 passed, 8 failed, 4 skipped"]);
  // A runner that tells of a failure and ends with 0.
  const quiet = await ci({ test: "echo 'FAILED | 860 passed | 3 failed (1s)'", smoke: SMOKE });
  assert.deepEqual([quiet.code, quiet.lines.at(-1)], [1, "860 passed, 3 failed, 0 skipped"]);
});

Deno.test(".ci/run fails where a job counted nothing, or was cut off", async () => {
  for (
    const test of [
      "true",
      "echo 'ok | 0 passed | 0 failed'",
      "echo 7 passed",
      "exit 3",
      "kill -9 $$",
    ]
  ) {
    const { code, lines } = await ci({ test, smoke: SMOKE });
    assert.notEqual(code, 0, test);
    assert.equal(lines.at(-1), "0 passed, 1 failed, 0 skipped", test);
    assert.match(lines.at(-2)!, /make test ended with \d+, and no closing line/);
  }
  const { code, lines } = await ci({
    test: TEST,
    smoke: "echo 'ok | 19 passed | 0 failed'; exit 2",
  });
  assert.deepEqual([code, lines.at(-1)], [2, "882 passed, 1 failed, 4 skipped"]);
});

Deno.test("make ci-lab tells the time of each part, and takes the laboratory down whatever came before", async () => {
  const E2E = "echo 'ok | 38 passed | 0 failed | 2 ignored (35m12s)'";
  const run = (jobs: Record<string, string>) =>
    ci({ "lab-down": "echo it is down", ...jobs }, ".ci/lab");
  const well = await run({ e2e: E2E });
  assert.deepEqual([well.code, well.lines.at(-1)], [0, "38 passed, 0 failed, 2 skipped"]);
  assert.match(
    well.lines.at(-2)!,
    /^ci-lab: lab \d+ s, lab-exec \d+ s, e2e \d+ s, lab-down \d+ s; \d+ s$/,
  );
  for (
    const [jobs, closing] of [
      [{ lab: "exit 3" }, "0 passed, 1 failed, 0 skipped"],
      [{ "lab-exec CMD=make verify": "exit 2", e2e: E2E }, "0 passed, 1 failed, 0 skipped"],
      [
        { e2e: "echo 'FAILED | 30 passed | 2 failed (1s)'; exit 2" },
        "30 passed, 2 failed, 0 skipped",
      ],
      [{ e2e: "true" }, "0 passed, 1 failed, 0 skipped"],
      [{ e2e: E2E, "lab-down": "echo it is down; exit 1" }, "38 passed, 1 failed, 2 skipped"],
    ] as const
  ) {
    const { code, lines } = await run(jobs);
    assert.notEqual(code, 0, JSON.stringify(jobs));
    assert.equal(lines.at(-1), closing);
    assert.ok(lines.includes("it is down"));
  }
});

Deno.test("make ci-lab takes the laboratory down when it is cancelled, and lets nothing work on", async () => {
  for (const [signal, code] of [["TERM", 143], ["INT", 130]] as const) {
    const cut = await ci({
      "lab-down": "echo it is down",
      lab: `kill -${signal} $SCRIPT; sleep 5; echo worked on`,
    }, ".ci/lab");
    assert.deepEqual([cut.code, cut.lines], [code, ["it is down"]]);
  }
});

// lib/io/interrupt.ts with real processes: what a run leaves behind when it is stopped.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

interface Run {
  run: ChildProcess;
  /** What kubectl was told, one call or `done` a line, so far. */
  calls: () => Promise<string[]>;
  /** Waits until an apply is under way, then sends the signal to the run alone, as a CI does. */
  signal: (name: NodeJS.Signals) => Promise<void>;
  ended: Promise<{ code: number | null; said: string }>;
}

/** Starts a run whose applies take so many seconds. */
async function start(seconds: number, env: Record<string, string> = {}): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), "interrupt-"));
  const program = join(folder, "kubectl"), log = join(folder, "calls");
  // A short one ends well and says so; of a long one nothing may be left when it is stopped.
  const work = seconds < 10
    ? `sleep ${seconds}; echo done >>${log}`
    : `exec sleep ${seconds}.04321`;
  await writeFile(log, "");
  await writeFile(
    program,
    `#!/bin/bash\necho "\${*:3}" >>${log}\nif [ "$3" = apply ]; then ${work}; fi\n`,
    { mode: 0o755 },
  );
  const script = new URL("../../fixtures/applying.ts", import.meta.url).pathname;
  const run = spawn(Deno.execPath(), ["run", "--no-prompt", "--allow-all", script, program], {
    env: { ...process.env, ...env },
  });
  let said = "";
  run.stderr.on("data", (text) => said += text);
  const calls = async () => (await readFile(log, "utf8")).split("\n").filter(Boolean);
  return {
    run,
    calls,
    async signal(name) {
      while (!(await calls()).includes("apply")) {
        assert.equal(run.exitCode, null, said);
        await sleep(50);
      }
      process.kill(run.pid!, name);
    },
    ended: new Promise((resolve) => run.on("close", (code) => resolve({ code, said }))),
  };
}

Deno.test("A44: Ctrl-C lets the call under way end, begins no other, and gives the lock back", async () => {
  const { signal, ended, calls } = await start(1);
  await signal("SIGINT");
  const { code, said } = await ended;
  assert.equal(code, 130);
  assert.match(said, /stopping when the calls under way have ended/);
  assert.match(said, /Interrupted: SIGINT came\n +fix: run the same command again/);
  const [made, applied, done, released, ...more] = await calls();
  assert.deepEqual([applied, done, more], ["apply", "done", []]);
  assert.match(`${made} ${released}`, /^create .* patch lease .*"value":""/);
});

Deno.test("A45: SIGTERM to the run alone ends it with 143, and no child is left", async () => {
  const { signal, ended, calls } = await start(1);
  await signal("SIGTERM");
  assert.equal((await ended).code, 143);
  assert.deepEqual((await calls()).filter((line) => line === "apply" || line === "done"), [
    "apply",
    "done",
  ]);
});

Deno.test("A45: a second Ctrl-C ends the call under way as well, and the lock is given back", async () => {
  const { signal, ended, calls } = await start(3600);
  await signal("SIGINT");
  await sleep(300);
  await signal("SIGINT");
  assert.equal((await ended).code, 130);
  assert.match((await calls()).at(-1)!, /^patch lease /);
  assert.equal(await isThere("3600.04321"), false, "the child is still there");
});

Deno.test("E2: a terminal that goes away (SIGHUP) ends a run as SIGTERM does, with 129", async () => {
  const { signal, ended, calls } = await start(1);
  await signal("SIGHUP");
  assert.equal((await ended).code, 129);
  assert.match((await calls()).at(-1)!, /^patch lease /);
});

Deno.test({
  name: "E2: the kubectl of a run that is killed dies with it, and writes nothing any more",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const { signal, ended } = await start(3601);
    await signal("SIGKILL");
    await ended;
    const end = Date.now() + 500;
    while (await isThere("3601.04321") && Date.now() < end) await sleep(20);
    assert.equal(await isThere("3601.04321"), false, "it is still there after half a second");
  },
});

Deno.test({
  name: "E2: a kubectl whose run is killed before it is tied to that does not begin",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const folder = await mkdtemp(join(tmpdir(), "interrupt-"));
    // Slow, so that there is a moment in which nothing ties the two yet.
    const slow = `#!/bin/sh\necho $$ >>${folder}/begun\nsleep 0.5\nexec /usr/bin/setpriv "$@"\n`;
    await writeFile(join(folder, "setpriv"), slow, { mode: 0o755 });
    const { ended, calls, run } = await start(1, { PATH: `${folder}:${process.env.PATH}` });
    // The first is the look whether there is such a program, then comes the Lease.
    const begun = async () =>
      (await readFile(join(folder, "begun"), "utf8").catch(() => "")).trim().split("\n");
    while ((await begun()).length < 2) await sleep(20);
    process.kill(run.pid!, "SIGKILL");
    await ended;
    const pid = (await begun())[1];
    while (await readFile(`/proc/${pid}/stat`).catch(() => undefined)) await sleep(50);
    assert.deepEqual(await calls(), []);
  },
});

/** Whether a process has this word among its arguments. */
async function isThere(word: string): Promise<boolean> {
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const words = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (words.split("\0").includes(word)) return true;
  }
  return false;
}

import assert from "node:assert/strict";
import { chmod, copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  killProcessesOf,
  pidOf,
  processesOf,
  startDaemon,
  stopDaemons,
} from "../../scripts/demo/daemon.ts";
import type { DeployError } from "../../lib/core/error.ts";

async function folder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "daemon-"));
}

async function pidIn(place: string): Promise<number> {
  const pid = await pidOf(place, "sleeper");
  assert.ok(pid, "it does not run");
  return pid;
}

/** Ended processes that init has not yet waited for do not count. */
async function alive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") Z");
  return !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
}

const sleeper = { name: "sleeper", command: ["sleep", "600"] };

Deno.test("startDaemon() starts once, and stopDaemons() ends it and forgets it", async () => {
  const place = await folder();
  assert.equal(await startDaemon(place, sleeper), true);
  assert.equal(await startDaemon(place, sleeper), false);
  const pid = await pidIn(place);
  assert.ok(await alive(pid));
  await stopDaemons(place);
  assert.ok(!await alive(pid));
  assert.equal(await startDaemon(place, sleeper), true);
  await stopDaemons(place);
  await rm(place, { recursive: true });
});

Deno.test("startDaemon() repairs one that has died", async () => {
  const place = await folder();
  await startDaemon(place, sleeper);
  Deno.kill(await pidIn(place), "SIGKILL");
  await sleep(200);
  assert.equal(await startDaemon(place, sleeper), true);
  await stopDaemons(place);
  await rm(place, { recursive: true });
});

Deno.test("stopDaemons() ends the children, too", async () => {
  const place = await folder();
  const command = ["bash", "-c", `sleep 601 & echo $! >${place}/child; wait`];
  await startDaemon(place, { name: "sleeper", command });
  let child = 0;
  for (let tries = 0; tries < 50 && !child; tries++) {
    await sleep(50);
    child = Number(await readFile(`${place}/child`, "utf8").catch(() => "0"));
  }
  assert.ok(await alive(child));
  await stopDaemons(place);
  assert.ok(!await alive(child));
  await rm(place, { recursive: true });
});

Deno.test("stopDaemons() ends the children of one that has died", async () => {
  const place = await folder();
  const command = ["bash", "-c", `sleep 602 & echo $! >${place}/child; wait`];
  const ready = () => readFile(`${place}/child`, "utf8").then((pid) => pid !== "", () => false);
  await startDaemon(place, { name: "sleeper", command, ready });
  const child = Number(await readFile(`${place}/child`, "utf8"));
  Deno.kill(await pidIn(place), "SIGKILL");
  await sleep(100);
  assert.ok(await alive(child));
  await stopDaemons(place);
  assert.ok(!await alive(child));
  await rm(place, { recursive: true });
});

Deno.test("startDaemon() replaces one with another command", async () => {
  const place = await folder();
  await startDaemon(place, sleeper);
  const before = await pidIn(place);
  assert.equal(await startDaemon(place, { ...sleeper, command: ["sleep", "601"] }), true);
  assert.ok(!await alive(before));
  assert.ok(await alive(await pidIn(place)));
  await stopDaemons(place);
  await rm(place, { recursive: true });
});

Deno.test("startDaemon() shows the log of one that ends at once", async () => {
  const place = await folder();
  const command = ["bash", "-c", "echo port 1 is taken >&2; exit 1"];
  await assert.rejects(
    startDaemon(place, { name: "sleeper", command, ready: () => Promise.resolve(false) }),
    (error: DeployError) =>
      error.exitCode === 3 && /it ended/.test(error.message) && /is taken/.test(error.where[0]!),
  );
  await rm(place, { recursive: true });
});

Deno.test("startDaemon() leaves nothing behind that does not become ready", async () => {
  const place = await folder();
  const ready = () => Promise.resolve(false);
  await assert.rejects(startDaemon(place, { ...sleeper, ready, seconds: 0.3 }), /is not ready/);
  assert.equal(await pidOf(place, "sleeper"), undefined);
  await rm(place, { recursive: true });
});

Deno.test("killProcessesOf() ends what was started from the folder, and nothing else", async () => {
  const place = await folder();
  await copyFile("/bin/sleep", join(place, "sleep"));
  await chmod(join(place, "sleep"), 0o755);
  const ours = new Deno.Command(join(place, "sleep"), { args: ["600"] }).spawn();
  const stranger = new Deno.Command("tail", { args: ["-f", join(place, "sleep")], stdout: "null" })
    .spawn();
  assert.deepEqual(await processesOf(place), [ours.pid]);
  await killProcessesOf(place);
  assert.ok(!await alive(ours.pid));
  assert.ok(await alive(stranger.pid));
  stranger.kill();
  await Promise.all([ours.status, stranger.status]);
  await rm(place, { recursive: true });
});

Deno.test("startDaemon() gives secrets by environment, not by arguments", async () => {
  const place = await folder();
  await startDaemon(place, { ...sleeper, environment: { PASSWORD: "hush-hush" } });
  const pid = await pidIn(place);
  assert.doesNotMatch(await readFile(`/proc/${pid}/cmdline`, "utf8"), /hush/);
  assert.match(await readFile(`/proc/${pid}/environ`, "utf8"), /PASSWORD=hush-hush/);
  await stopDaemons(place);
  await rm(place, { recursive: true });
});

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startDaemon, stopDaemons } from "../lib/daemon.ts";

async function folder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "daemon-"));
}

async function pidIn(place: string): Promise<number> {
  return Number((await readFile(join(place, "sleeper.pid"), "utf8")).split(" ")[0]);
}

function alive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch {
    return false;
  }
}

const sleeper = { name: "sleeper", command: ["sleep", "600"] };

Deno.test("startDaemon() starts once, and stopDaemons() ends it and forgets it", async () => {
  const place = await folder();
  assert.equal(await startDaemon(place, sleeper), true);
  assert.equal(await startDaemon(place, sleeper), false);
  const pid = await pidIn(place);
  assert.ok(alive(pid));
  await stopDaemons(place);
  assert.ok(!alive(pid));
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

Deno.test("stopDaemons() never ends a process that only has the pid of ours", async () => {
  const place = await folder();
  const stranger = new Deno.Command("sleep", { args: ["600"] }).spawn();
  await writeFile(join(place, "sleeper.pid"), `${stranger.pid} 1\n`);
  await stopDaemons(place);
  assert.ok(alive(stranger.pid));
  stranger.kill();
  await stranger.status;
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
  assert.ok(alive(child));
  await stopDaemons(place);
  assert.ok(!alive(child));
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

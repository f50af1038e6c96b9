// A background process that outlives the command: a mark in its environment says which one is ours.
import process from "node:process";
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { prerequisiteError } from "../../lib/core/error.ts";
import { hashOf } from "../../lib/core/hash.ts";

/** No secret may be in `command`; `environment`, which is added, is the place for them. */
interface Daemon {
  name: string;
  command: string[];
  environment?: Record<string, string>;
  ready?: () => Promise<boolean>;
  seconds?: number;
}

// In the environment of a daemon and of all its children, which are found by it also when it has ended.
const MARK = "DAEMON_PID_FILE", RECIPE = "DAEMON_RECIPE";

/** Starts the daemon, in place of one of another command; false when it runs already. Throws exit 3 with its log's end. */
export async function startDaemon(
  folder: string,
  { name, command, environment = {}, ready = () => Promise.resolve(true), seconds = 60 }: Daemon,
): Promise<boolean> {
  const recipe = hashOf([command, environment]);
  const before = await pidOf(folder, name);
  if (before && await isMarked(RECIPE, recipe)(before)) return false;
  await stopDaemons(folder, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = join(folder, `${name}.log`);
  const output = openSync(log, "a", 0o600);
  const child = spawn(command[0]!, command.slice(1), {
    // Its own session: a Ctrl-C in this terminal is not meant for it.
    detached: true,
    stdio: ["ignore", output, output],
    env: { ...process.env, ...environment, [MARK]: markOf(folder, name), [RECIPE]: recipe },
  });
  child.unref();
  closeSync(output);
  let ended = false;
  for (const event of ["exit", "error"]) child.once(event, () => ended = true);

  for (const end = Date.now() + seconds * 1000; !ended && Date.now() < end; await sleep(50)) {
    if (await ready() && !ended) return true;
  }
  const why = ended ? "ended" : "is not ready";
  await stopDaemons(folder, name);
  throw prerequisiteError(`Cannot start ${name}: it ${why}`, {
    where: await endOf(log),
    fix: "correct what the log says, then run again",
  });
}

function markOf(folder: string, name: string): string {
  return join(folder, `${name}.pid`);
}

/** The last lines of a log, and its path. */
export async function endOf(log: string): Promise<string[]> {
  const text = await readFile(log, "utf8").catch(() => "");
  return [...text.trim().split("\n").slice(-5), log];
}

/** The process of the daemon of that name, while it runs itself and not only what it has started. */
export async function pidOf(folder: string, name: string): Promise<number | undefined> {
  for (const pid of await processes(isMarked(MARK, markOf(folder, name)))) {
    const stat = await procText(pid, "stat");
    // Behind the name, in brackets: the state, the parent, and the group, which is the daemon's own.
    if (stat.slice(stat.lastIndexOf(")")).split(" ")[3] === String(pid)) return pid;
  }
}

/** Ends a daemon of the folder (default: all), its children too, and waits until they are gone. */
export async function stopDaemons(folder: string, name?: string): Promise<void> {
  const mark = name === undefined ? `${folder}/` : markOf(folder, name);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) await end(isMarked(MARK, mark), signal);
}

/** Pids of living processes whose program was started from inside the folder. */
export function processesOf(folder: string): Promise<number[]> {
  return processes(isStartedFrom(folder));
}

/** Kills {@link processesOf} the folder, and waits for the end. */
export async function killProcessesOf(folder: string): Promise<void> {
  await end(isStartedFrom(folder), "SIGKILL");
}

type Choice = (pid: number) => Promise<boolean>;

function isMarked(name: string, value: string): Choice {
  return async (pid) => `\0${await procText(pid, "environ")}`.includes(`\0${name}=${value}`);
}

function isStartedFrom(folder: string): Choice {
  return async (pid) => (await procText(pid, "cmdline")).startsWith(`${folder}/`);
}

/** A file of /proc/PID; "" when the process has ended or is another user's. */
function procText(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
}

async function processes(isChosen: Choice): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => await isChosen(pid) ? [pid] : []));
  return found.flat();
}

/** Signals the chosen processes, and what they start meanwhile, until none is left, five seconds at most. */
async function end(isChosen: Choice, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const pids = await processes(isChosen);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch { /* it has ended meanwhile */ }
    }
    await sleep(50);
  }
}

/** Whether nobody listens on the port. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

// Below the range that the kernel takes for outgoing connections (32768 and up).
const FIRST = 20_000, LAST = 32_000;

/** Free ports, each another one and none of `taken`; two runs at once get different ones. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  const first = FIRST + Math.floor(Math.random() * (LAST - FIRST));
  for (let port = first; found.length < count; port++) {
    if (await isFree(port)) found.push(port);
  }
  return found;
}

/** Throws exit 3 when another program has the port that `who` needs. */
export async function refuseTaken(who: string, port: number, fix: string): Promise<void> {
  if (await isFree(port)) return;
  throw prerequisiteError(`Cannot start ${who}: another program has port ${port}`, {
    where: `127.0.0.1:${port} (who: ss -ltnp 'sport = :${port}')`,
    fix,
  });
}

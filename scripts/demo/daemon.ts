// A background process that outlives the command: a mark in its environment says which one is ours.
import process from "node:process";
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { hashOf } from "../../lib/core/hash.ts";

export interface Daemon {
  /** Its own in the folder; also that of its log. */
  name: string;
  /** Program and arguments; no secret may be among them. */
  command: string[];
  /** Added to the environment; the place for secrets. */
  environment?: Record<string, string>;
  /** Whether it does its work yet; asked until it says yes. Default: from the start. */
  ready?: () => Promise<boolean>;
  /** Longest wait for that. */
  seconds?: number;
}

// In the environment of a daemon and of all its children, which are found by it also when it has ended.
const MARK = "DAEMON_PID_FILE", RECIPE = "DAEMON_RECIPE";

/**
 * Starts the daemon and waits until it is ready; gives true then, and false when the same command
 * runs already. One with another command or environment is replaced.
 * @throws {DeployError} exit 3 with the end of its log when it ends or is not ready in time.
 */
export async function startDaemon(folder: string, daemon: Daemon): Promise<boolean> {
  const { name, command, environment = {}, ready = () => Promise.resolve(true) } = daemon;
  const { seconds = 60 } = daemon;
  const mark = join(folder, `${name}.pid`), recipe = hashOf([command, environment]);
  const before = await pidOf(folder, name);
  if (before && await isMarked(RECIPE, recipe)(before)) return false;
  await stop(mark);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = join(folder, `${name}.log`);
  const child = launch(command, log, { ...environment, [MARK]: mark, [RECIPE]: recipe });
  let ended = false;
  for (const event of ["exit", "error"]) child.once(event, () => ended = true);

  const deadline = Date.now() + seconds * 1000;
  while (!await ready() || ended) {
    if (!ended && Date.now() < deadline) {
      await sleep(50);
      continue;
    }
    const error = `Cannot start ${name}: it ${ended ? "ended" : "is not ready"}`;
    await stop(mark);
    throw new DeployError(error, {
      exitCode: ExitCode.prerequisite,
      where: await endOf(log),
      fix: "correct what the log says, then run again",
    });
  }
  return true;
}

/** The last lines of a log, and its path. */
export async function endOf(log: string): Promise<string[]> {
  const text = await readFile(log, "utf8").catch(() => "");
  return [...text.trim().split("\n").slice(-5), log];
}

function launch(command: string[], log: string, environment: Record<string, string>): ChildProcess {
  const output = openSync(log, "a", 0o600);
  const child = spawn(command[0]!, command.slice(1), {
    // Its own session: a Ctrl-C in this terminal is not meant for it.
    detached: true,
    stdio: ["ignore", output, output],
    env: { ...process.env, ...environment },
  });
  child.unref();
  closeSync(output);
  return child;
}

/** The process of the daemon of that name, while it runs itself and not only what it has started. */
export async function pidOf(folder: string, name: string): Promise<number | undefined> {
  for (const pid of await processes(isMarked(MARK, join(folder, `${name}.pid`)))) {
    const stat = await procText(pid, "stat");
    // Behind the name, in brackets: the state, the parent, and the group, which is the daemon's own.
    if (stat.slice(stat.lastIndexOf(")")).split(" ")[3] === String(pid)) return pid;
  }
}

/** Ends every daemon of the folder, its children too, and waits until they are gone. */
export async function stopDaemons(folder: string): Promise<void> {
  await stop(`${folder}/`);
}

async function stop(place: string): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) await end(isMarked(MARK, place), signal);
}

/** Whether a variable in the environment that a process was started with begins with the value. */
function isMarked(name: string, value: string): Choice {
  return async (pid) => {
    const variables = (await procText(pid, "environ")).split("\0");
    return variables.some((variable) => variable.startsWith(`${name}=${value}`));
  };
}

/** A file of /proc/PID; "" when the process has ended or is another user's. */
function procText(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
}

type Choice = (pid: number) => Promise<boolean>;

async function processes(chosen: Choice): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => await chosen(pid) ? [pid] : []));
  return found.flat();
}

/** Signals the chosen processes until none is left, five seconds at most. */
async function end(chosen: Choice, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const pids = await processes(chosen);
    if (pids.length === 0) return;
    // Again and again, for what a process has started meanwhile.
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended meanwhile.
      }
    }
    await sleep(50);
  }
}

/** Pids of living processes whose program was started from inside the folder. */
export function processesOf(folder: string): Promise<number[]> {
  return processes(startedFrom(folder));
}

/** Kills every process whose program was started from inside the folder, and waits for the end. */
export async function killProcessesOf(folder: string): Promise<void> {
  await end(startedFrom(folder), "SIGKILL");
}

function startedFrom(folder: string): Choice {
  return async (pid) => (await procText(pid, "cmdline")).startsWith(`${folder}/`);
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
export async function freePorts(count: number, taken: number[] = []): Promise<number[]> {
  const found: number[] = [];
  const first = FIRST + Math.floor(Math.random() * (LAST - FIRST));
  for (let port = first; found.length < count; port++) {
    if (!taken.includes(port) && await isFree(port)) found.push(port);
  }
  return found;
}

/** Throws exit 3 when another program has one of the ports that `who` needs. */
export async function refuseTaken(who: string, ports: number[], fix: string): Promise<void> {
  for (const port of ports) {
    if (await isFree(port)) continue;
    throw new DeployError(`Cannot start ${who}: another program has port ${port}`, {
      exitCode: ExitCode.prerequisite,
      where: `127.0.0.1:${port} (who: ss -ltnp 'sport = :${port}')`,
      fix,
    });
  }
}

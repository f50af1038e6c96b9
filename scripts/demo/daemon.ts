// A background process that outlives the command: a pid file says which one is ours.
import process from "node:process";
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { hashOf } from "../../lib/core/hash.ts";

export interface Daemon {
  /** Name of its pid file and log. */
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

// The process writes its own pid file and then becomes the program: even when we are killed at this
// very moment there is no daemon without a pid file.
const LAUNCH = `echo "$$ $(cut -d" " -f22 /proc/$$/stat) $2" >"$1" && shift 2 && exec "$@"`;

// In the environment of a daemon and of all its children: they are found also when it has ended.
const MARK = "DAEMON_PID_FILE";

/**
 * Starts the daemon and waits until it is ready; gives true then, and false when the same command
 * runs already. One with another command or environment is replaced.
 * @throws {DeployError} exit 3 with the end of its log when it ends or is not ready in time.
 */
export async function startDaemon(folder: string, daemon: Daemon): Promise<boolean> {
  const { name, command, environment = {}, ready = () => Promise.resolve(true) } = daemon;
  const { seconds = 60 } = daemon;
  const pidFile = join(folder, `${name}.pid`);
  const recipe = hashOf([command, environment]);
  const before = await running(pidFile);
  if (before?.recipe === recipe) return false;
  await stop(pidFile);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = join(folder, `${name}.log`);
  const marked = { ...environment, [MARK]: pidFile };
  launch(["sh", "-c", LAUNCH, name, pidFile, recipe, ...command], log, marked);

  const deadline = Date.now() + seconds * 1000;
  while (!await running(pidFile) || !await ready()) {
    await sleep(50);
    // A second for the shell to write the pid file; from then on no process means that it has ended.
    const ended = Date.now() > deadline - seconds * 1000 + 1000 && !await running(pidFile);
    if (!ended && Date.now() < deadline) continue;
    await stop(pidFile);
    throw new DeployError(`Cannot start ${name}: it ${ended ? "ended" : "is not ready"}`, {
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

function launch(command: string[], log: string, environment: Record<string, string>): void {
  const output = openSync(log, "a", 0o600);
  const child = spawn(command[0]!, command.slice(1), {
    // Its own session: a Ctrl-C in this terminal is not meant for it.
    detached: true,
    stdio: ["ignore", output, output],
    env: { ...process.env, ...environment },
  });
  child.once("error", () => {}); // seen as a missing pid file
  child.unref();
  closeSync(output);
}

/** Whether the daemon of that name runs. */
export async function isRunning(folder: string, name: string): Promise<boolean> {
  return await running(join(folder, `${name}.pid`)) !== undefined;
}

/** Ends every daemon of the folder, its children too, and waits until they are gone. */
export async function stopDaemons(folder: string): Promise<void> {
  const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".pid"));
  await Promise.all(files.map((name) => stop(join(folder, name))));
}

async function stop(pidFile: string): Promise<void> {
  const mark = `${MARK}=${pidFile}`;
  const ours = (pid: number) =>
    procText(pid, "environ").then((text) => text.split("\0").includes(mark));
  for (const signal of ["SIGTERM", "SIGKILL"] as const) await end(ours, signal);
  await rm(pidFile, { force: true });
}

/** The process that a pid file names, while it is that very process. */
async function running(pidFile: string): Promise<{ recipe?: string } | undefined> {
  const text = await readFile(pidFile, "utf8").catch(() => "");
  const [pid, started, recipe] = text.trim().split(" ");
  // Pids are used again: only the same start time makes it ours.
  if (!pid || !started || await startTime(Number(pid)) !== started) return undefined;
  return { recipe };
}

/** Start of a process in clock ticks since boot (field 22 of /proc/PID/stat); "" when it has ended. */
async function startTime(pid: number): Promise<string> {
  const stat = await procText(pid, "stat");
  // The second field, the name in brackets, may hold blanks; the third is the state.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? "" : fields[19] ?? "";
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

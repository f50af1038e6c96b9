// A background process that outlives the command: a pid file says which one is ours.
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

export interface Daemon {
  /** Name of its pid file and log. */
  name: string;
  /** Program and arguments; no secret may be among them. */
  command: string[];
  /** Added to the environment; the place for secrets. */
  environment?: Record<string, string>;
}

/** Starts the daemon unless it runs already; gives true when it was started. */
export async function startDaemon(
  folder: string,
  { name, command, environment = {} }: Daemon,
): Promise<boolean> {
  const pidFile = join(folder, `${name}.pid`);
  if (await running(pidFile)) return false;
  await mkdir(folder, { recursive: true });
  const log = openSync(join(folder, `${name}.log`), "a", 0o600);
  const [program, ...args] = command;
  const child = spawn(program!, args, {
    // Its own process group: a Ctrl-C in this terminal is not meant for it, and its end takes its
    // children along.
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...environment },
  });
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  child.unref();
  closeSync(log);
  await writeFile(pidFile, `${child.pid} ${await startTime(child.pid!)}\n`);
  return true;
}

/** Whether the daemon of that name runs. */
export async function isRunning(folder: string, name: string): Promise<boolean> {
  return await running(join(folder, `${name}.pid`)) !== undefined;
}

/** Ends every daemon of the folder, its children too, and waits until they are gone. */
export async function stopDaemons(folder: string): Promise<void> {
  const files = await readdir(folder).catch(() => []);
  await Promise.all(
    files.filter((name) => name.endsWith(".pid")).map((name) => stop(join(folder, name))),
  );
}

async function stop(pidFile: string): Promise<void> {
  const pid = await running(pidFile);
  if (pid) {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      signalGroup(pid, signal);
      for (let tries = 0; tries < 50 && groupAlive(pid); tries++) await sleep(100);
    }
  }
  await rm(pidFile, { force: true });
}

/** Pid of the process that a pid file names, while it is that very process. */
async function running(pidFile: string): Promise<number | undefined> {
  const text = await readFile(pidFile, "utf8").catch(() => "");
  const [pid, started] = text.trim().split(" ");
  // Pids are used again: only the same start time makes it ours.
  if (!pid || !started || await startTime(Number(pid)) !== started) return undefined;
  return Number(pid);
}

/** Start of a process in clock ticks since boot (field 22 of /proc/PID/stat); "" when it is gone. */
async function startTime(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? "" : fields[19] ?? "";
}

function signalGroup(pid: number, signal: "SIGTERM" | "SIGKILL" | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

function groupAlive(pid: number): boolean {
  return signalGroup(pid, 0);
}

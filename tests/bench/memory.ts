// Memory of a process and of all that it starts, looked at while they run.
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** Between two looks, in ms: a kubectl lives for some tenths of a second. */
const EVERY = 30;

/** Watches a process and its children until the result is called: the highest sum of their sizes in MiB. */
export function watchMemory(pid: number): () => Promise<number> {
  let peak = 0, stopped = false;
  const watching = (async () => {
    while (!stopped) {
      const sizes = await Promise.all((await treeOf(pid)).map(residentOf));
      peak = Math.max(peak, sizes.reduce((sum, size) => sum + size, 0));
      await sleep(EVERY);
    }
  })();
  return async () => {
    stopped = true;
    await watching;
    return peak;
  };
}

/** A process and everything that it has started and that lives. */
export async function treeOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch((): string[] => []);
  const children = await Promise.all(
    threads.map((thread) => text(`/proc/${pid}/task/${thread}/children`)),
  );
  const pids = children.join(" ").split(/\s+/).filter(Boolean).map(Number);
  return [pid, ...(await Promise.all(pids.map(treeOf))).flat()];
}

async function residentOf(pid: number): Promise<number> {
  return mebibytes(await text(`/proc/${pid}/status`), "VmRSS");
}

/** Resident set of a process in MiB, and the highest that it had. */
export async function memoryOf(pid: number): Promise<{ now: number; peak: number }> {
  const status = await text(`/proc/${pid}/status`);
  return { now: mebibytes(status, "VmRSS"), peak: mebibytes(status, "VmHWM") };
}

/** Highest resident set of this very process in MiB. */
export async function ownPeak(): Promise<number> {
  return mebibytes(await text("/proc/self/status"), "VmHWM");
}

function mebibytes(status: string, field: string): number {
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024;
}

function text(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}

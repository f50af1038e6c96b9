// Calls that fail because the API server is away, too busy or not ready: made again for a while.
import { setTimeout as sleep } from "node:timers/promises";
import { KubectlError } from "./kubectl_error.ts";

/** Milliseconds after the first failure; an API server that restarts is back by then. */
const LONGEST = 120_000;

let tell: (text: string) => void = () => {};

/** From now on every further try is told beforehand. */
export function tellRetries(say: (text: string) => void): void {
  tell = say;
}

/** Whether a failure is one that passes. */
export function isTransient(error: unknown): error is KubectlError {
  return error instanceof KubectlError && error.transient;
}

/**
 * Makes the call, and while its failure is transient again for two minutes, in all `seconds` at most. The
 * call is told how many seconds are left.
 */
export async function retried<T>(
  call: (left: number) => Promise<T>,
  seconds = Infinity,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let last = end;
  for (let pause = 1;; pause = Math.min(pause * 2, 15)) {
    try {
      return await call((end - Date.now()) / 1000);
    } catch (error) {
      if (pause === 1) last = Math.min(end, Date.now() + LONGEST);
      if (!isTransient(error) || Date.now() + pause * 1000 >= last) throw error;
      tell(`trying again in ${pause} s: ${error.message}: ${error.stderr.split("\n")[0]}`);
      await sleep(pause * 1000);
    }
  }
}

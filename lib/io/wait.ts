// A condition over time.
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError, ExitCode } from "../core/error.ts";
import { refuseInterrupted } from "./interrupt.ts";
import { shortList } from "../core/short_list.ts";

export interface UntilOptions {
  /** Longest wait in seconds. */
  seconds: number;
  /** Pause between two looks in seconds. */
  every?: number;
  /** Told what is missing when that changes, and every 30 s. */
  say?: (missing: string) => void;
}

/**
 * Looks until `probe` finds nothing missing any more. Throws exit 7 with what is still missing when
 * the time is over; an error of the probe itself ends the wait at once.
 */
export async function until(
  what: string,
  probe: () => Promise<string[]>,
  { seconds, every = 2, say = () => {} }: UntilOptions,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let said = "", saidAt = Date.now();
  for (;;) {
    refuseInterrupted();
    const missing = await probe();
    if (missing.length === 0) return;
    if (Date.now() > deadline) {
      throw new DeployError(`Gave up waiting for ${what} after ${seconds} s`, {
        exitCode: ExitCode.notReady,
        where: missing,
        fix: "look at the objects named above (kubectl describe), then run again",
      });
    }
    const now = shortList(missing, "; ");
    if (now !== said || Date.now() - saidAt > 30_000) {
      // The first look is not worth a line: most waits end at the second.
      if (said) say(now);
      said = now;
      saidAt = Date.now();
    }
    await sleep(every * 1000);
  }
}

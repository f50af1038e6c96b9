// A condition over time.
import { setTimeout as sleep } from "node:timers/promises";
import { notReadyError } from "../core/error.ts";
import { refuseInterrupted } from "./interrupt.ts";
import { shortList } from "../core/short_list.ts";

/** Longest wait and pause in seconds; `say` is told what is missing when that changes, and every 30 s. */
export interface UntilOptions {
  seconds: number;
  every?: number;
  say?: (missing: string) => void;
}

/** Tells `say` a text that is another than the last one, or that one when 30 s have passed. */
export function whenNew(say: (text: string) => unknown): (text: string) => void {
  let said = "", at = 0;
  return (text) => {
    if (text === said && Date.now() - at <= 30_000) return;
    [said, at] = [text, Date.now()];
    say(text);
  };
}

/** Looks until `probe` finds nothing missing. @throws {DeployError} exit 7 with what is missing when time is over. */
export async function until(
  what: string,
  probe: () => Promise<string[]>,
  { seconds, every = 2, say = () => {} }: UntilOptions,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let isFirst = true;
  // The first look is not worth a line: most waits end at the second.
  const tell = whenNew((text) => isFirst || say(text));
  for (;; isFirst = false) {
    refuseInterrupted();
    const missing = await probe();
    if (missing.length === 0) return;
    if (Date.now() > deadline) {
      throw notReadyError(`Gave up waiting for ${what} after ${seconds} s`, {
        where: missing,
        fix: "look at the objects named above (kubectl describe), then run again",
      });
    }
    tell(shortList(missing, "; "));
    await sleep(every * 1000);
  }
}

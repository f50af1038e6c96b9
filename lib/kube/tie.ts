// The life of a program that we start, tied to ours: else it would go on writing after the next run has begun.
import process from "node:process";
import { $ } from "zx";

/** Longest life in seconds of a program where the system can only limit it. */
export const LONGEST_UNTIED = 30;

const WITH_US = ["setpriv", "--pdeathsig", "KILL"];
const IN_TIME = ["timeout", "-s", "KILL", String(LONGEST_UNTIED + 1)];

let works: string[] | undefined;

function way(): string[] {
  const quiet = { quiet: true, nothrow: true };
  const isFine = (words: string[]) => $({ sync: true, ...quiet })`${words} true`.exitCode === 0;
  return works ??= [WITH_US, IN_TIME].find(isFine) ?? [];
}

/** Whether what we start ends when this process dies, however that comes: with setpriv, of util-linux. */
export function isTied(): boolean {
  return way() === WITH_US;
}

/** Words before a program that tie it to this process; where that cannot be, it ends in time by itself. */
export function tie(): string[] {
  // We may be gone before setpriv has said so: then it has another parent.
  const check = `[ $PPID = ${process.pid} ] && exec "$0" "$@"`;
  return isTied() ? [...WITH_US, "sh", "-c", check] : way();
}

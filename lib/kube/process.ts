// Our own process and those that we start: how others know whether it lives, and what ends with it.
import { randomBytes } from "node:crypto";
import { hostname, userInfo } from "node:os";
import process from "node:process";
import { $ } from "zx";
import { hashOf } from "../core/hash.ts";

/** Longest life in seconds of a program that cannot be tied to us. */
export const LONGEST_UNTIED = 30;

const WITH_US = ["setpriv", "--pdeathsig", "KILL"];
const IN_TIME = ["timeout", "-s", "KILL", String(LONGEST_UNTIED + 1)];

const sync = $({ sync: true, quiet: true, nothrow: true });

// Asked once, and the same for the whole run.
let works: string[] | undefined, own: string | undefined, here: string | undefined;

function way(): string[] {
  return works ??= [WITH_US, IN_TIME].find((words) => sync`${words} true`.exitCode === 0) ?? [];
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

/** `kim@host/4711/8899/0123456789ab/4f1e22c0`: who, process, its start, its machine, and this run of all. */
export function me(): string {
  const { pid } = process, who = `${userInfo().username}@${hostname()}`;
  return own ??= [who, pid, startOf(pid), machine(), randomBytes(4).toString("hex")].join("/");
}

/** A process as people read it: who, where, and its number. */
export function nameOf(holder: string): string {
  return holder.split("/").slice(0, 2).join("/");
}

/** Whether the process of that name runs; undefined for one that would not be seen from here. */
export function isRunningHere(holder = ""): boolean | undefined {
  const [, pid, start, where] = /\/(\d+)\/(\d+)\/(\w+)(\/\w+)?$/.exec(holder) ?? [];
  return where && where === machine() ? startOf(Number(pid)) === start : undefined;
}

/** This machine since its start, as far as it sees our processes; "" if unknown, or if our calls may outlive us. */
function machine(): string {
  if (here !== undefined) return here;
  const files = "/etc/machine-id /proc/sys/kernel/random/boot_id";
  const ids = isTied() ? told(`cat ${files}; readlink /proc/self/ns/pid`) : "";
  const isKnown = /[0-9a-f-]{36}\npid:\[\d+\]$/.test(ids);
  return here = isKnown ? hashOf([ids, hostname()]).slice(0, 12) : "";
}

/** When a process began, in ticks since the machine did: a number may be given twice. "0": not known, or gone. */
function startOf(pid: number): string {
  // The name of the program, in brackets, may hold anything.
  const [state, ...rest] = told(`cat /proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
  // One that has ended and that nobody has asked about is still listed.
  return state === "Z" || state === "X" ? "0" : rest[18] ?? "0";
}

// Deno itself reads nothing of /proc.
function told(line: string): string {
  return sync`sh -c ${line}`.stdout.trim();
}

// Who holds a lock: a process, named so that nobody takes one for another or thinks that it is gone.
import { randomBytes } from "node:crypto";
import { hostname, userInfo } from "node:os";
import process from "node:process";
import { $ } from "zx";
import { hashOf } from "../core/hash.ts";
import { isTied } from "./tie.ts";

/** Whether the process of that name runs; undefined for one that would not be seen from here. */
export function isRunningHere(holder = ""): boolean | undefined {
  const [, pid, start, where] = /\/(\d+)\/(\d+)\/(\w+)(\/\w+)?$/.exec(holder) ?? [];
  return where && where === machine() ? startOf(Number(pid)) === start : undefined;
}

let own: string | undefined;

/** `kim@host/4711/8899/0123456789ab/4f1e22c0`: who, process, its start, its machine, and this run of all. */
export function me(): string {
  const { pid } = process;
  return own ??= [
    `${userInfo().username}@${hostname()}`,
    pid,
    startOf(pid),
    machine(),
    randomBytes(4).toString("hex"),
  ].join("/");
}

/** The holder as people read it: who, where, and the number of the process. */
export function nameOf(holder: string): string {
  return holder.split("/").slice(0, 2).join("/");
}

let here: string | undefined;

/**
 * This machine since its last start, and the part of it that sees our processes: no name tells them apart.
 * Empty where that is not known, or where our calls may outlive us: then nobody may conclude anything from a
 * process that is gone.
 */
function machine(): string {
  const files = "/etc/machine-id /proc/sys/kernel/random/boot_id";
  const ids = () => isTied() ? told(`cat ${files}; readlink /proc/self/ns/pid`) : "";
  const named = (ids: string) =>
    /[0-9a-f-]{36}\npid:\[\d+\]$/.test(ids) ? hashOf([ids, hostname()]).slice(0, 12) : "";
  return here ??= named(ids());
}

/** When a process began, in ticks since the machine did: a number may be given twice. "0": not known, or gone. */
function startOf(pid: number): string {
  // The name of the program, in brackets, may hold anything.
  const [state, ...rest] = told(`cat /proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
  // One that has ended and that nobody has asked about is still listed.
  return state === "Z" || state === "X" ? "0" : rest[18] ?? "0";
}

/** What a shell says; Deno itself reads nothing of /proc. */
function told(line: string): string {
  return $({ sync: true, quiet: true, nothrow: true })`sh -c ${line}`.stdout.trim();
}

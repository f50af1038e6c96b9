// Ctrl-C and SIGTERM: what is under way ends, nothing new begins, locks are given back. A second one ends
// the programs under way as well.
import process from "node:process";
import { DeployError, ExitCode } from "./error.ts";

type Signal = "SIGINT" | "SIGTERM";

const CODES: Record<Signal, number> = {
  SIGINT: ExitCode.interrupted,
  SIGTERM: ExitCode.terminated,
};

let code: number | undefined;
let why = "";
const running = new Set<{ kill: () => void }>();

/** From now on the two signals are obeyed as above; `say` tells the operator. */
export function obeySignals(say: (text: string) => void): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (code !== undefined) {
        for (const program of running) program.kill();
        return;
      }
      say("stopping when the calls under way have ended; once more stops them, too");
      interrupt(`${signal} came`, CODES[signal]);
    });
  }
}

/** Nothing new begins from now on; `reason` is a sentence. */
export function interrupt(reason: string, exitCode: number): void {
  code ??= exitCode;
  why ||= reason;
}

/** Throws once the run is to end, with exit 130 after Ctrl-C and 143 after SIGTERM. */
export function refuseInterrupted(): void {
  if (code === undefined) return;
  throw new DeployError(`Interrupted: ${why}`, {
    exitCode: code,
    fix: "run the same command again: what is done stays done and costs nothing",
  });
}

/** Lets a second signal end a program that has been started, until the result is disposed. */
export function endable(kill: () => void): Disposable {
  const entry = { kill };
  running.add(entry);
  return { [Symbol.dispose]: () => void running.delete(entry) };
}

// Ctrl-C, SIGTERM, a lost terminal: calls under way end well and locks are given back; a second one ends all.
import process from "node:process";
import { DeployError, ExitCode } from "../core/error.ts";

const CODES = [
  ["SIGHUP", ExitCode.hungUp],
  ["SIGINT", ExitCode.interrupted],
  ["SIGTERM", ExitCode.terminated],
] as const;

let endOfRun: DeployError | undefined;
const endOn = new Map<string, DeployError>();
const held = new Set<{ end: () => void }>();

/** From now on the signals are obeyed as above. */
export function obeySignals(say: (text: string) => void): void {
  for (const [signal, exitCode] of CODES) {
    process.on(signal, () => {
      if (held.size === 0) process.exit(exitCode);
      if (!endOfRun) {
        say("stopping when the calls under way have ended; once more stops them, too");
        endOfRun = interrupted(`${signal} came`, exitCode);
        return;
      }
      for (const { end } of held) end();
      setTimeout(() => process.exit(signalCode()), 10_000);
    });
  }
}

function interrupted(reason: string, exitCode: number): DeployError {
  const fix = "run the same command again: what is done stays done and costs nothing";
  return new DeployError(`Interrupted: ${reason}`, { exitCode, fix });
}

/** Nothing new begins from now on on the cluster of that id; `reason` is a sentence. */
export function interruptOn(id: string, reason: string, exitCode: number): void {
  endOn.set(id, interrupted(reason, exitCode));
}

/** Exit code of a run that a signal is to end (129, 130, 143); 0 while none has come. */
export function signalCode(): number {
  return endOfRun?.exitCode ?? ExitCode.done;
}

/** @throws {DeployError} once the run, or that on the cluster of the `id`, is to end. */
export function refuseInterrupted(id = ""): void {
  const end = endOfRun ?? endOn.get(id);
  if (end) throw end;
}

/** Keeps a first signal from ending the process until the result is disposed; a second one calls `end`. */
export function hold(end: () => void = () => {}): Disposable {
  const entry = { end };
  held.add(entry);
  return { [Symbol.dispose]: () => void held.delete(entry) };
}

// Runs checks with patience, and tells what came of them.
import { setTimeout as sleep } from "node:timers/promises";
import type { Check, Problem, Subject } from "../core/check.ts";
import { inContext } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf, stackOf } from "../core/error.ts";
import { refuseInterrupted } from "../io/interrupt.ts";

export interface Result {
  name: string;
  hop: string;
  problems: Problem[];
  /** What the last try told. */
  fact?: string;
}

export interface Patience {
  /** Time (as of `Date.now()`) until which a check that fails is run again. */
  until: number;
  /** Pause between two runs in seconds. */
  every?: number;
  /** Told what is wrong while there is patience left. */
  say?: (missing: string) => void;
}

/**
 * Runs a check until it finds nothing wrong, or the patience is over, that of its problems too: what is new
 * needs a while.
 */
export async function runUntilOk(
  check: Check,
  subject: Subject,
  { until, every = 5, say = () => {} }: Patience,
): Promise<Result> {
  const { name, hop } = check;
  const started = Date.now();
  for (let said = "";;) {
    refuseInterrupted();
    const result: Result = { name, hop, problems: [] };
    const tell = (fact: string) => void (result.fact = fact);
    const found = await check.run(subject, tell).catch(asProblems);
    const problems = result.problems = found.map((problem) => (
      { ...problem, fix: inContext(subject.cluster, problem.fix) }
    ));
    const longest = Math.max(0, ...problems.map(({ patience = 0 }) => patience));
    const last = Math.max(until, started + longest * 1000);
    if (problems.length === 0 || Date.now() + every * 1000 > last) return result;
    const more = problems.length > 1 ? ` and ${problems.length - 1} more` : "";
    const now = `${name}: ${problems[0]!.what}${more}`;
    if (now !== said) say(said = now);
    await sleep(every * 1000);
  }
}

/** What a check could not even ask is a problem as well, and so is a bug of ours: the others still count. */
function asProblems(error: unknown): Problem[] {
  if (!(error instanceof DeployError)) {
    const what = `cannot be asked: ${messageOf(error)}`;
    return [{
      what,
      cause: stackOf(error),
      fix: "this is a bug of ours: report it with these lines",
    }];
  }
  const cause = error.where.join("; ") || "see above";
  return [{ what: error.message, cause, fix: error.fix ?? "run again with the cause removed" }];
}

/** Throws exit 11 with every problem of every check, hop by hop; returns when there is none. */
export function throwIfFailed(cluster: string, results: Result[]): void {
  const failed = results.filter(({ problems }) => problems.length > 0);
  if (failed.length === 0) return;
  throw new DeployError(`${failed.length} of ${results.length} checks failed on ${cluster}`, {
    exitCode: ExitCode.verification,
    where: failed.flatMap(({ name, hop, problems }) =>
      problems.map(({ what, cause, fix }) =>
        `${name} (${hop}): ${what}\nlikely cause: ${cause}\nfix: ${fix}`
      )
    ),
    fix: "follow the fixes from the top: a broken hop breaks those behind it",
  });
}

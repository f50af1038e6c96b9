// A failure that an operator can act on: what, where, and what to do next.

/** Exit codes of every command; one meaning each (listed in docs/troubleshooting.md). */
export const ExitCode = {
  done: 0,
  bug: 1,
  config: 2,
  prerequisite: 3,
  refused: 4,
  unreachable: 5,
  rejected: 6,
  notReady: 7,
  service: 8,
  integrity: 9,
  locked: 10,
  verification: 11,
  drift: 12, // `make drift` alone: the cluster is not as wanted
  /** SIGHUP, Ctrl-C and SIGTERM: as shells tell them. */
  hungUp: 129,
  interrupted: 130,
  terminated: 143,
} as const;

export interface DeployErrorOptions {
  exitCode: number; // one of ExitCode
  /** Where it happened, most precise first: file:line, object id and field, address. One per line. */
  where?: string | string[];
  fix?: string; // the next command to type or edit to make
  cause?: unknown;
}

/** What could not be done (verb first, no full stop), where, why, and the fix. */
export class DeployError extends Error {
  override readonly name: string = "DeployError";
  readonly exitCode: number;
  readonly where: string[];
  readonly fix: string | undefined;

  constructor(message: string, { exitCode, where = [], fix, cause }: DeployErrorOptions) {
    super(message, { cause });
    this.exitCode = exitCode;
    this.where = typeof where === "string" ? [where] : where;
    this.fix = fix;
  }
}

function ending(exitCode: number) {
  return (message: string, about?: Omit<DeployErrorOptions, "exitCode">) =>
    new DeployError(message, { exitCode, ...about });
}

/** Failures of the exit codes that are thrown most. */
export const configError = ending(ExitCode.config);
export const prerequisiteError = ending(ExitCode.prerequisite);
export const refusalError = ending(ExitCode.refused);
export const unreachableError = ending(ExitCode.unreachable);
export const notReadyError = ending(ExitCode.notReady);
export const serviceError = ending(ExitCode.service);

/** Whether it is how calls fail that a signal to the run keeps from beginning. */
export function isCutOff(error: unknown): boolean {
  return error instanceof DeployError && error.exitCode >= ExitCode.hungUp;
}

/** Something took longer than it was waited for, and nothing was wrong: it may be well in a moment. */
export class SlowError extends DeployError {
  constructor(message: string, { where, fix }: Pick<DeployErrorOptions, "where" | "fix">) {
    super(message, { exitCode: ExitCode.notReady, where, fix });
  }
}

/** What to show of a failure that no code of ours foresaw: message, then the stack. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

/** The message of whatever was thrown; of a request that failed the reason, which fetch keeps in the cause. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const why = error.message === "fetch failed" && error.cause ? messageOf(error.cause) : "";
  return why || error.message;
}

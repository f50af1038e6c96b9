// One line of the preflight table, and how several become the table and an exit code.
import { DeployError, ExitCode, messageOf, SlowError, stackOf } from "../core/error.ts";
import { table } from "../io/report.ts";

/** `hidden` is for what cannot be looked at here. */
export type State = "ok" | "warn" | "stop" | "hidden";

/** What came of looking at one thing. */
export interface Row {
  state: State;
  /** What was seen, as a short text. */
  seen: string;
  /** The next command or edit; for everything that is not ok. */
  fix?: string;
  /** Of a stop; default: a prerequisite is missing (3). */
  exitCode?: number;
  /** Lines below the row: what the verdict was made of. */
  detail?: string[];
}

/** One thing to look at. */
export interface Look {
  thing: string;
  look: () => Promise<Row>;
}

/** A row with its thing. */
export type Seen = Row & { thing: string };

/** All is well. */
export function ok(seen: string): Row {
  return { state: "ok", seen };
}

/** A deploy works, but somebody should know. */
export function warn(seen: string, fix: string): Row {
  return { state: "warn", seen, fix };
}

/** A deploy would fail, or do harm. */
export function stop(seen: string, fix: string, exitCode: number = ExitCode.prerequisite): Row {
  return { state: "stop", seen, fix, exitCode };
}

/** It cannot be looked at here, and why. */
export function hidden(why: string): Row {
  return { state: "hidden", seen: why };
}

const RANK: State[] = ["stop", "warn", "hidden", "ok"];

/** The worst of several verdicts about one thing, with what was seen and the fixes of all such. */
export function worstOf(rows: Row[]): Row {
  const state = RANK.find((state) => rows.some((row) => row.state === state)) ?? "ok";
  const same = rows.filter((row) => row.state === state);
  const unique = (texts: (string | undefined)[]) => [...new Set(texts.filter(Boolean))].join("; ");
  return {
    ...same[0]!,
    seen: unique(same.map(({ seen }) => seen)),
    fix: unique(same.map(({ fix }) => fix)) || undefined,
    detail: rows.flatMap(({ detail = [] }) => detail),
  };
}

/**
 * Looks; what could not even be asked stops, with the reason. A mere delay hides the thing, and an error of ours
 * is a row as well: the others count all the same.
 */
export async function looked({ thing, look }: Look): Promise<Seen> {
  try {
    return { thing, ...await look() };
  } catch (error) {
    if (error instanceof SlowError) {
      return { thing, ...hidden([error.message, ...error.where].join(": ")), fix: error.fix };
    }
    if (!(error instanceof DeployError)) {
      const fix = "this is a bug of ours: report it with the lines above";
      const row = stop(`cannot be looked at: ${messageOf(error)}`, fix, ExitCode.bug);
      return { thing, ...row, detail: [stackOf(error)] };
    }
    const { message, where, fix, exitCode } = error;
    return {
      thing,
      ...stop(message, fix ?? "correct the cause, then run again", exitCode),
      detail: where,
    };
  }
}

/** The table as text: a fix and the details stand below their row. */
export function tableOf(rows: Seen[]): string {
  const name = { ok: "ok", warn: "warn", stop: "stop", hidden: "-" };
  const lines = table(rows.map(({ state, thing, seen }) => [name[state], thing, seen])).split("\n");
  return rows.flatMap(({ state, fix, detail = [] }, index) => [
    `  ${lines[index]}`,
    ...(state === "ok"
      ? []
      : detail.map((line) => `          ${line.replaceAll("\n", "\n          ")}`)),
    ...(fix ? [`        fix: ${fix}`] : []),
  ]).join("\n");
}

/** 0 when nothing stops, else the exit code of the worst stop (the highest number). */
export function exitCodeOfRows(rows: Row[]): number {
  const stops = rows.filter(({ state }) => state === "stop");
  return Math.max(ExitCode.done, ...stops.map(({ exitCode = ExitCode.prerequisite }) => exitCode));
}

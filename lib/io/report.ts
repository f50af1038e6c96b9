// The only writer to the terminal: progress on stderr, data on stdout, secrets masked in both.
import process from "node:process";
import { type Cluster, inContext } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf, prerequisiteError, stackOf } from "../core/error.ts";
import { type LiveView, liveView } from "./live_view.ts";
import { base64 } from "../core/object.ts";

/** What happened to one object (`Kind/namespace/name`), or to what a sentence names. */
export interface Change {
  id: string;
  action: "created" | "configured" | "unchanged" | "deleted";
}

const masks = new Set<string>();

/** From now on these values, and their base64, URL and JSON forms, are written as `***`. */
export function maskSecrets(values: string[]): void {
  for (const value of values.filter((value) => value.length >= 4)) {
    const json = JSON.stringify(value).slice(1, -1);
    const byKubectl = json.replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
    for (const form of [value, base64(value), encodeURIComponent(value), json, byKubectl]) {
      masks.add(form);
    }
  }
}

/** The text without any registered secret that stands in it as a whole word; the longest forms go first. */
export function masked(text: string): string {
  const hide = (found: string, at: number, whole: string) =>
    isPart(whole, at, found) ? found : "***";
  return [...masks].sort((a, b) => b.length - a.length)
    .reduce((result, secret) => result.replaceAll(secret, hide), text);
}

/** Whether a longer word goes on before or behind: in `grafana-admin` no password `grafana` is told. */
function isPart(whole: string, at: number, found: string): boolean {
  // An escape such as \n or %3D ends in a letter and is none.
  const before = whole.slice(Math.max(0, at - 6), at)
    .replace(/(\\[nrt]|\\u[0-9a-f]{4}|%[0-9A-F]{2})$/, " ");
  const after = whole.slice(at + found.length, at + found.length + 2);
  return /^[\p{L}\p{N}]/u.test(found) && /([\p{L}\p{N}_-]|[\p{L}\p{N}]\.)$/u.test(before) ||
    /[\p{L}\p{N}]$/u.test(found) && /^([\p{L}\p{N}_-]|\.[\p{L}\p{N}])/u.test(after);
}

/** Writes data (rendered YAML, tables, settings) to stdout, masked. */
export function print(text: string): void {
  printJson(masked(text));
}

/** Writes JSON of {@link documentOf} to stdout: a mask over the whole of it could turn a name into another. */
export function printJson(json: string): void {
  process.stdout.write(json.endsWith("\n") ? json : json + "\n");
}

/** Keys of which the values are names of ours, and no texts that a secret may stand in. */
const NAMES = new Set(["schema", "id", "name", "step", "state", "action", "mark"]);

/** What programs read, as docs/schema describes it under a name and version such as `plan/v4`; its texts are masked. */
export function documentOf(schema: string, found: object): string {
  const shown = (key: string, value: unknown) =>
    typeof value === "string" && !NAMES.has(key) ? masked(value) : value;
  return JSON.stringify({ schema: `thanos-multi-cluster/${schema}`, ...found }, shown, 2);
}

let view: LiveView | undefined;

/** On a terminal, but for CI: until it is disposed the last lines say what each cluster does ({@link Report.now}). */
export function openLiveView(): Disposable {
  const { stderr, env: { CI, TERM } } = process;
  if (stderr.isTTY && !CI && TERM !== "dumb") view ??= liveView(stderr);
  return {
    [Symbol.dispose]() {
      view?.end();
      view = undefined;
    },
  };
}

function writeLine(line: string): void {
  if (view) view.above(line);
  else process.stderr.write(line);
}

/** So many changed objects are listed; more are counted by kind. */
const LISTED = 8;

/** Progress of one command, or of one cluster of it: every line carries the cluster's prefix. */
export class Report {
  readonly #prefix: string;
  readonly #write: (line: string) => void;
  #now = "";

  constructor(prefix = "", write: (line: string) => void = writeLine) {
    this.#prefix = prefix;
    this.#write = write;
  }

  /** Progress as it is. This and the next ones of one text are bound, to be handed on. */
  readonly say = (text: string): void => {
    for (const line of masked(text).split("\n")) {
      this.#write(`${this.#prefix}${line}`.trimEnd() + "\n");
    }
  };

  heading(text: string): void {
    this.say(bold(text));
  }

  /** What goes on from now on: a line of the live view, where there is one; `idle`: nothing, for the reason given. */
  now(text: string, idle = false): void {
    this.#now = masked(text);
    view?.show(this.#prefix, this.#now, idle);
  }

  phase(title: string, seconds: number, note = ""): void {
    this.say(`  ${title.padEnd(28)} ${note}${note && "  "}${dim(`${seconds.toFixed(1)}s`)}`);
  }

  changes(changes: Change[]): void {
    const changed = changes.filter(({ action }) => action !== "unchanged");
    for (const [action, those] of Map.groupBy(changed, ({ action }) => action)) {
      const kinds = Map.groupBy(those, ({ id }) => id.split("/")[0]!);
      const lines = changed.length <= LISTED
        ? those.map(({ id }) => id)
        : [[...kinds].map(([kind, { length }]) => `${length} ${kind}`).join(", ")];
      for (const line of lines) this.say(`    ${action.padEnd(10)} ${line}`);
    }
  }

  /** What a wait still misses; called when that changes, and as a reminder. */
  readonly waiting = (what: string): void => {
    if (view) return view.show(this.#prefix, `${this.#now}: waiting for ${masked(what)}`);
    this.say(dim(`    waiting    ${what}`));
  };

  readonly note = (text: string): void => this.say(dim(`    note       ${text}`));

  readonly warn = (text: string): void => this.say(`${yellow("  warning")}  ${text}`);

  notShown(what: string, why: string): void {
    this.say(dim(`  ${what.padEnd(28)} ${why}`));
  }

  /** A failure (of `cluster`): what, where, why, and the next command. A stack only for bugs. */
  error(error: unknown, cluster?: Cluster): void {
    const known = foreseen(error);
    if (!known) return this.say(`${red("Bug")}  ${stackOf(error)}`);
    this.say(`${red("Error")}  ${known.message}`);
    for (const line of known.where) this.say(`  ${line.replaceAll("\n", "\n    ")}`);
    if (known.fix) this.say(`  fix: ${cluster ? inContext(cluster, known.fix) : known.fix}`);
  }
}

/** What is no {@link DeployError} is a bug. */
export function exitCodeOf(error: unknown): number {
  return foreseen(error)?.exitCode ?? ExitCode.bug;
}

/** A failure in our words, also of a missing permission and of a full disk; undefined for a bug. */
function foreseen(error: unknown): DeployError | undefined {
  if (error instanceof DeployError) return error;
  // Of what failed, and could then not be tidied up either, the first says why.
  if (error instanceof SuppressedError) return foreseen(error.suppressed);
  const told = (fix: string) => prerequisiteError(messageOf(error), { fix });
  if (error instanceof Deno.errors.NotCapable) {
    return told("use make, which gives every permission; or add that flag to deno run");
  }
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  if (/^(ENOSPC|EDQUOT)$/.test(code)) return told("make room there");
}

/** Exit code of several parts: 0, or that of the worst failure (the highest number); undefined is none. */
export function worstCode(errors: unknown[]): number {
  return Math.max(0, ...errors.filter((error) => error !== undefined).map(exitCodeOf));
}

/** Rows as an aligned text table; the first row is the heading. */
export function table(rows: string[][], gap = "  "): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.map((row) => columnsOf(row[column] ?? "")))
  );
  return rows.map((row) =>
    row.map((cell, column) => cell + " ".repeat(widths[column]! - columnsOf(cell))).join(gap)
      .trimEnd()
  ).join("\n");
}

// Takes tens of milliseconds to be made, and most texts need none.
let letters: Intl.Segmenter | undefined;
// Letters of Korean, Chinese and Japanese, emoji, and wide forms; of the block at U+FF00 the second half is narrow.
const WIDE =
  /^(?![\uff61-\uffdc])[\p{sc=Hang}\p{sc=Hani}\p{sc=Hira}\p{sc=Kana}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uffe6]/u;

/** Columns that a terminal gives a text: two for a wide letter, of however many characters it is made. */
export function columnsOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  letters ??= new Intl.Segmenter();
  const shown = [...letters.segment(text)].map(({ segment }) => segment);
  return shown.length + shown.filter((letter) => WIDE.test(letter)).length;
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

/** What puts a text into a style on stdout (or stderr): for a terminal or FORCE_COLOR, and never for NO_COLOR. */
export function paint(
  style: keyof typeof STYLES,
  { isTTY }: { isTTY?: boolean } = process.stdout,
  { NO_COLOR, FORCE_COLOR }: Record<string, string | undefined> = process.env,
): (text: string) => string {
  const isColoured = !NO_COLOR && (FORCE_COLOR || isTTY);
  return (text) => isColoured ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
}

const bold = paint("bold", process.stderr), dim = paint("dim", process.stderr);
const red = paint("red", process.stderr), yellow = paint("yellow", process.stderr);

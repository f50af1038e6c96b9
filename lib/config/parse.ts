// Text of an env file to values with line numbers; refuses what dotenv would lose or alter in silence.
import { parse } from "dotenv";

/** A setting's text and who gave it: `file:line`, or a word for what is no file. */
export interface Given {
  value: string;
  source: string;
}

/** What a file says, and what is wrong with it, as lines for people that never repeat a value. */
export interface EnvFile {
  entries: Map<string, Given>;
  problems: string[];
}

// Names are upper case, so that a stray line of a secret is never taken (and printed) as a name.
const ASSIGNMENT = /^\s*([A-Z][A-Z0-9_]*)=\s*(.*)$/;

/**
 * Reads `NAME=value` lines. The values are dotenv's; malformed lines, duplicates, unclosed quotes
 * and values that a `#` would cut are problems instead of surprises.
 */
export function parseEnv(
  text: string,
  file: string,
  isSecret: (name: string) => boolean,
): EnvFile {
  const lines = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n").split("\n");
  const entries = new Map<string, Given>(), problems: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const source = `${file}:${at + 1}`;
    const report = (problem: string) => problems.push(`${source}  ${problem}`);
    if (/^\s*(#|$)/.test(lines[at]!)) continue;
    const [, name, start] = ASSIGNMENT.exec(lines[at]!) ?? [];
    if (name === undefined || start === undefined) {
      report("expected NAME=value, with a name of A-Z, 0-9 and _");
      continue;
    }
    const quoted = /^['"`]/.test(start);
    let raw = start.trimEnd();
    if (quoted) {
      const end = lastLineOfQuote(lines, at, start);
      if (end === undefined) {
        report(`${name} has an opening quote without a closing one`);
        continue;
      }
      raw = [start, ...lines.slice(at + 1, end + 1)].join("\n");
      at = end;
    }
    const problem = quoted ? quotedProblem(raw) : bareProblem(raw, isSecret(name));
    const first = entries.get(name)?.source.slice(file.length + 1);
    if (first) report(`${name} is set twice: first in line ${first}`);
    else if (problem) report(`${name} ${problem}`);
    else entries.set(name, { value: parse(`${name}=${raw}`)[name] ?? "", source });
  }
  return { entries, problems };
}

function lastLineOfQuote(lines: string[], at: number, start: string): number | undefined {
  const quote = start[0]!;
  if (start.indexOf(quote, 1) > 0) return at;
  const found = lines.findIndex((line, index) => index > at && line.includes(quote));
  return found < 0 ? undefined : found;
}

function quotedProblem(raw: string): string | undefined {
  const closing = raw.indexOf(raw[0]!, 1);
  if (raw[closing - 1] === "\\") {
    return "has a backslash before a quote, and dotenv keeps both: use another kind of quote (', \" or `)";
  }
  if (!/^\s*(#.*)?$/.test(raw.slice(closing + 1))) return "has text after the closing quote";
}

function bareProblem(raw: string, secret: boolean): string | undefined {
  const at = raw.indexOf("#");
  if (at < 0) return;
  if (secret) return "is a secret with a # that would cut it: put the value in single quotes";
  if (at > 0 && !/\s/.test(raw[at - 1]!)) {
    return "has a # that would cut it: quote the value, or put a blank before the comment";
  }
}

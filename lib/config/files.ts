// The files that say something about clusters: which there are, and their text as values with line numbers.
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import process from "node:process";
import { parse } from "dotenv";
import { $ } from "zx";
import { refusalError } from "../core/error.ts";
import { isDigest, isTagged } from "../core/image.ts";
import { nearest } from "../core/nearest.ts";
import { isFields, parsedJson } from "../core/object.ts";
import { isSecret, SETTINGS } from "./schema.ts";

/** A setting's text and who gave it: `file:line`, or a word for what is no file. */
export type Given = { value: string; source: string };

/** A file by its path for people, and what it sets. */
export type Layer = { file: string; entries: Map<string, Given>; warnings: string[] };

/** Settings that there once were: a file that still has one is no mistake. */
const RETIRED = ["SSH_USER", "KUBERNETES_VERSION"];

/** `path` as shown to people: relative to the project where it lies inside. */
export function shown(root: string, path: string): string {
  const short = relative(root, path);
  return short === "" || short.startsWith("..") ? path : short;
}

/** Ids of the `cluster-<id>.env` files in `dir`, in the order of their numbers, and files that look like one. */
export async function clusterFiles(dir: string): Promise<{ ids: string[]; strange: string[] }> {
  const names = (await readdir(dir).catch(() => [])).filter((name) =>
    /^cluster-.*\.env$/.test(name)
  );
  const idIn = (name: string) => /^cluster-([1-9][0-9]*)\.env$/.exec(name)?.[1];
  return {
    ids: names.flatMap((name) => idIn(name) ?? []).sort((a, b) => Number(a) - Number(b)),
    strange: names.filter((name) => !idIn(name)),
  };
}

/** Reads an env file, or takes `text` for it; an absent one is empty. Only SECRET_FILE may hold secrets. */
export async function readLayer(
  root: string,
  path: string,
  problems: string[],
  { secrets = false, text }: { secrets?: boolean; text?: string } = {},
): Promise<Layer> {
  const layer: Layer = { file: shown(root, path), entries: new Map(), warnings: [] };
  const source = text ?? await readText(path, layer.file, problems);
  if (source === undefined) return layer;
  const read = parseEnv(source, layer.file, isSecret);
  problems.push(...read.problems);
  for (const [name, given] of read.entries) {
    const where = `${given.source}  ${name}`;
    if (RETIRED.includes(name)) {
      layer.warnings.push(`${where} is used no longer: remove it`);
    } else if (!(name in SETTINGS)) {
      const guess = nearest(name, Object.keys(SETTINGS));
      problems.push(`${where} is not a known name${guess ? `: did you mean ${guess}?` : ""}`);
    } else if (isSecret(name) && !secrets) {
      problems.push(`${where} is a secret: move it to SECRET_FILE, out of git`);
    } else layer.entries.set(name, given);
  }
  if (secrets) await guardSecretFile(path, layer.file, layer.warnings);
  return layer;
}

async function readText(path: string, file: string, problems: string[]) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const why = code === "EISDIR" ? "is a directory" : `cannot be read: ${code}`;
    problems.push(`${file}  ${code ? why : "is not UTF-8 text"}: expected a file`);
  }
}

// Names are upper case, so that a stray line of a secret is never taken (and printed) as a name. A value in quotes may
// go on over lines; any other line matches without a name.
const ENTRY =
  /(?<![^\n])[^\S\n]*(?<name>[A-Z][A-Z0-9_]*)=[^\S\n]*(?<raw>(?<quote>['"`])[^]*?\k<quote>[^\n]*|(?!['"`]|[^\S\n])[^\n]*)(?![^\n])|(?<![^\n])[^\n]*/g;

/** The `NAME=value` lines of a text as dotenv reads them; problems are what it would lose, without any value. */
export function parseEnv(text: string, file: string, isSecret: (name: string) => boolean) {
  const entries = new Map<string, Given>(), problems: string[] = [];
  const lines = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  for (const { 0: line, groups, index } of lines.matchAll(ENTRY)) {
    const { name, raw = "", quote } = groups!;
    if (/^\s*(#|$)/.test(line)) continue;
    const source = `${file}:${lines.slice(0, index).split("\n").length}`;
    const report = (problem: string) => problems.push(`${source}  ${problem}`);
    if (!name) {
      const [, open] = /^\s*([A-Z][A-Z0-9_]*)=/.exec(line) ?? [];
      if (open) report(`${open} has an opening quote without a closing one`);
      else report("expected NAME=value, with a name of A-Z, 0-9 and _");
      continue;
    }
    const problem = quote ? quotedProblem(raw) : bareProblem(raw, isSecret(name));
    const first = entries.get(name)?.source.slice(file.length + 1);
    if (first) report(`${name} is set twice: first in line ${first}`);
    else if (problem) report(`${name} ${problem}`);
    else entries.set(name, { value: parse(`${name}=${raw}`)[name] ?? "", source });
  }
  return { entries, problems };
}

function quotedProblem(raw: string): string | undefined {
  const closing = raw.indexOf(raw[0]!, 1);
  if (raw[closing - 1] === "\\") {
    return "has a backslash before a quote, and dotenv keeps both: use another kind of quote (', \" or `)";
  }
  if (!/^\s*(#.*)?$/.test(raw.slice(closing + 1))) return "has text after the closing quote";
}

function bareProblem(raw: string, secret: boolean): string | undefined {
  if (secret && raw.includes("#")) {
    return "is a secret with a # that would cut it: put the value in single quotes";
  }
  if (/^[^#]*[^#\s]#/.test(raw)) {
    return "has a # that would cut it: quote the value, or put a blank before the comment";
  }
}

/** Warns when others may read the file of secrets. @throws {DeployError} exit 4 when git tracks it. */
export async function guardSecretFile(path: string, file: string, warnings: string[]) {
  const mode = (await stat(path)).mode & 0o777;
  if (mode & 0o077) {
    warnings.push(`${file}  mode 0${mode.toString(8)} lets others read secrets: chmod 600 ${file}`);
  }
  if (!path.endsWith(".example") && await isTracked(path)) {
    throw refusalError(`Cannot use ${file}: git tracks this file of secrets`, {
      where: file,
      fix: `git rm --cached ${file}, add it to .gitignore, and replace the secrets in it`,
    });
  }
}

async function isTracked(path: string): Promise<boolean> {
  // Inside a git hook, GIT_DIR and friends would point elsewhere.
  const { PATH, HOME } = process.env;
  const run = $({ quiet: true, nothrow: true, cwd: dirname(path), env: { PATH, HOME } });
  // A folder of another user's is doubtful to git, which then says nothing of its files.
  const trust = "safe.directory=*";
  const { exitCode } = await run`git -c ${trust} ls-files --error-unmatch -- ${path}`;
  return exitCode === 0; // not without git: nothing can be tracked by mistake
}

/** Digests by `[HOST/]PATH:TAG`, as `make pin` keeps them; undefined without the file. */
export async function readPins(root: string, setting: string, problems: string[]) {
  const path = resolve(root, setting), file = shown(root, path);
  const text = await readText(path, file, problems);
  if (text === undefined) return undefined;
  const pins: unknown = parsedJson(text);
  if (!isFields(pins)) {
    const fix = "mend it, or take it back from git; without it make pin takes what tags name now";
    problems.push(`${file}  is no JSON object: ${fix}`);
    return undefined;
  }
  const entries = Object.entries(pins) as [string, string][];
  for (const [image, digest] of entries) {
    if (isTagged(image) && isDigest(digest)) continue;
    const pin = `${JSON.stringify(image)}: ${JSON.stringify(digest)}`;
    problems.push(`${file}  ${pin}: expected "IMAGE:TAG": "sha256:", 64 hex digits`);
  }
  return new Map(entries);
}

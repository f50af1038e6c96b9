// Which files and variables say something about a cluster, in which order, and who said it.
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, relative } from "node:path";
import { type EnvFile, parseEnv } from "./parse.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { isSecret, SETTINGS } from "./schema.ts";
import { nearest } from "../core/nearest.ts";

/** One file: its path for people, and what it sets. */
export interface Layer extends EnvFile {
  file: string;
  warnings: string[];
}

/** Settings that there once were: a file that still has one is no mistake. */
const RETIRED = ["SSH_USER", "KUBERNETES_VERSION"];

/** `path` as shown to people: relative to the project where it lies inside. */
export function shown(root: string, path: string): string {
  const short = relative(root, path);
  return short === "" || short.startsWith("..") ? path : short;
}

/** Ids of the `cluster-<id>.env` files in `dir`, in the order of their numbers. */
export async function clusterFiles(dir: string): Promise<{ ids: string[]; strange: string[] }> {
  const names = (await listOf(dir)).filter((name) => /^cluster-.*\.env$/.test(name));
  const idIn = (name: string) => /^cluster-([1-9][0-9]*)\.env$/.exec(name)?.[1];
  return {
    ids: names.flatMap((name) => idIn(name) ?? []).sort((a, b) => Number(a) - Number(b)),
    strange: names.filter((name) => !idIn(name)),
  };
}

/** Names of the profiles in their folder. */
export async function profilesIn(folder: string): Promise<string[]> {
  const names = await listOf(folder);
  return names.flatMap((name) => /^(.*)\.env$/.exec(name)?.[1] ?? []).sort();
}

function listOf(dir: string): Promise<string[]> {
  return readdir(dir).catch(() => []);
}

/**
 * Reads one env file, or takes `text` for what stands in it; an absent one is an empty layer. Secrets
 * belong in no file but SECRET_FILE.
 */
export async function readLayer(
  root: string,
  path: string,
  { secrets = false, text }: { secrets?: boolean; text?: string } = {},
): Promise<Layer> {
  const file = shown(root, path);
  const layer: Layer = { file, entries: new Map(), problems: [], warnings: [] };
  const source = text ?? await readText(path, layer);
  if (source === undefined) return layer;
  const { entries, problems } = parseEnv(source, file, isSecret);
  layer.problems.push(...problems);
  for (const [name, given] of entries) {
    const where = given.source;
    if (RETIRED.includes(name)) {
      layer.warnings.push(`${where}  ${name} is used no longer: remove it`);
    } else if (!(name in SETTINGS)) {
      const guess = nearest(name, Object.keys(SETTINGS));
      layer.problems.push(
        `${where}  ${name} is not a known name${guess ? `: did you mean ${guess}?` : ""}`,
      );
    } else if (isSecret(name) && !secrets) {
      layer.problems.push(`${where}  ${name} is a secret: move it to SECRET_FILE, out of git`);
    } else layer.entries.set(name, given);
  }
  if (secrets) await guardSecretFile(path, file, layer.warnings);
  return layer;
}

async function readText(path: string, layer: Layer): Promise<string | undefined> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (error) {
    const { code, name } = error as { code?: string; name: string };
    if (code === "ENOENT") return undefined;
    const why = code === "EISDIR" ? "is a directory" : `cannot be read: ${code ?? name}`;
    layer.problems.push(`${layer.file}  ${code ? why : "is not UTF-8 text"}: expected a file`);
  }
}

/**
 * Warns when others may read the file of secrets at `path` (shown to people as `file`).
 * @throws {DeployError} exit 4 when git tracks it.
 */
export async function guardSecretFile(
  path: string,
  file: string,
  warnings: string[],
): Promise<void> {
  const mode = (await stat(path)).mode & 0o777;
  if (mode & 0o077) {
    warnings.push(`${file}  mode 0${mode.toString(8)} lets others read secrets: chmod 600 ${file}`);
  }
  if (!path.endsWith(".example") && await isTracked(path)) {
    throw new DeployError(`Cannot use ${file}: git tracks this file of secrets`, {
      exitCode: ExitCode.refused,
      where: file,
      fix: `git rm --cached ${file}, add it to .gitignore, and replace the secrets in it`,
    });
  }
}

async function isTracked(path: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("git", {
      // A folder of another user's is doubtful to git, which then says nothing of its files.
      args: ["-c", "safe.directory=*", "ls-files", "--error-unmatch", "--", path],
      cwd: dirname(path),
      // Inside a git hook, GIT_DIR and friends would point elsewhere.
      clearEnv: true,
      env: { PATH: Deno.env.get("PATH") ?? "", HOME: Deno.env.get("HOME") ?? "" },
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false; // no git here: nothing can be tracked by mistake
  }
}

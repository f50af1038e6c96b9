// Files kept outside the project: where they are, and how one is replaced without half-written state.
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { prerequisiteError } from "../core/error.ts";

/** The cache folder: TMC_CACHE or `~/.cache/thanos-multi-cluster`. @throws {DeployError} exit 3 without a home. */
export function cacheDir(
  environment: Record<string, string | undefined> = process.env,
  home = homeFolder(),
): string {
  if (environment.TMC_CACHE) return resolve(environment.TMC_CACHE);
  if (home) return join(home, ".cache", "thanos-multi-cluster");
  throw prerequisiteError("Cannot find a folder to keep files in: there is no HOME", {
    fix: "TMC_CACHE=/a/folder/that/can/be/written before the command",
  });
}

/** Empty for a user whom the system does not know, for whom Deno says null. */
export function homeFolder(): string {
  return homedir() ?? "";
}

/** Renames what `write` makes to `path`: never half of it. @throws {DeployError} exit 3 when the disk refuses. */
export async function replaceFile(
  path: string,
  write: (temporary: string) => Promise<void>,
  remedy = "set TMC_CACHE to a folder that can be written",
): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}.part`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await write(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true, recursive: true }).catch(() => {});
    throw diskError(path, error, remedy);
  }
}

/** Makes a folder below TMPDIR that nobody else can look into. @throws {DeployError} exit 3 when the disk refuses. */
export async function temporaryFolder(prefix: string): Promise<string> {
  const path = join(tmpdir(), prefix);
  return await mkdtemp(path).catch((error) => {
    throw diskError(path, error, "set TMPDIR to a folder that can be written");
  });
}

function diskError(path: string, error: unknown, remedy: string): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (!/^E[A-Z]+$/.test(code)) return error;
  return prerequisiteError(`Cannot write "${path}": ${code}`, {
    fix: `make room there, or ${remedy}`,
    cause: error,
  });
}

/** sha256 of a file, in hex. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

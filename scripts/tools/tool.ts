// Programs this project needs: from PATH, an official release or a Go module, whichever is there first.
import { existsSync, statSync } from "node:fs";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { $, ProcessOutput, which } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { hashOf } from "../../lib/core/hash.ts";
import { cacheDir, replaceFile } from "../../lib/io/files.ts";
import { DownloadError, remedyOf } from "../../lib/render/download.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { isOlder } from "../../lib/core/version.ts";
import type { Say } from "../../lib/render/bundle.ts";
import pinned from "../tools.json" with { type: "json" };
import { fromModule } from "./go_build.ts";
import { filled, fromRelease, type Tool } from "./release.ts";

export interface ToolOptions {
  /** Gets one line when something takes long. */
  say?: Say;
  /** The project's folder; its .tools/ is where the links are. */
  root?: string;
  /** Instead of scripts/tools.json. */
  tools?: Tool[];
}

/** A tool that is there. */
export interface FoundTool {
  path: string;
  version: string;
  /** For people: "PATH", an address, or a Go module. */
  from: string;
  /** Hash of its definition, and bytes of the program: others mean look again. */
  recipe: string;
  size: number;
}

/** All tools of scripts/tools.json, in the order they are written there. */
export function allTools(): Tool[] {
  return pinned.releases.flatMap(({ programs, ...shared }) =>
    Object.entries(programs).map(([name, own]) => ({ ...shared, ...own, name }) as unknown as Tool)
  );
}

/**
 * Gives the absolute paths of the named tools and links them in `.tools/bin`; gets what is missing,
 * one after the other. A call that has nothing to get takes milliseconds.
 * @throws {DeployError} exit 3 when every source failed, with each one's reason; exit 9 when a
 * download is not the pinned file.
 */
export async function ensureTools(
  names: string[],
  options: ToolOptions = {},
): Promise<Record<string, string>> {
  const found = await findTools(names, options);
  return Object.fromEntries(Object.entries(found).map(([name, { path }]) => [name, path]));
}

/** As {@link ensureTools}, and says where each came from. */
export async function findTools(
  names: string[],
  options: ToolOptions = {},
): Promise<Record<string, FoundTool>> {
  const { root = projectPath("."), say = () => {} } = options;
  const tools = options.tools ?? allTools();
  const record = join(root, ".tools", "tools.json");
  const known = await readRecord(record);
  const result: Record<string, FoundTool> = {};
  for (const name of names) {
    const tool = tools.find((tool) => tool.name === name);
    if (!tool) {
      throw new DeployError(`Cannot get "${name}": scripts/tools.json does not know it`, {
        exitCode: ExitCode.config,
        fix: `name one of ${tools.map(({ name }) => name).join(", ")}`,
      });
    }
    const recipe = hashOf(tool);
    const link = join(root, ".tools", "bin", name);
    const before = known[name];
    if (before?.recipe === recipe && before.size === sizeOf(before.path) && existsSync(link)) {
      result[name] = before;
      continue;
    }
    const found = await getTool(filled(tool), dirname(link), say);
    result[name] = { ...found, recipe, size: sizeOf(found.path) };
    await replaceFile(link, (temporary) => symlink(result[name]!.path, temporary));
    // Read again: another run may have written meanwhile.
    const all = { ...await readRecord(record), [name]: result[name] };
    await replaceFile(record, (temporary) => writeFile(temporary, JSON.stringify(all, null, 2)));
  }
  return result;
}

function readRecord(path: string): Promise<Record<string, FoundTool>> {
  return readFile(path, "utf8").then(JSON.parse).catch(() => ({}));
}

/** Looks on PATH and in the cache, then downloads, then builds. */
async function getTool(tool: Tool, ownLinks: string, say: Say) {
  const { name, version } = tool;
  const onPath = await fromPath(tool, ownLinks);
  if ("path" in onPath) return { ...onPath, from: "PATH" };
  const path = join(cacheDir(), "tools", `${name}-${version}`, name);
  const note = join(dirname(path), "from");
  const [from = "cache", bytes] = (await readFile(note, "utf8").catch(() => "cache")).split("\n");
  // A cache of before does not tell how many bytes it should have.
  if (sizeOf(path) > 0 && (!bytes || sizeOf(path) === Number(bytes))) {
    return { path, version, from };
  }
  if (existsSync(path)) say(`  ${path} is not whole: getting it again`);

  const reasons = [`PATH: ${onPath.reason}`];
  for (const source of [fromRelease, fromModule]) {
    try {
      const from = await source(tool, path, say);
      await replaceFile(note, (temporary) => writeFile(temporary, `${from}\n${sizeOf(path)}`));
      return { path, version, from };
    } catch (error) {
      // What tar or cp says is no error of ours.
      if (error instanceof ProcessOutput) reasons.push(error.stderr.trim());
      else if (error instanceof DeployError && mayGoOn(error)) {
        reasons.push([error.message, ...error.where].join("\n"));
        if (error.fix) reasons.push(`  ${error.fix}`);
      } else throw error;
    }
  }
  throw new DeployError(`Cannot get ${name} ${version}`, {
    exitCode: ExitCode.prerequisite,
    where: reasons,
    fix: remedyOf(reasons.join("\n")) ??
      `put ${name} ${wanted(tool)} on PATH, or connect this machine (or install Go) and ` +
        "say `make tools`",
  });
}

/** Bytes of a file; 0 where there is none. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** A file that is not what it should be is no reason to look elsewhere, but to stop. */
function mayGoOn(error: DeployError): boolean {
  return error.exitCode === ExitCode.prerequisite ||
    (error instanceof DownloadError && error.reason === "refused");
}

function wanted({ version, atLeast }: Tool): string {
  return atLeast ? `${atLeast} or newer` : version;
}

/** The first program of that name on PATH, when its version fits; our own links do not count. */
async function fromPath(
  tool: Tool,
  ownLinks: string,
): Promise<{ path: string; version: string } | { reason: string }> {
  for (const found of await which(tool.name, { all: true, nothrow: true }) ?? []) {
    const path = resolve(found);
    if (dirname(path) === ownLinks) continue;
    const version = await versionOf(path, tool);
    if (version === undefined) return { reason: `${path} does not tell its version` };
    const fits = tool.atLeast ? !isOlder(version, tool.atLeast) : version === tool.version;
    return fits
      ? { path, version }
      : { reason: `${path} is ${version}, needed is ${wanted(tool)}` };
  }
  return { reason: `${tool.name} ${wanted(tool)} is not there` };
}

async function versionOf(path: string, tool: Tool): Promise<string | undefined> {
  const { versionArgs = ["--version"], versionPattern = "(\\d+\\.\\d+\\.\\d+)" } = tool;
  const run = $({ quiet: true, nothrow: true, timeout: "5s", stdio: ["ignore", "pipe", "pipe"] });
  const { stdout, stderr } = await run`exec ${path} ${versionArgs}`;
  return new RegExp(versionPattern).exec(stdout + stderr)?.[1];
}

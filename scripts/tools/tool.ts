// Programs this project needs: from PATH, an official release or a Go module, whichever is there first.
import { existsSync, statSync } from "node:fs";
import { chmod, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { $, which } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { cacheDir, replaceFile } from "../../lib/io/files.ts";
import { configError, prerequisiteError } from "../../lib/core/error.ts";
import { isOlder, PLATFORM } from "../../lib/core/version.ts";
import type { Say } from "../../lib/render/bundle.ts";
import { download, firstOf, publishedSum } from "../../lib/render/download.ts";
import pinned from "../tools.json" with { type: "json" };
import { fromModule, type GoProgram } from "./go_build.ts";

/** One program: what fits, and where it can be had. Texts may hold {version} {name} {os} {arch}. */
export interface Tool extends GoProgram {
  version: string;
  atLeast?: string; // the oldest that is taken from PATH; default: only the exact one is
  versionArgs?: string[]; // default: --version
  versionPattern?: string; // default: the first thing like 1.2.3
  // `sha256Url`: the project's published checksums, for platforms without a pinned one.
  download?: { url: string; sha256Url: string; member?: string; platforms: string[] };
  sha256?: Record<string, string>;
}

/** Folder of our links below a project's. */
const LINKS = "/.tools/bin";

/** `say` gets a line when something takes long; the links are in .tools/ of `root`, the project's folder. */
type ToolOptions = { say?: Say; root?: string; tools?: Tool[] };

/** A tool that is there; for people `from` says where: "PATH", an address, or a Go module. */
type FoundTool = { path: string; version: string; from: string };

/** All tools of scripts/tools.json, in its order. */
export function allTools(): Tool[] {
  return pinned.releases.flatMap(({ programs, ...shared }) =>
    Object.entries(programs).map(([name, own]) => ({ ...shared, ...own, name }) as unknown as Tool)
  );
}

/** Gives the absolute paths of the named tools, as {@link findTools} finds them. */
export async function ensureTools(names: string[], options?: ToolOptions) {
  const found = Object.entries(await findTools(names, options));
  return Object.fromEntries(found.map(([name, { path }]): [string, string] => [name, path]));
}

/** Finds or gets the named tools and links them in `.tools/bin`. Throws exit 3, or 9 for a file with another sum. */
export async function findTools(
  names: string[],
  { root = projectPath("."), say = () => {}, tools = allTools() }: ToolOptions = {},
): Promise<Record<string, FoundTool>> {
  const links = join(root, LINKS);
  const result: Record<string, FoundTool> = {};
  for (const name of names) {
    const tool = tools.find((tool) => tool.name === name);
    if (!tool) {
      throw configError(`Cannot get "${name}": scripts/tools.json does not know it`, {
        fix: `name one of ${tools.map(({ name }) => name).join(", ")}`,
      });
    }
    const found = await getTool(filled(tool), say);
    await replaceFile(join(links, name), (temporary) => symlink(found.path, temporary));
    result[name] = found;
  }
  return result;
}

function filled(tool: Tool): Tool {
  const values: Record<string, string> = { ...PLATFORM, name: tool.name, version: tool.version };
  return JSON.parse(
    JSON.stringify(tool).replace(/\{(\w+)\}/g, (hole, name: string) => values[name] ?? hole),
  );
}

async function getTool(tool: Tool, say: Say): Promise<FoundTool> {
  const { name, version, atLeast } = tool;
  const wanted = atLeast ? `${atLeast} or newer` : version;
  const onPath = await fromPath(tool);
  if (onPath?.fits) return { path: onPath.path, version: onPath.version!, from: "PATH" };
  const path = join(cacheDir(), "tools", `${name}-${version}`, name);
  const note = join(dirname(path), "from");
  const [from = "cache", bytes] = (await readFile(note, "utf8").catch(() => "cache")).split("\n");
  // A cache of before does not tell how many bytes it should have.
  const isWhole = sizeOf(path) > 0 && (!bytes || sizeOf(path) === Number(bytes));
  if (isWhole) return { path, version, from };
  if (existsSync(path)) say(`  ${path} is not whole: getting it again`);

  const sources = [fromRelease, fromModule].map((source) => async () => {
    const from = await source(tool, path, say);
    await replaceFile(note, (temporary) => writeFile(temporary, `${from}\n${sizeOf(path)}`));
    return { path, version, from };
  });
  const found = onPath
    ? `${onPath.path} is ${onPath.version ?? "of no version that it tells"}, needed is ${wanted}`
    : `${name} ${wanted} is not there`;
  const fix =
    `put ${name} ${wanted} on PATH, or connect this machine (or install Go) and say \`make tools\``;
  return await firstOf(`Cannot get ${name} ${version}`, sources, fix, [`PATH: ${found}`]);
}

/** Downloads the official release to `path`; gives the address. Throws exit 3, or 9 for a file with another sum. */
async function fromRelease(tool: Tool, path: string, say: Say): Promise<string> {
  const platform = `${PLATFORM.os}-${PLATFORM.arch}`;
  if (!tool.download?.platforms.includes(platform)) {
    throw prerequisiteError(`No official release of ${tool.name} ${tool.version} for ${platform}`);
  }
  const { url, sha256Url, member } = tool.download;
  const sha256 = tool.sha256?.[platform] ?? await publishedSum(url, sha256Url);
  say(`  downloading ${tool.name} ${tool.version} from ${new URL(url).host}`);
  const file = member ? `${path}.tar.gz` : path;
  await download(url, file, { sha256 });
  if (member) {
    await replaceFile(path, async (temporary) => {
      await $({ quiet: true })`tar -xzOf ${file} ${member} > ${temporary}`;
      await chmod(temporary, 0o755);
    }).finally(() => rm(file));
  } else await chmod(path, 0o755);
  return url;
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The first program of that name on PATH, and whether its version fits; links of ours do not count. */
async function fromPath(tool: Tool) {
  const all = await which(tool.name, { all: true, nothrow: true }) ?? [];
  // Nor those of another checkout, or of the laboratory: two of them would lead to each other.
  const path = all.map((one) => resolve(one)).find((one) => !dirname(one).endsWith(LINKS));
  if (!path) return undefined;
  const { atLeast, versionArgs = ["--version"], versionPattern = "(\\d+\\.\\d+\\.\\d+)" } = tool;
  const run = $({ quiet: true, nothrow: true, timeout: "30s", stdio: ["ignore", "pipe", "pipe"] });
  const { stdout, stderr } = await run`exec ${path} ${versionArgs}`;
  const version = new RegExp(versionPattern).exec(stdout + stderr)?.[1];
  const fits = version && (atLeast ? !isOlder(version, atLeast) : version === tool.version);
  return { path, version, fits };
}

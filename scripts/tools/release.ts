// Where a program that is not installed comes from: its official release, or its Go module.
import { chmod, rm } from "node:fs/promises";
import { basename } from "node:path";
import { $ } from "zx";
import { replaceFile } from "../../lib/io/files.ts";
import { download, DownloadError, downloadText, sumOf } from "../../lib/render/download.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { ensureGo } from "./go.ts";
import { buildProgram, type GoModule, type SourceOptions } from "./go_build.ts";

/** One program: what fits, and where it can be had. Texts may hold {version} {name} {os} {arch}. */
export interface Tool {
  name: string;
  version: string;
  /** Oldest version that is taken from PATH; default: only the exact one is. */
  atLeast?: string;
  /** How it prints its version; default: --version and the first thing like 1.2.3. */
  versionArgs?: string[];
  versionPattern?: string;
  download?: {
    url: string;
    /** The project's published checksums, for platforms without a pinned one. */
    sha256Url: string;
    /** Path of the program in a .tar.gz. */
    member?: string;
    platforms: string[];
  };
  /** Pinned sums of the download, by platform. */
  sha256?: Record<string, string>;
  go: GoModule & {
    tags?: string[];
    values?: Record<string, string>;
    assets?: Record<string, string>;
  };
  /** Folder of the main package in the Go module. */
  package: string;
  /** What a build takes. */
  minutes: number;
}

/**
 * Downloads the program of the official release to `path`; gives the address.
 * @throws {DeployError} exit 3 when there is none or no answer, exit 9 when it is not the pinned file.
 */
export async function fromRelease(
  tool: Tool,
  path: string,
  { say, curl }: SourceOptions,
): Promise<string> {
  const platform = `${Deno.build.os}-${Deno.build.arch === "x86_64" ? "amd64" : "arm64"}`;
  const { url: template, sha256Url, member, platforms = [] } = tool.download ?? {};
  if (!template || !sha256Url || !platforms.includes(platform)) {
    throw new DeployError(`No official release of ${tool.name} ${tool.version} for ${platform}`, {
      exitCode: ExitCode.prerequisite,
    });
  }
  const url = filled(template, tool, platform);
  const file = basename(new URL(url).pathname);
  const sums = filled(sha256Url, tool, platform);
  const sha256 = tool.sha256?.[platform] ?? sumOf(file, await downloadText(sums, { curl }));
  if (!sha256) throw new DownloadError("refused", sums, [`names no sha256 of ${file}`]);

  say(`  downloading ${tool.name} ${tool.version} from ${new URL(url).host}`);
  if (!member) {
    await download(url, path, { sha256, curl });
    await chmod(path, 0o755);
    return url;
  }
  const archive = `${path}.tar.gz`;
  await download(url, archive, { sha256, curl });
  const inside = filled(member, tool, platform);
  await replaceFile(path, async (temporary) => {
    await $({ quiet: true })`tar -xzOf ${archive} ${inside} > ${temporary}`;
    await chmod(temporary, 0o755);
  });
  await rm(archive);
  return url;
}

function filled(template: string, { name, version }: Tool, platform: string): string {
  const [os, arch] = platform.split("-");
  const values: Record<string, string> = { name, version, os: os!, arch: arch! };
  return template.replace(/\{(\w+)\}/g, (_, key) => values[key]!);
}

/** Builds the program from its Go module to `path`; gives the module's name. Exit 3 if it fails. */
export async function fromModule(
  tool: Tool,
  path: string,
  { say, curl }: SourceOptions,
): Promise<string> {
  await ensureGo({ say, curl });
  const { module, staging, tags, assets, values = {} } = tool.go;
  const version = filled(tool.go.version, tool, "");
  const entries = Object.entries(values).map(([key, text]) => [key, filled(text, tool, "")]);
  const program = {
    name: tool.name,
    module,
    version,
    staging,
    tags,
    assets,
    package: tool.package,
    minutes: tool.minutes,
    values: Object.fromEntries(entries),
  };
  await buildProgram(program, path, say);
  return `Go module ${module}@${version}`;
}

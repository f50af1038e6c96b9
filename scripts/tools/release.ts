// Programs that are not installed: what fits, and their official releases.
import { chmod, rm } from "node:fs/promises";
import { basename } from "node:path";
import { $, ProcessOutput } from "zx";
import { replaceFile } from "../../lib/io/files.ts";
import type { Say } from "../../lib/render/bundle.ts";
import {
  download,
  DownloadError,
  downloadText,
  remedyOf,
  sumOf,
} from "../../lib/render/download.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { PLATFORM } from "../../lib/core/version.ts";

/** One program: what fits, and where it can be had. Texts may hold {version} {name} {os} {arch}. */
export interface Tool {
  name: string;
  version: string;
  /** Oldest version that is taken from PATH; default: only the exact one is. */
  atLeast?: string;
  /** How it prints its version; default: --version and the first thing like 1.2.3. */
  versionArgs?: string[];
  versionPattern?: string;
  /** `sha256Url`: the project's published checksums, for platforms without a pinned one. */
  download?: { url: string; sha256Url: string; member?: string; platforms: string[] };
  sha256?: Record<string, string>;
  go: {
    module: string;
    version: string;
    /** Version of the modules its go.mod replaces by folders of its own repository; default: its own. */
    staging?: string;
    tags?: string[];
    /** Strings that the linker sets (`-X name=value`), such as the version. */
    values?: Record<string, string>;
    /** Texts of files that the module embeds and only its own release build makes, by path in it. */
    assets?: Record<string, string>;
  };
  /** Folder of the main package in the Go module; "" for the module's own. */
  package: string;
  /** What a build from nothing takes on two cores. */
  minutes: number;
}

/** What the first source gives that has it. Throws exit 3 with `reasons` and what each said; 9 for a wrong file. */
export async function firstOf<T>(
  what: string,
  sources: (() => Promise<T>)[],
  fix: string,
  reasons: string[] = [],
): Promise<T> {
  const said = [...reasons];
  for (const source of sources) {
    try {
      return await source();
    } catch (error) {
      if (error instanceof ProcessOutput) { // of tar, cp or pip
        said.push(error.stderr.trim().split("\n").slice(-3).join("\n"));
        continue;
      }
      const isRefused = error instanceof DownloadError && error.reason === "refused";
      const isAway = error instanceof DeployError && error.exitCode === ExitCode.prerequisite;
      // A file that is not the pinned one is no reason to look elsewhere, but to stop.
      if (!isRefused && !isAway) throw error;
      said.push([error.message, ...error.where].join("\n"));
      if (error.fix) said.push(`  ${error.fix}`);
    }
  }
  const exitCode = ExitCode.prerequisite;
  throw new DeployError(what, { exitCode, where: said, fix: remedyOf(said.join("\n")) ?? fix });
}

/** Downloads the official release to `path`; gives the address. Throws exit 3, or 9 for a file with another sum. */
export async function fromRelease(tool: Tool, path: string, say: Say): Promise<string> {
  const platform = `${PLATFORM.os}-${PLATFORM.arch}`;
  if (!tool.download?.platforms.includes(platform)) {
    throw new DeployError(`No official release of ${tool.name} ${tool.version} for ${platform}`, {
      exitCode: ExitCode.prerequisite,
    });
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

/** What the checksums at `sums` say of a file. Throws as {@link fromRelease} does. */
export async function publishedSum(url: string, sums: string): Promise<string> {
  const file = basename(new URL(url).pathname);
  const sum = sumOf(file, await downloadText(sums));
  if (sum) return sum;
  throw new DownloadError("refused", sums, [`names no sha256 of ${file}`]);
}

// Programs built from published Go modules, with the dependencies their authors chose.
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { cacheDir, replaceFile } from "../../lib/io/files.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";

/** A published module; paths of its packages are relative to it. */
export interface GoModule {
  module: string;
  version: string;
  /** Version of the modules its go.mod replaces by folders of its own repository; default: its own. */
  staging?: string;
}

export interface GoProgram extends GoModule {
  /** Name of the program, for messages. */
  name: string;
  /** Folder of the main package inside the module; "" for the module's own. */
  package: string;
  tags?: string[];
  /** Strings that the linker sets (`-X name=value`), such as the version. */
  values?: Record<string, string>;
  /** Texts of files that the module embeds and only its own release build makes, by path in it. */
  assets?: Record<string, string>;
  /** What a build from nothing takes on two cores. */
  minutes: number;
}

/** Tells of work that takes long, one line a call. */
export type Say = (line: string) => void;

/** What a source may use: the network, and a line for work that takes long. */
export interface SourceOptions {
  say: Say;
  /** Another program than the curl on PATH. */
  curl?: string;
}

/**
 * Builds a program to `path` (temp then rename). A build cache of the user's own Go is used.
 * @throws {DeployError} exit 3 without a fitting Go or module proxy, or when the build fails: with
 * the last lines.
 */
export async function buildProgram(program: GoProgram, path: string, say: Say): Promise<void> {
  const started = performance.now();
  const about = program.minutes === 1 ? "a minute" : `${program.minutes} minutes`;
  say(`  building ${program.name} from ${program.module}@${program.version}: about ${about}`);
  const heartbeat = setInterval(() => {
    say(`  still building ${program.name}: ${seconds(started)} of about ${about}`);
  }, 30_000);
  try {
    const folder = await moduleFolder(program);
    const tags = program.tags ? [`-tags=${program.tags.join(",")}`] : [];
    const values = Object.entries(program.values ?? {}).map(([name, value]) =>
      `-X ${name}=${value}`
    );
    const overlay = await overlayOf(program, folder);
    const flags = ["-trimpath", ...overlay, ...tags, "-ldflags", ["-s", "-w", ...values].join(" ")];
    const main = [program.module, program.package].filter(Boolean).join("/");
    await replaceFile(path, async (temporary) => {
      await go(["build", ...flags, "-o", temporary, main], folder, `Cannot build ${program.name}`);
    });
  } finally {
    clearInterval(heartbeat);
  }
  const megabytes = Math.round((await stat(path)).size / 1e6);
  say(`  built ${program.name}: ${seconds(started)}, ${megabytes} MB`);
}

/** The flag that puts a program's assets where its module lacks them. */
async function overlayOf({ module, assets = {} }: GoProgram, folder: string): Promise<string[]> {
  const names = Object.keys(assets);
  if (names.length === 0) return [];
  const what = `Cannot find the folder of ${module}`;
  const home = (await go(["list", "-m", "-f", "{{.Dir}}", module], folder, what)).trim();
  const file = (name: string) => join(folder, name.replaceAll("/", "_"));
  for (const [name, text] of Object.entries(assets)) await writeFile(file(name), text);
  const overlay = file("overlay.json");
  const Replace = Object.fromEntries(names.map((name) => [join(home, name), file(name)]));
  await writeFile(overlay, JSON.stringify({ Replace }));
  return [`-overlay=${overlay}`];
}

/**
 * A folder whose go.mod requires the module as its own authors build it: their requirements, and
 * released versions instead of the folders of their repository. Go commands about the module's
 * packages run there.
 */
export async function moduleFolder(wanted: GoModule): Promise<string> {
  const { module, version } = wanted;
  const what = `Cannot get Go module ${module}@${version}`;
  const answer = await go(["mod", "download", "-json", `${module}@${version}`], "/", what);
  const { GoMod } = JSON.parse(answer) as { GoMod: string };
  const text = await readFile(GoMod, "utf8");
  await checkGo(text, what);
  const folder = join(cacheDir(), "go", `${module.replaceAll("/", "_")}@${version}`);
  // Always rewritten: Go edits it while it builds. go.sum stays, it only grows.
  await replaceFile(join(folder, "go.mod"), (temporary) => {
    return writeFile(temporary, requirements(text, wanted));
  });
  return folder;
}

/** go.mod of a module that requires `module`, from the module's own go.mod. Pure. */
export function requirements(upstream: string, { module, version, staging }: GoModule): string {
  return upstream
    .replace(/^module .*$/m, "module build")
    // A newer patch release of Go is a wish; `go` lines are the need.
    .replace(/^toolchain .*$/gm, "")
    .replace(/^.*FORBIDDEN.*$/gm, "")
    .replace(
      /([\w./-]+)(?: v[\w.+-]+)? => \.{1,2}\/\S*/g,
      (_, path) => `${path} => ${path} ${staging ?? version}`,
    ) + `\nrequire ${module} ${version}\n`;
}

/** What Go commands about {@link moduleFolder} need in their environment. */
export const goEnvironment = {
  CGO_ENABLED: "0",
  // -buildvcs: the folder may lie inside somebody's repository.
  GOFLAGS: "-mod=mod -buildvcs=false",
  GOWORK: "off",
  LC_ALL: "C",
};

/** Runs go in `folder` and gives its stdout; `what` opens the error. */
async function go(args: string[], folder: string, what: string): Promise<string> {
  const result = await $({
    quiet: true,
    nothrow: true,
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...goEnvironment },
  })`exec go ${args}`;
  if (result.exitCode === 0) return result.stdout;
  // "mod download -json" writes its error to stdout.
  const told = /"Error": (".*")/.exec(result.stdout)?.[1];
  const words = told ? JSON.parse(told) as string : result.stderr;
  const lines = words.trim().split("\n").slice(-8);
  throw new DeployError(what, {
    exitCode: ExitCode.prerequisite,
    where: lines,
    fix: /dial tcp|no such host|connection refused|timeout|lookup/.test(words)
      ? "let this machine reach a Go module proxy (GOPROXY)"
      : "see Go's words above; `go clean -modcache` helps when a module in its cache is broken",
  });
}

/** Says which Go is needed before a long build says it in other words. */
async function checkGo(upstream: string, what: string): Promise<void> {
  const needed = /^go (\S+)$/m.exec(upstream)?.[1] ?? "1";
  const answer = await go(["env", "GOVERSION", "GOTOOLCHAIN"], "/", what);
  const [version, toolchain] = answer.trim().split("\n");
  const own = version!.replace(/^go/, "").split(" ")[0]!;
  if (toolchain !== "local" || !isOlder(own, needed)) return;
  throw new DeployError(`${what}: Go ${needed} or newer is needed, this is ${own}`, {
    exitCode: ExitCode.prerequisite,
    fix: "install it from https://go.dev/dl, or allow Go to fetch it: GOTOOLCHAIN=auto",
  });
}

/** Whether version `own` comes before `needed`, number by number. */
export function isOlder(own: string, needed: string): boolean {
  const [ours, theirs] = [own, needed].map((text) => (text.match(/\d+/g) ?? []).map(Number));
  for (const [index, number] of theirs!.entries()) {
    const difference = (ours![index] ?? 0) - number;
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function seconds(started: number): string {
  return `${Math.round((performance.now() - started) / 1000)} s`;
}

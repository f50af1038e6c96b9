// Definitions generated from the Go types they are published from, when their files cannot be had.
import { createHash } from "node:crypto";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { temporaryFolder } from "../../lib/io/files.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { goEnvironment, type GoModule, moduleFolder, type Say } from "./go_build.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { ensureTools } from "./tool.ts";
import { parseObjects } from "../../lib/render/yaml.ts";

/** How a set of objects is made from a Go module. */
export interface Generator extends GoModule {
  /** Name of the program, as in scripts/tools.json. */
  tool: string;
  /** Packages inside the module. */
  packages: string[];
  /** What the program makes of them. */
  options: string[];
  /** Added to every object: what the release adds after generating. */
  annotations: Record<string, string>;
}

/** Names the result of a recipe, so that it can be kept. */
export function recipeHash(generator: Generator): string {
  return createHash("sha256").update(JSON.stringify(generator)).digest("hex");
}

/**
 * Runs the generator; needs Go and a module proxy.
 * @throws {DeployError} exit 3 with the last lines of what failed.
 */
export async function generate(generator: Generator, say: Say): Promise<Manifest[]> {
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

// Definitions generated from the Go types they are published from, when their files cannot be had.
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "../../lib/io/files.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { ensureGo } from "./go.ts";
import { moduleFolder, runGo } from "./go_build.ts";
import type { Generator, Say } from "../../lib/render/bundle.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { ensureTools } from "./tool.ts";
import { parseObjects } from "../../lib/render/yaml.ts";

/**
 * Runs the generator; needs Go and a module proxy.
 * @throws {DeployError} exit 3 with the last lines of what failed.
 */
export async function generate(generator: Generator, say: Say): Promise<Manifest[]> {
  await ensureGo(say);
  const { tool, module, version, packages, options, annotations } = generator;
  const tools = await ensureTools([tool], { say });
  const folder = await moduleFolder(generator);
  const output = await temporaryFolder("tmc-generate-");
  const what = `Cannot generate from ${module}@${version} with ${tool}`;
  try {
    const paths = packages.map((name) => `paths=${module}/${name}`);
    await runGo(tools[tool]!, [...options, ...paths, `output:dir=${output}`], folder, what);
    const objects: Manifest[] = [];
    for (const file of (await readdir(output)).sort()) {
      objects.push(...parseObjects(await readFile(join(output, file), "utf8"), file));
    }
    if (objects.length > 0) return objects.map((object) => annotated(object, annotations));
    throw new DeployError(what, {
      exitCode: ExitCode.prerequisite,
      where: "no file came out",
    });
  } finally {
    await rm(output, { recursive: true });
  }
}

function annotated(object: Manifest, annotations: Record<string, string>): Manifest {
  const { metadata } = object;
  const all = { ...metadata.annotations, ...annotations };
  return { ...object, metadata: { ...metadata, annotations: all } };
}

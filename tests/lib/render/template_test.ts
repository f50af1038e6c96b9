import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { builtOnce } from "../../../lib/render/template.ts";
import { configMap } from "../../../lib/core/object.ts";

const folder = await mkdtemp(join(tmpdir(), "built-"));

/** A root with one file, new for each test: what is below one is looked at once per process. */
async function root(name: string, text: string) {
  const path = await mkdtemp(join(folder, `${name}-`));
  await writeFile(join(path, "kustomization.yaml"), text);
  return path;
}

Deno.test("builtOnce() builds a folder once, and keeps folders apart", async () => {
  const path = await root("once", "resources: []\n");
  let builds = 0;
  const build = (of: string) =>
    builtOnce(path, join(path, of), () => Promise.resolve([configMap(of, `${++builds}`, {})]));
  const first = await build("a");
  assert.deepEqual(await build("a"), first);
  assert.notDeepEqual(await build("b"), first);
  assert.equal(builds, 2);
});

Deno.test("builtOnce() builds again when a file below the root has changed", async () => {
  const path = await root("changed", "resources: []\n");
  const script = `import { builtOnce } from ${
    JSON.stringify(import.meta.resolve("../../../lib/render/template.ts"))
  };
    const [path] = Deno.args;
    await builtOnce(path, path, () => Promise.resolve(console.log("built") ?? []));`;
  const file = join(folder, "script.ts");
  await writeFile(file, script);
  const config = new URL("../../../deno.json", import.meta.url).pathname;
  const run = async () => {
    const args = ["run", "--allow-all", `--config=${config}`, file, path];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return text(stdout).trim() || text(stderr).replace(/^Check.*\n/gm, "").trim();
  };
  assert.deepEqual([await run(), await run()], ["built", ""]);
  await writeFile(join(path, "kustomization.yaml"), "resources: [a.yaml]\n");
  assert.equal(await run(), "built");
});

Deno.test("A18: builtOnce() goes on where nothing can be kept", async () => {
  const project = await root("full", "");
  await writeFile(join(project, ".tools"), "no folder");
  const path = join(project, "manifests");
  await mkdir(path);
  assert.deepEqual(await builtOnce(path, path, () => Promise.resolve([])), []);
});

Deno.test("X4: builtOnce() keeps what it built beside the manifests, not in a cache that others may fill", async () => {
  const path = await root("beside", "resources: []\n");
  await builtOnce(path, path, () => Promise.resolve([]));
  assert.ok(existsSync(join(folder, ".tools/kustomize", basename(path))));
});

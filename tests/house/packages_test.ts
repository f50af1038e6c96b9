// Which npm packages a command fetches: Deno takes all of the lock that lies beside the nearest deno.json. That of
// scripts/ has what a deploy needs; the one at the top has what tests need besides.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const root = new URL("../..", import.meta.url).pathname;

async function json(path: string) {
  return JSON.parse(await readFile(join(root, path), "utf8"));
}

/** Packages that modules of a folder import. */
async function imported(folder: string): Promise<string[]> {
  const files = await readdir(join(root, folder), { recursive: true });
  const texts = await Promise.all(
    files.filter((file) => file.endsWith(".ts"))
      .map((file) => readFile(join(root, folder, file), "utf8")),
  );
  return texts.flatMap((text) =>
    [...text.matchAll(/^(?:import|export|\}) .*?from "([^"]+)";$/gm)].map((
      [, name],
    ) => name!)
  ).filter((name) => !/^(\.|node:)/.test(name))
    .map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)![0]);
}

Deno.test("X9: a deploy fetches the packages that lib and scripts import, in the versions of the tests", async () => {
  const [all, deploy] = await Promise.all([
    json("deno.json"),
    json("scripts/deno.json"),
  ]);
  const needed = [
    ...new Set([...await imported("lib"), ...await imported("scripts")]),
  ].sort();
  assert.deepEqual(Object.keys(deploy.imports).sort(), needed);
  for (const name of needed) {
    assert.equal(deploy.imports[name], all.imports[name], name);
  }

  const [whole, part] = await Promise.all([
    json("deno.lock"),
    json("scripts/deno.lock"),
  ]);
  for (const [name, entry] of Object.entries(part.npm)) {
    assert.deepEqual(entry, whole.npm[name], name);
  }
  assert.equal(Object.keys(part.npm).length, 9);
});

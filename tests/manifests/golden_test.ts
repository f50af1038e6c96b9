// What each cluster gets, as plain sorted YAML: a diff here is the review of a manifest change.
// `make golden` rewrites the files.
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const folder = new URL("../golden", import.meta.url).pathname;
const rendered = await renderedFleet();

function asYaml(objects: Manifest[]): string {
  return [...objects]
    .sort((a, b) => idOf(a) < idOf(b) ? -1 : 1)
    .map((object) =>
      stringify(object, { sortMapEntries: true, lineWidth: 0, aliasDuplicateObjects: false })
    )
    .join("---\n");
}

const wanted = new Map(
  rendered.map(({ cluster, step, objects }) => [`${cluster.id}/${step}.yaml`, asYaml(objects)]),
);

if (Deno.env.get("UPDATE_GOLDEN")) {
  await rm(folder, { recursive: true, force: true });
  for (const [path, text] of wanted) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

for (const [path, text] of wanted) {
  Deno.test(`render() gives golden/${path}`, async () => {
    const golden = await readFile(join(folder, path), "utf8").catch(() => "");
    assert.equal(text, golden, `${path} differs: look at the diff, then make golden`);
  });
}

Deno.test("golden/ holds nothing that is no longer rendered", async () => {
  const files = (await readdir(folder, { recursive: true })).filter((name) =>
    name.endsWith(".yaml")
  );
  assert.deepEqual(files.sort(), [...wanted.keys()].sort());
});

Deno.test("render() is the same whatever the order and number of clusters", async () => {
  for (const { cluster, step, objects } of await renderedFleet()) {
    assert.equal(asYaml(objects), wanted.get(`${cluster.id}/${step}.yaml`));
  }
});

// What each cluster gets, as plain sorted YAML: a diff here is the review of a manifest change.
// `make golden` rewrites the files.
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { $ } from "zx";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { projectPath } from "../../lib/core/cluster.ts";
import { toYaml } from "../../lib/render/yaml.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const folder = new URL("../golden", import.meta.url).pathname;
const rendered = await renderedFleet();

function asYaml(objects: Manifest[]): string {
  return [...objects]
    .sort((a, b) => idOf(a) < idOf(b) ? -1 : 1)
    .map((object) =>
      toYaml(object, { sortMapEntries: true, lineWidth: 0, aliasDuplicateObjects: false })
    )
    .join("---\n");
}

/** A second cluster of a role is the first but for its facts: it has no files of its own. */
const [KEPT, SAME] = ["197", "198"];

const all = new Map(
  rendered.map(({ cluster, step, objects }) => [`${cluster.id}/${step}.yaml`, asYaml(objects)]),
);
const wanted = new Map([...all].filter(([path]) => !path.startsWith(`${SAME}/`)));

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

Deno.test("198 is 197 but for the facts of its env file", async () => {
  const fleet = await fixtureFleet();
  const [kept, same] = [KEPT, SAME].map((id) => fleet.find((cluster) => cluster.id === id)!);
  // The longest first: the id is part of the others.
  const facts = ["CLUSTER_NAME", "DOMAIN", "KUBE_CONTEXT", "NODE_IP", "S3_BASE_PATH"];
  for (const [path, text] of wanted) {
    if (!path.startsWith(`${KEPT}/`)) continue;
    const other = facts.reduce(
      (all, name) => all.replaceAll(String(same!.vars[name]), String(kept!.vars[name])),
      all.get(path.replace(KEPT!, SAME!)) ?? "",
    );
    // It changes with what it sums up.
    const unsummed = (text: string) => text.replace(/config-checksum: \w+/g, "config-checksum: *");
    assert.equal(unsummed(other), unsummed(text), path);
  }
});

Deno.test("render() is the same whatever the order and number of clusters", async () => {
  for (const { cluster, step, objects } of await renderedFleet()) {
    assert.equal(asYaml(objects), all.get(`${cluster.id}/${step}.yaml`));
  }
});

/** The documents of a text as a reader of YAML 1.1 or 1.2 has them. */
function readAs(version: "1.1" | "1.2", text: string): unknown[] {
  return [parseAllDocuments(text, { version, logLevel: "error" })].flat()
    .map((document) => document.toJS());
}

/** Files in files of objects: the YAML that other programs read, by name. */
function filesIn({ kind, metadata, data = {} }: Manifest): [name: string, text: string][] {
  return Object.entries<string>(data).filter(([name]) => /\.ya?ml$/.test(name))
    .map(([name, text]) => {
      const plain = kind === "Secret"
        ? new TextDecoder().decode(Uint8Array.fromBase64(text))
        : text;
      return [`${kind}/${metadata.name} ${name}`, plain];
    });
}

/** Fluent Bit takes every word as text, whatever a YAML reader would say of it. */
const TEXT_ONLY = /fluent-bit\.yaml$/;

for (const [path, text] of wanted) {
  Deno.test(`P16: golden/${path} says the same to YAML 1.1, to 1.2 and to kubectl`, async () => {
    const objects = readAs("1.2", text) as Manifest[];
    assert.deepEqual(readAs("1.1", text), objects);
    for (const [name, file] of objects.flatMap(filesIn)) {
      if (!TEXT_ONLY.test(name)) assert.deepEqual(readAs("1.1", file), readAs("1.2", file), name);
    }
    const words = ["annotate", "--local", "--filename", "-", "--overwrite", "--output", "json"];
    const { stdout } = await $({ quiet: true, input: text })`kubectl ${words} read-by=kubectl`;
    const read: Manifest[] = JSON.parse(`[${stdout.trim().replaceAll(/^}\n{/gm, "},\n{")}]`);
    const marked = objects.map(({ metadata, ...rest }) => {
      const annotations = { ...metadata.annotations, "read-by": "kubectl" };
      return { ...rest, metadata: { ...metadata, annotations } };
    });
    assert.deepEqual(read, marked);
  });
}

Deno.test("P16: every manifest says the same to YAML 1.1 and 1.2", async () => {
  const root = projectPath("manifests");
  const files = (await readdir(root, { recursive: true })).filter((name) => /\.ya?ml$/.test(name));
  assert.ok(files.length > 50);
  for (const name of files) {
    const text = await readFile(join(root, name), "utf8");
    if (TEXT_ONLY.test(name)) continue;
    assert.deepEqual(readAs("1.1", text), readAs("1.2", text), name);
  }
});

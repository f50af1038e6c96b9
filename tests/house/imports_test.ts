// The rooms of the house: who may import whom.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

const root = new URL("../..", import.meta.url).pathname;

async function imports(folder: string): Promise<Map<string, string[]>> {
  const files = (await readdir(join(root, folder))).filter((name) => name.endsWith(".ts"));
  return new Map(
    await Promise.all(files.map(async (name) => {
      const text = await readFile(join(root, folder, name), "utf8");
      const targets = [...text.matchAll(/from "(\.[^"]+)"/g)].map(([, path]) =>
        relative(root, join(root, dirname(join(folder, name)), path!))
      );
      return [`${folder}/${name}`, targets] as [string, string[]];
    })),
  );
}

const lib = await imports("lib");
const scripts = await imports("scripts");

Deno.test("lib/ imports nothing of scripts/ or tests/", () => {
  const outside = [...lib].flatMap(([file, targets]) =>
    targets.filter((target) => /^(scripts|tests)\//.test(target) && !target.endsWith(".json"))
      .map((target) => `${file} -> ${target}`)
  );
  assert.deepEqual(outside, []);
});

Deno.test("scripts/ and lib/ import nothing of tests/", () => {
  const outside = [...scripts].filter(([, targets]) =>
    targets.some((target) => target.startsWith("tests/"))
  );
  assert.deepEqual(outside, []);
});

Deno.test("lib/ has no import cycles", () => {
  const cycles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) return void cycles.push([...path, file].join(" -> "));
    for (const target of lib.get(file) ?? []) visit(target, [...path, file]);
  };
  for (const file of lib.keys()) visit(file, []);
  assert.deepEqual(cycles, []);
});

Deno.test("lib/ knows no component and no cluster", async () => {
  const components =
    /\b(thanos-(query|store|compactor|ruler|sidecar)|alertmanager|grafana|fluent|ingress-nginx|mkube|19[678])\b/;
  const found: string[] = [];
  for (const file of lib.keys()) {
    const text = await readFile(join(root, file), "utf8");
    for (const [index, line] of text.split("\n").entries()) {
      const code = line.replace(/^\s*(\/\/|\*|\/\*\*).*$/, "").replace(/\s\/\/ .*$/, "");
      if (components.test(code)) found.push(`${file}:${index + 1}: ${line.trim()}`);
    }
  }
  assert.deepEqual(found, []);
});

Deno.test("only lib/kube/kubectl.ts starts kubectl; only lib/io/report.ts writes to the terminal", async () => {
  const found: string[] = [];
  for (const file of [...lib.keys(), ...scripts.keys()]) {
    const text = await readFile(join(root, file), "utf8");
    if (
      file !== "lib/kube/kubectl.ts" &&
      /\$(\([^`]*\))?`\s*(exec )?kubectl|(Command|spawn)\("kubectl"/.test(text)
    ) {
      found.push(file);
    }
    if (file !== "lib/io/report.ts" && /console\.|std(out|err)\.write/.test(text)) found.push(file);
  }
  assert.deepEqual(found, []);
});

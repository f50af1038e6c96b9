// What a plan names beside objects is what the deploy puts: a step puts each of its resources, and nothing else.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { STEPS } from "../../scripts/steps.ts";

for (const { name } of STEPS) {
  Deno.test(`P8: ${name} puts what its plan names`, async () => {
    const source = await readFile(`scripts/${name}.ts`, "utf8");
    const named = /^ {2}resources: \[(.*)\],$/m.exec(source)?.[1]?.split(", ") ?? [];
    const put = [...source.matchAll(/await put\((\w+)\)/g)].map(([, resource]) => resource!);
    assert.deepEqual([...new Set(put)].sort(), named.sort());
  });
}

// The published schemas of what programs read (docs/schema).
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import { projectPath } from "../../lib/core/cluster.ts";

/** The judge of docs/schema/NAME.json. */
export async function schemaOf(name: string) {
  const text = await readFile(projectPath(`docs/schema/${name}.json`), "utf8");
  return new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(JSON.parse(text));
}

/** The document in a JSON text, which must be as docs/schema/NAME.json says. */
// deno-lint-ignore no-explicit-any
export async function refuseUndescribed(name: string, json: string): Promise<any> {
  const found = JSON.parse(json), isValid = await schemaOf(name);
  assert.ok(isValid(found), JSON.stringify(isValid.errors, null, 2));
  return found;
}

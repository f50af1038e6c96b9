// The published schemas of what programs read (docs/schema).
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import { projectPath } from "../../lib/core/cluster.ts";

/** The judge of docs/schema/NAME.json, which may refer to `parts` beside it. */
export async function schemaOf(name: string, { parts = [], strictTypes = true } = {} as {
  parts?: string[];
  strictTypes?: boolean;
}) {
  const read = async (name: string) =>
    JSON.parse(await readFile(projectPath(`docs/schema/${name}.json`), "utf8"));
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes });
  for (const part of parts) ajv.addSchema(await read(part), `${part}.json`);
  return ajv.compile(await read(name));
}

/** The document in a JSON text, which must be as docs/schema/NAME.json says. */
// deno-lint-ignore no-explicit-any
export async function refuseUndescribed(name: string, json: string): Promise<any> {
  const found = JSON.parse(json), isValid = await schemaOf(name);
  assert.ok(isValid(found), JSON.stringify(isValid.errors, null, 2));
  return found;
}

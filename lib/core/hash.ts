// One hash for all that means the same.
import { createHash, createHmac } from "node:crypto";
import { isFields } from "./object.ts";

/** Hash of an object, the same for any order of its keys; short enough for a label. */
export function hashOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sortedKeys)).digest("hex").slice(0, 32);
}

/** Hash of a text that only who has the key can make, or guess the text from. */
export function keyedHash(key: string, text: string): string {
  return createHmac("sha256", key).update(text).digest("hex").slice(0, 32);
}

function sortedKeys(_: string, value: unknown): unknown {
  if (!isFields(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]]));
}

// One hash for all that means the same.
import { createHash, createHmac, scryptSync } from "node:crypto";
import { isFields } from "./object.ts";

/** Hash of an object, the same for any order of its keys; short enough for a label. */
export function hashOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sortedKeys)).digest("hex").slice(0, 32);
}

/** Hash of a text that only who has the key can make, or guess the text from. */
export function keyedHash(key: string, text: string): string {
  return createHmac("sha256", key).update(text).digest("hex").slice(0, 32);
}

/** Hash of a secret that stands where role `view` reads, in this `place`: each guess takes 1 MiB and some 5 ms. */
export function sealedHash(secret: string, place: string): string {
  // A key of other secrets would restart pods when those are rotated; one of the cluster's is not known before.
  const seal = () => scryptSync(secret, place, 16, { N: 1024 }).toString("hex");
  return sealed.getOrInsertComputed(`${place}\n${secret}`, seal);
}

// The clusters of a fleet have most of their secrets in common.
const sealed = new Map<string, string>();

function sortedKeys(_: string, value: unknown): unknown {
  if (!isFields(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]]));
}

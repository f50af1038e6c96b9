// Whether a live object is already what we want, told from what a list call shows: nothing need be sent.
import { hashOf } from "../core/hash.ts";
import { isDefinition, isFields, type Manifest } from "../core/object.ts";
import { amountOf } from "../core/quantity.ts";

/** Label with the hash of the desired object as it was last applied. */
export const HASH_LABEL = "deploy.miribit.lab/hash";

/** The object with its own hash as a label; whatever changes in it, also what it no longer has, shows there. */
export function withHash(object: Manifest): Manifest {
  const { metadata } = object;
  const labels = { ...metadata.labels, [HASH_LABEL]: hashOf(object) };
  return { ...object, metadata: { ...metadata, labels } };
}

/**
 * Whether the live object was last applied as `wanted` (which is {@link withHash}) and still has every
 * field of it. Of a definition, whose content is not listed, the hash alone counts. A "no" may be
 * mistaken, for the API server writes some values in another way: then an apply changes nothing.
 */
export function isUpToDate(live: Manifest | undefined, wanted: Manifest): boolean {
  if (live?.metadata.labels?.[HASH_LABEL] !== wanted.metadata.labels?.[HASH_LABEL]) return false;
  return isDefinition(wanted) || contains(live, wanted);
}

/**
 * Whether a live value has all of the wanted one, though the API server may write it in another way; fields
 * beside them are other people's.
 */
export function contains(live: unknown, wanted: unknown): boolean {
  if (live === undefined || live === null) return isEmpty(wanted);
  if (Array.isArray(wanted)) {
    return Array.isArray(live) && live.length === wanted.length &&
      wanted.every((item, index) => contains(live[index], item));
  }
  if (isFields(wanted)) {
    return isFields(live) &&
      Object.entries(wanted).every(([key, value]) => contains(live[key], value));
  }
  if (live === wanted || String(live) === String(wanted)) return true;
  return amountOf(String(live)) === amountOf(String(wanted));
}

/** What the API server leaves out when it stores an object. */
function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (isFields(value)) return Object.values(value).every(isEmpty);
  return value === undefined || value === null || value === "" || value === 0 || value === false;
}

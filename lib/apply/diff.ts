// Whether a live object is as wanted: the one place where that is decided. It goes by who has which field, so it
// knows no defaults, and what the server or a controller adds is nobody's drift.
import { astray, isScaled } from "./fields.ts";
import { type ForeignField, foreignFields, othersFields, ownFields } from "./managers.ts";
import { hashOf } from "../core/hash.ts";
import { isDefinition, isOurs, type Manifest } from "../core/object.ts";

/** Label with the hash of the desired object as it was last applied. */
export const HASH_LABEL = "deploy.miribit.lab/hash";

/**
 * The object, which changes no more, with its own hash as a label; whatever is another in it, also what it no longer
 * has, shows there.
 */
export function withHash(object: Manifest): Manifest {
  return hashed.getOrInsertComputed(object, () => {
    const { metadata } = object;
    const labels = { ...metadata.labels, [HASH_LABEL]: hashOf(object) };
    return { ...object, metadata: { ...metadata, labels } };
  });
}

// Asked for several times on each cluster; definitions are megabytes, and the same for all.
const hashed = new WeakMap<Manifest, Manifest>();

/**
 * `missing`: it is not there; `deleting`: it is on its way out; `stale`: the wanted object is another one than
 * was last applied; `drifted`: somebody has changed it since; `current`: as wanted.
 */
export type State = "current" | "stale" | "drifted" | "missing" | "deleting";

/** What is to be said of one object. */
export interface Delta {
  state: State;
  /** Paths in which our own fields are not as wanted, with the reason. */
  astray: string[];
  /** What others have written beside us. */
  others: ForeignField[];
}

/** Whether somebody has deleted a live object, and something holds it. */
export function isGoing(object: Manifest | undefined): boolean {
  return object?.metadata.deletionTimestamp !== undefined;
}

/**
 * Judges a live object, which must be listed with its managers, against `wanted` ({@link withHash}). Of a
 * definition, whose content is not listed, hash and label alone decide. What a program that nobody knows has
 * written beside us is told, and is no reason to send anything; `takes` says whose fields are.
 */
export function judge(
  live: Manifest | undefined,
  wanted: Manifest,
  takes?: (manager: string) => boolean,
): Delta {
  const told = (state: State, astray: string[] = [], others: ForeignField[] = []) => (
    { state, astray, others }
  );
  if (!live) return told("missing");
  if (isGoing(live)) return told("deleting");
  const isStale = live.metadata.labels?.[HASH_LABEL] !== wanted.metadata.labels?.[HASH_LABEL];
  const others = foreignFields(live, wanted, takes);
  if (isDefinition(wanted)) {
    return told(isStale || (isOurs(wanted) && !isOurs(live)) ? "stale" : "current", [], others);
  }
  const lines = astray(wanted, live, ownFields(live), othersFields(live));
  const found = isStale ? lines.filter(isScaled) : lines;
  const isTouched = found.length > 0 || others.some(({ isTaken }) => isTaken);
  return told(isStale ? "stale" : isTouched ? "drifted" : "current", found, others);
}

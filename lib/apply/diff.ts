// Whether a live object is as wanted: the one place where that is decided. It goes by who has which field, so it
// knows no defaults, and what the server or a controller adds is nobody's drift.
import { hashOf } from "../core/hash.ts";
import { isDefinition, isFields, isObject, isOurs, type Manifest } from "../core/object.ts";
import { amountOf } from "../core/quantity.ts";
import { foreignFields, isPerson, othersFields, ownFields, pathAt, valueAt } from "./managers.ts";
import type { Fields, ForeignField } from "./managers.ts";

/** Label with the hash of the desired object as it was last applied. */
export const HASH_LABEL = "deploy.miribit.lab/hash";

/** The object, which changes no more, with its own hash as a label: that tells also what it no longer has. */
export function withHash(object: Manifest): Manifest {
  return hashed.getOrInsertComputed(object, () => {
    const { metadata } = object;
    const labels = { ...metadata.labels, [HASH_LABEL]: hashOf(object) };
    return { ...object, metadata: { ...metadata, labels } };
  });
}

// Asked for several times on each cluster; definitions are megabytes, and the same for all.
const hashed = new WeakMap<Manifest, Manifest>();

/** `deleting`: on its way out; `stale`: another object is wanted than was applied; `drifted`: changed since then. */
export type State = "current" | "stale" | "drifted" | "missing" | "deleting";

export interface Delta {
  state: State;
  astray: string[]; // paths in which our own fields are not as wanted, with the reason
  others: ForeignField[];
}

/** Whether somebody has deleted a live object, and something holds it. */
export function isGoing(object: Manifest): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

/** Judges a live object, with its managers, against `wanted` ({@link withHash}); `takes`: whose fields are to go. */
export function judge(live: Manifest | undefined, wanted: Manifest, takes = isPerson): Delta {
  if (!live) return { state: "missing", astray: [], others: [] };
  if (isGoing(live)) return { state: "deleting", astray: [], others: [] };
  const others = foreignFields(live, wanted, takes);
  const isStale = live.metadata.labels?.[HASH_LABEL] !== wanted.metadata.labels?.[HASH_LABEL];
  // Its content is not listed.
  if (isDefinition(wanted)) {
    const isCurrent = !isStale && (isOurs(live) || !isOurs(wanted));
    return { state: isCurrent ? "current" : "stale", astray: [], others };
  }
  const own = ownFields(live);
  const all = own ? compare(wanted, live, own, othersFields(live), "") : ["made by somebody else"];
  // All else may be no more than the new wish.
  const scaled = all.filter((line) => line.endsWith(SCALED));
  if (isStale) return { state: "stale", astray: scaled, others };
  const isTouched = all.length > 0 || others.some(({ isTaken }) => isTaken);
  return { state: isTouched ? "drifted" : "current", astray: all, others };
}

const ANOTHER_VALUE = ": another value", ANOTHER_ORDER = ": another order";
const UNSIGNED = ", and the API server keeps no name of who did";
// A zero is left out by the door through which replicas are scaled, so nobody is said to have it.
const SCALED = `: scaled to 0 (kubectl scale, an autoscaler)${UNSIGNED}`;

/** Whether a line of {@link Delta.astray} is about who has a field. */
export function isOwnership(line: string): boolean {
  return ![ANOTHER_VALUE, ANOTHER_ORDER].some((reason) => line.endsWith(reason));
}

/** Whether a line of {@link Delta.astray} is about somebody of whom neither name nor time is kept. */
export function isUnsigned(line: string): boolean {
  return line.endsWith(UNSIGNED);
}

/** Where a wanted value is not there as ours; `own` is what we have of it, `others` what everybody else has. */
function compare(
  wanted: unknown,
  live: unknown,
  own: Fields | undefined,
  others: Fields[],
  path: string,
): string[] {
  // Of an empty list nothing is kept where its items have keys.
  if (wanted === undefined || wanted === null || Array.isArray(wanted) && wanted.length === 0) {
    return [];
  }
  // A map of which another has taken all that we had is left to us as if it were one value.
  const isShared = others.some((tree) => stepsOf(tree).length > 0);
  if (!own && !isShared) {
    // An empty map is nobody's as soon as somebody has put something into it.
    if (isFields(wanted) && Object.keys(wanted).length === 0 && isFields(live)) return [];
    if (others.length > 0) return [`${path}: taken by another`];
    const isScaled = live === 0 && /^spec\.[^.[]+$/.test(path);
    return [path + (isScaled ? SCALED : `: removed${UNSIGNED}`)];
  }
  const steps = stepsOf(own);
  if (steps.length === 0 && !isShared) {
    // One value for the API server, though it may be a list or a map.
    return isObject(wanted) || isSame(wanted, live, path) ? [] : [path + ANOTHER_VALUE];
  }
  const parts = partsOf(wanted, [...others.flatMap(stepsOf), ...steps])
    .filter(([step]) => !UNTRACKED.test(pathAt(path, step)));
  const led = parts.map(([step]) => step);
  const left = new Set(steps).difference(new Set(led));
  return [
    ...isReordered(live, led.filter((step) => own?.[step])) ? [path + ANOTHER_ORDER] : [],
    ...parts.flatMap(([step, value]) => {
      const below = others.flatMap((tree) => tree[step] ?? []);
      return compare(value, valueAt(live, step), own?.[step], below, pathAt(path, step));
    }),
    ...[...left].map((step) => `${pathAt(path, step)}: not wanted any more`),
  ];
}

function stepsOf(fields: Fields = {}): string[] {
  return Object.keys(fields).filter((step) => step !== ".");
}

/** Not among the fields that the API server keeps managers of. */
const UNTRACKED = /^(apiVersion|kind|status|metadata\.(name|namespace|creationTimestamp))$/;

/** The fields or items of a value, and what leads to each: of two of the `steps` the last, of none its place. */
function partsOf(value: unknown, steps: string[]): [step: string, value: unknown][] {
  if (Array.isArray(value)) {
    const leading = new Map(steps.map((step) => [valueAt(value, step), step]));
    return value.map((item, index) => [leading.get(item) ?? `i:${index}`, item]);
  }
  return Object.entries(isFields(value) ? value : {}).map(([name, field]) => [`f:${name}`, field]);
}

/** Whether the items to which these steps lead stand in another order: containers start in it. */
function isReordered(live: unknown, steps: string[]): boolean {
  if (!Array.isArray(live)) return false;
  const places = steps.filter((step) => step.startsWith("k:"))
    .map((step) => live.indexOf(valueAt(live, step))).filter((place) => place >= 0);
  return places.some((place, index) => place < places[index - 1]!);
}

// Where the API server writes amounts in its own way.
const AMOUNTS = /\.(requests|limits|hard|capacity)\.|\.(sizeLimit|divisor)$/;

function isSame(wanted: unknown, live: unknown, path: string): boolean {
  // A zero value is left out by some of its fields, and ours all the same.
  if (live === undefined || live === null) return !wanted;
  if (live === wanted) return true;
  return AMOUNTS.test(path) && amountOf(String(live)) === amountOf(String(wanted));
}

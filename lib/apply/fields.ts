// Trees of fields as the API server keeps them in managedFields (the form is that of
// sigs.k8s.io/structured-merge-diff): f: a field, k: an item of a list by its keys, v: an item by its value. And
// whether ours are those that are wanted.
import { isFields, type Manifest } from "../core/object.ts";
import { amountOf } from "../core/quantity.ts";

export interface Fields {
  [name: string]: Fields;
}

/** What is at a step of a tree in a value, and its path. */
export function stepInto(
  value: unknown,
  key: string,
  path: string,
): [value: unknown, path: string] {
  if (key === ".") return [value, path];
  const [kind, rest] = [key.slice(0, 2), key.slice(2)];
  if (kind === "f:") return [isFields(value) ? value[rest] : undefined, join(path, rest)];
  const items = Array.isArray(value) ? value : [];
  if (kind === "i:") return [items[Number(rest)], `${path}[${rest}]`];
  const wanted = JSON.parse(rest);
  if (kind === "v:") return [items.find((item) => item === wanted), `${path}[${rest}]`];
  const keys = Object.entries(wanted);
  const shown = keys.map(([name, value]) => `${name}=${value}`).join(",");
  return [items.find((item) => isItem(item, keys)), `${path}[${shown}]`];
}

function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}

/** Whether an item of a list has these keys; those that it lacks are defaults. */
function isItem(item: unknown, keys: [string, unknown][]): boolean {
  return isFields(item) &&
    keys.every(([name, value]) => item[name] === undefined || item[name] === value);
}

/** Not among the fields that the API server keeps managers of. */
const UNTRACKED = new Set(["apiVersion", "kind", "status"]);
const UNTRACKED_METADATA = new Set(["name", "namespace", "creationTimestamp"]);

const TAKEN = "taken by another", UNWANTED = "not wanted any more";
const UNSIGNED = ", and the API server keeps no name of who did";
// A zero is left out by the door through which replicas are scaled, so nobody is said to have it.
const SCALED = `scaled to 0 (kubectl scale, an autoscaler)${UNSIGNED}`;
const REMOVED = `removed${UNSIGNED}`;

/** Whether a line of {@link astray} is about who has a field, and not about its value. */
export function isOwnership(line: string): boolean {
  return isUnsigned(line) ||
    [MADE_BY_OTHERS, TAKEN, UNWANTED].some((reason) => line.endsWith(reason));
}

/** Whether a line of {@link astray} tells what somebody did of whom nothing is kept: neither name nor time. */
export function isUnsigned(line: string): boolean {
  return line.endsWith(UNSIGNED);
}

/** Whether a line of {@link astray} is true though another object is wanted than was applied. */
export function isScaled(line: string): boolean {
  return line.endsWith(SCALED);
}

const MADE_BY_OTHERS = "made by somebody else";

/**
 * Paths in which our fields of the live object are not those of the wanted one: somebody has removed or taken
 * one, has written another value, or we had one that is not wanted. `others` is what everybody else has.
 */
export function astray(
  wanted: Manifest,
  live: Manifest,
  own: Fields | undefined,
  others: Fields[] = [],
): string[] {
  if (!own) return [MADE_BY_OTHERS];
  const found: string[] = [];
  compare(wanted, own, live, "", others);
  return found;

  function compare(
    value: unknown,
    fields: Fields | undefined,
    there: unknown,
    path: string,
    others: Fields[],
  ): void {
    // Of an empty list nothing is kept where its items have keys.
    if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) {
      return;
    }
    // A map of which another has taken all that we had is left to us as if it were one value.
    const isShared = others.some((tree) => Object.keys(tree).some((key) => key !== "."));
    if (!fields && !isShared) {
      // An empty map is nobody's as soon as somebody has put something into it.
      const isThere = isFields(value) && Object.keys(value).length === 0 && isFields(there);
      if (isThere) return;
      const isZero = there === 0 && /^spec\.[^.[]+$/.test(path);
      const reason = others.length > 0 ? TAKEN : isZero ? SCALED : REMOVED;
      return void found.push(`${path}: ${reason}`);
    }
    const steps = Object.keys(fields ?? {}).filter((key) => key !== ".");
    if (steps.length === 0 && !isShared) {
      // One value for the API server, though it may be a list or a map.
      if (isFields(value) || Array.isArray(value) || same(value, there, path)) return;
      return void found.push(`${path}: another value`);
    }
    const left = new Set(steps);
    if (isReordered(value, there, steps)) found.push(`${path}: another order`);
    for (const [key, item, name, step = key] of parts(value, steps, path)) {
      if (key) left.delete(key);
      const [inside] = step ? stepInto(there, step, path) : [];
      // An item of a list that we have lost is known by the step that leads another to it.
      const way = step ?? parts([item], others.flatMap(Object.keys), path)[0]?.[0];
      const below = way ? others.flatMap((tree) => tree[way] ?? []) : [];
      compare(item, key ? fields?.[key] : undefined, inside, name, below);
    }
    for (const key of left) found.push(`${stepInto(undefined, key, path)[1]}: ${UNWANTED}`);
  }
}

/** The fields or items of a value: the step of ours that leads to each, if there is one; of fields any step. */
function parts(
  value: unknown,
  steps: string[],
  path: string,
): [key: string | undefined, item: unknown, path: string, step?: string][] {
  if (Array.isArray(value)) {
    const free = new Set(steps);
    // Those with all of their keys first: what is left is the default of the others.
    const isWhole = (item: unknown, step: string) =>
      Object.keys(JSON.parse(step.slice(2))).every((key) => isFields(item) && key in item);
    const leads = (item: unknown, index: number, whole: boolean) =>
      [...free].find((step) =>
        step.startsWith("k:")
          ? isItem(item, Object.entries(JSON.parse(step.slice(2)))) &&
            (!whole || isWhole(item, step))
          : step === `v:${JSON.stringify(item)}` || step === `i:${index}`
      );
    const found = new Map<number, string>();
    for (const whole of [true, false]) {
      for (const [index, item] of value.entries()) {
        const step = found.has(index) ? undefined : leads(item, index, whole);
        if (!step) continue;
        found.set(index, step);
        free.delete(step);
      }
    }
    return value.map((item, index) => {
      const key = found.get(index);
      return [key, item, key ? stepInto(undefined, key, path)[1] : `${path}[${index}]`];
    });
  }
  if (!isFields(value)) return [];
  const skipped = path === "" ? UNTRACKED : path === "metadata" ? UNTRACKED_METADATA : new Set();
  return Object.entries(value).filter(([name]) => !skipped.has(name)).map(([name, item]) => {
    const key = `f:${name}`;
    return [steps.includes(key) ? key : undefined, item, join(path, name), key];
  });
}

/** Whether items that are told apart by their keys stand in another order: containers start in it. */
function isReordered(wanted: unknown, live: unknown, steps: string[]): boolean {
  if (!Array.isArray(wanted) || !Array.isArray(live)) return false;
  const places = parts(wanted, steps, "").flatMap(([key]) => {
    if (!key?.startsWith("k:")) return [];
    const keys = Object.entries(JSON.parse(key.slice(2)));
    return live.findIndex((item) => isItem(item, keys));
  }).filter((place) => place >= 0);
  return places.some((place, index) => index > 0 && place < places[index - 1]!);
}

/** Where the API server writes amounts in its own way. */
const AMOUNTS = /\.(requests|limits|hard|capacity)\.|\.(sizeLimit|divisor)$/;

function same(wanted: unknown, live: unknown, path: string): boolean {
  // A zero value is left out by some of its fields, and ours all the same.
  if (live === undefined || live === null) return !wanted;
  if (live === wanted) return true;
  return AMOUNTS.test(path) && amountOf(String(live)) === amountOf(String(wanted));
}

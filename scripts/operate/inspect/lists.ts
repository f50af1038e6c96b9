// Lists of two objects whose items are told apart by what they are, and not by where they stand.
import { isObject } from "../../../lib/core/object.ts";

/** Both with lists as maps from `[name]`, so that an item that only one has moves none of the others. */
export function withoutLists<T>(left: T, right: T): [T, T] {
  if (!isObject(left) || !isObject(right)) return [left, right];
  if (Array.isArray(left) !== Array.isArray(right)) return [left, right];
  const [a, b] = asMaps(left, right);
  const pairs = Object.keys({ ...a, ...b }).map((key) =>
    [key, withoutLists(a[key], b[key])] as const
  );
  const side = (which: 0 | 1) => Object.fromEntries(pairs.map(([key, pair]) => [key, pair[which]]));
  return [side(0) as T, side(1) as T];
}

/** Two lists as maps from `[name]`, as {@link withoutLists} has them; what is no two lists as it is. */
export function asMaps(left: Fields, right: Fields): [Fields, Fields] {
  if (!Array.isArray(left) || !Array.isArray(right)) return [left, right];
  const [a, b] = namesIn(left, right);
  const map = (list: unknown[], names: string[]) =>
    Object.fromEntries(list.map((item, index) => [`[${names[index]}]`, item]));
  return [map(left, a), map(right, b)];
}

type Fields = Record<string, unknown>;
type Names = [string[], string[]];

/** What tells the items of a list apart, where all have it. */
const KEYS = ["mountPath", "name", "containerPort", "port"];

/** A name for every item of two lists: a field of it, its text when no text has moved, or its position. */
function namesIn(left: unknown[], right: unknown[]): Names {
  const by = (nameOf: (item: unknown, index: number) => string): Names => [
    left.map(nameOf),
    right.map(nameOf),
  ];
  const keyed = KEYS.map((key) => by((item) => isObject(item) ? String(item[key] ?? "") : ""));
  const texts = [by(flagOf), by(textOf)].filter(isSameOrder);
  return [...keyed, ...texts].find(areNames) ?? by((_, index) => String(index));
}

function textOf(item: unknown): string {
  return isObject(item) ? "" : String(item);
}

/** `--retention` of `--retention=2h`, so that another value is one line and not two. */
function flagOf(item: unknown): string {
  return textOf(item).replace(/^(--[^=]+)=.*$/s, "$1");
}

/** Whether the name may be the one that an item of a list has in {@link asMaps}. */
export function isNamed(item: unknown, name: string): boolean {
  if (isObject(item)) return KEYS.some((key) => String(item[key] ?? "") === name);
  return [flagOf(item), textOf(item)].includes(name);
}

function areNames(names: Names): boolean {
  return names.every((list) =>
    list.every((name) => /^\S{1,80}$/.test(name)) && new Set(list).size === list.length
  );
}

function isSameOrder([left, right]: Names): boolean {
  const shared = (list: string[], other: string[]) =>
    list.filter((name) => other.includes(name)).join(" ");
  return shared(left, right) === shared(right, left);
}

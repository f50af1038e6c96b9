// A field of an object: the path to it, also through lists, who owns it on the cluster, and what may be shown of it.
import { isUnsigned, judge } from "../../../lib/apply/diff.ts";
import { entriesOf, type Fields, valueAt } from "../../../lib/apply/managers.ts";
import { isObject, type Manifest, type Path } from "../../../lib/core/object.ts";
import { nearest } from "../../../lib/core/nearest.ts";

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** What a path led to, or how far it went and which keys are there. */
export type Lookup =
  | { found: true; path: Path; value: unknown }
  | { found: false; reached: Path; keys: string[] };

/** Follows a path such as `spec.containers[0].image`; items also go as `make plan` names them, keys as `["a.b/c"]`. */
export function lookUp(node: unknown, field: string, path: Path = []): Lookup {
  if (field === "") return { found: true, path, value: node };
  const step = nextOf(node, field);
  if (!step) return { found: false, reached: path, keys: keysOf(node) };
  const below = (node as Record<string, unknown>)[step.key];
  return lookUp(below, step.rest, [...path, step.key]);
}

/** What is at the end of a path, undefined for nothing. */
export function fieldAt(object: unknown, field: string): unknown {
  const look = lookUp(object, field);
  return look.found ? look.value : undefined;
}

function nextOf(node: unknown, text: string): { key: string | number; rest: string } | undefined {
  if (Array.isArray(node)) {
    const [bracket, inside = ""] = /^\[([^\]]*)\]/.exec(text) ?? [];
    if (!bracket) return undefined;
    // `[name=web]`, as a plan has it.
    const names = [inside, inside.replace(/^\w+=([^,]*).*/, "$1")];
    const isNamed = (item: unknown) => WAYS.some((nameOf) => names.includes(nameOf(item)));
    const key = /^\d+$/.test(inside) && inside in node ? Number(inside) : node.findIndex(isNamed);
    return key in node ? { key, rest: text.slice(bracket.length) } : undefined;
  }
  const plain = text.replace(/^(?:\["([^"]*)"\]|\.)/, "$1");
  // The longest, for labels and annotations have dots of their own.
  const [key] = Object.keys(isObject(node) ? node : {}).sort((a, b) => b.length - a.length)
    .filter((key) => plain.startsWith(key) && /^([.[]|$)/.test(plain.slice(key.length)));
  return key === undefined ? undefined : { key, rest: plain.slice(key.length) };
}

function keysOf(node: unknown): string[] {
  if (Array.isArray(node)) return node.map((item, index) => `[${item?.name ?? index}]`);
  return isObject(node) ? Object.keys(node) : [];
}

/** A path as text, with brackets round what has dots. */
export function pathText(path: Path): string {
  return path.map((key) =>
    typeof key === "number" ? `[${key}]` : key.includes(".") ? `["${key}"]` : `.${key}`
  ).join("").replace(/^\./, "");
}

/** Managers of a live object that own the field at `path`, or `fields` (so many) below it. */
export function ownersOf(live: Manifest, path: Path) {
  return entriesOf(live).map(({ fieldsV1, ...manager }) => (
    { ...manager, fields: fieldsV1 ? owned(fieldsV1, live, path) : 0 }
  )).filter(({ fields }) => fields > 0);
}

function owned(set: Fields, node: unknown, [head, ...rest]: Path): number {
  if (head === undefined) return sizeOf(set);
  // A list or map that is owned as a whole: nothing in it has an owner of its own.
  if (Object.keys(set).length === 0) return 1;
  const below = isObject(node) ? node[head] : undefined;
  const step = typeof head === "string"
    ? `f:${head}`
    : Object.keys(set).find((step) => step !== "." && valueAt(node, step) === below);
  const child = step === undefined ? undefined : set[step];
  return child ? owned(child, below, rest) : 0;
}

/** Fields in a set; `.` is the map or item itself, which counts when it has no other. */
function sizeOf(set: Fields): number {
  const below = Object.keys(set).filter((element) => element !== ".");
  return below.length === 0 ? 1 : below.reduce((sum, element) => sum + sizeOf(set[element]!), 0);
}

/** What somebody of whom nothing is kept has done to our field at the path, or to what it is in. */
export function lostAt(live: Manifest, wanted: Manifest, path: Path): string | undefined {
  return judge(live, wanted).astray.filter(isUnsigned).flatMap((line) => {
    const [where, what] = line.split(/: (.*)/);
    const look = lookUp(wanted, where!);
    return look.found && look.path.every((key, index) => key === path[index]) ? what! : [];
  })[0];
}

/** A copy in which the values of a Secret, and what kubectl keeps of them, are "(secret)". */
export function withoutSecrets(object: Manifest): Manifest {
  if (object.kind !== "Secret") return object;
  const copy = structuredClone(object), { annotations } = copy.metadata;
  for (const map of [copy.data, copy.stringData]) {
    for (const key of Object.keys(map ?? {})) map[key] = "(secret)";
  }
  if (annotations?.[LAST_APPLIED]) annotations[LAST_APPLIED] = "(secret)";
  return copy;
}

/** At most three ids that the one asked for may have meant: of its name, a slip of the pen, its name in theirs, its kind. */
export function nearestIds(id: string, ids: string[]): string[] {
  const [kind, place, name] = partsOf(id);
  const beside = ids.filter((one) => place && partsOf(one)[1] === place);
  const ofKind = [...beside, ...ids].filter((one) => partsOf(one)[0] === kind);
  const ofKindFirst = [...ofKind, ...ids];
  const slip = nearest(id, beside.length > 0 ? beside : ids);
  const alike = [
    ...ofKindFirst.filter((one) => partsOf(one)[2] === name),
    ...slip ? [slip] : [],
    ...ofKindFirst.filter((one) => name && partsOf(one)[2].includes(name)),
  ];
  return [...new Set(alike.length > 0 ? alike : ofKind)].slice(0, 3);
}

function partsOf(id: string): [kind: string, namespace: string, name: string] {
  const words = id.toLowerCase().split("/");
  return [words[0]!, words.slice(1, -1).join(), words.at(-1)!];
}

type Items = Record<string, unknown>;
type NameOf = (item: unknown) => string;

/** What may tell the items of a list apart: a field of each, or of a text its flag or itself. */
const WAYS: NameOf[] = [
  ...["mountPath", "name", "containerPort", "port"].map((key): NameOf => (item) =>
    isObject(item) ? String(item[key] ?? "") : ""
  ),
  // `--retention` of `--retention=2h`, so that another value is one line and not two.
  (item) => isObject(item) ? "" : String(item).replace(/^(--[^=]+)=.*$/s, "$1"),
  (item) => isObject(item) ? "" : String(item),
];

/** Two lists as maps by names of their items, so that one that only one has moves no other; what is no two lists as it is. */
export function asMaps(left: Items, right: Items): [Items, Items] {
  if (!Array.isArray(left) || !Array.isArray(right)) return [left, right];
  const fits = (nameOf: NameOf) => {
    const [a, b] = [left.map(nameOf), right.map(nameOf)];
    // An apply may move what has a key; with texts the order is a difference.
    return areNames(a) && areNames(b) && (isObject(left[0]) || isSameOrder(a, b));
  };
  const nameOf = WAYS.find(fits);
  const map = (list: unknown[]) =>
    Object.fromEntries(list.map((item, index) => [nameOf?.(item) ?? index, item]));
  return [map(left), map(right)];
}

function areNames(list: string[]): boolean {
  return list.every((name) => /^\S{1,80}$/.test(name)) && new Set(list).size === list.length;
}

function isSameOrder(a: string[], b: string[]): boolean {
  const shared = (list: string[], other: string[]) =>
    list.filter((name) => other.includes(name)).join(" ");
  return shared(a, b) === shared(b, a);
}

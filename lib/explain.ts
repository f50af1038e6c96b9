// Where a field of an object comes from, and who owns it on the cluster.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { idOf, type Manifest, SUBSTITUTE_ANNOTATION, walk } from "./manifest.ts";
import { matches, type Target, type Template, VARIABLE } from "./render.ts";
import { LAST_APPLIED } from "./takeover.ts";

/** Keys and indices from an object down to one of its fields. */
export type Path = (string | number)[];

/** What a field path led to, or how far it went and which keys are there. */
export type Lookup =
  | { found: true; path: Path; value: unknown }
  | { found: false; reached: Path; keys: string[] };

/**
 * Follows a path such as `spec.template.spec.containers[0].image`. An item is named by its index or
 * its `name`; a key with dots may stand as it is, as `make plan` prints it, or as `["a.b/c"]`.
 */
export function lookUp(object: unknown, field: string): Lookup {
  const path: Path = [];
  let node = object, rest = field;
  while (rest !== "") {
    const step = nextOf(node, rest);
    if (!step) return { found: false, reached: path, keys: keysOf(node) };
    path.push(step.key);
    node = (node as Record<string, unknown>)[step.key];
    rest = step.rest;
  }
  return { found: true, path, value: node };
}

function nextOf(node: unknown, text: string): { key: string | number; rest: string } | undefined {
  const [bracket, inside] = /^\[("[^"]*"|[^\]]*)\]/.exec(text) ?? [];
  if (Array.isArray(node)) {
    if (bracket === undefined) return undefined;
    const key = /^\d+$/.test(inside!)
      ? Number(inside)
      : node.findIndex((item) => item?.name === inside);
    return key in node ? { key, rest: text.slice(bracket.length) } : undefined;
  }
  if (typeof node !== "object" || node === null) return undefined;
  if (bracket?.startsWith('["')) {
    const key = inside!.slice(1, -1);
    return Object.hasOwn(node, key) ? { key, rest: text.slice(bracket.length) } : undefined;
  }
  const plain = text.replace(/^\./, "");
  // The longest, for labels and annotations have dots of their own.
  const [key] = Object.keys(node).sort((a, b) => b.length - a.length)
    .filter((key) => plain.startsWith(key) && /^([.[]|$)/.test(plain.slice(key.length)));
  return key === undefined ? undefined : { key, rest: plain.slice(key.length) };
}

function keysOf(node: unknown): string[] {
  if (Array.isArray(node)) return node.map((item, index) => `[${item?.name ?? index}]`);
  return typeof node === "object" && node !== null ? Object.keys(node) : [];
}

/** A path as text, with brackets round what has dots. */
export function pathText(path: Path): string {
  return path.map((key) =>
    typeof key === "number" ? `[${key}]` : key.includes(".") ? `["${key}"]` : `.${key}`
  ).join("").replace(/^\./, "");
}

/** A field manager, and how many fields it owns at a path or below. */
export interface Owner {
  manager: string;
  /** `Apply` or `Update`. */
  operation: string;
  /** `status` or `scale`, when that is how it wrote. */
  subresource?: string;
  time?: string;
  fields: number;
}

/** Managers of a live object that own the field at `path`, or fields below it. */
export function ownersOf(live: Manifest, path: Path): Owner[] {
  const entries: (Omit<Owner, "fields"> & { fieldsV1?: FieldSet })[] =
    live.metadata.managedFields ?? [];
  return entries.map(({ manager, operation, subresource, time, fieldsV1 }) => {
    const fields = fieldsV1 ? owned(fieldsV1, live, path) : 0;
    return { manager, operation, subresource, time, fields };
  }).filter(({ fields }) => fields > 0);
}

/** `fieldsV1`: below `f:name` a field, below `k:{...}` an item by its keys, below `v:...` one by its value. */
interface FieldSet {
  [element: string]: FieldSet;
}

function owned(set: FieldSet, node: unknown, [head, ...rest]: Path): number {
  if (head === undefined) return sizeOf(set);
  // A list or map that is owned as a whole: nothing in it has an owner of its own.
  if (Object.keys(set).length === 0) return 1;
  const below = (node as Record<string, unknown> | undefined)?.[head];
  const element = typeof head === "string"
    ? `f:${head}`
    : Object.keys(set).find((element) => isItem(element, below, head));
  const child = element === undefined ? undefined : set[element];
  return child ? owned(child, below, rest) : 0;
}

function isItem(element: string, item: unknown, index: number): boolean {
  if (element === `i:${index}`) return true;
  if (element.startsWith("v:")) return element.slice(2) === JSON.stringify(item);
  if (!element.startsWith("k:") || typeof item !== "object" || item === null) return false;
  const fields = item as Record<string, unknown>;
  return Object.entries(JSON.parse(element.slice(2))).every(([key, value]) =>
    fields[key] === value
  );
}

/** Fields in a set; `.` is the map or item itself, which counts when it has no other. */
function sizeOf(set: FieldSet): number {
  const below = Object.keys(set).filter((element) => element !== ".");
  return below.length === 0 ? 1 : below.reduce((sum, element) => sum + sizeOf(set[element]!), 0);
}

/** Names of the settings that the texts of a template's object (or of a field of it) are made with. */
export function settingsIn({ object }: Template, value: unknown = object): string[] {
  if (object.metadata.annotations?.[SUBSTITUTE_ANNOTATION] === "disabled") return [];
  const names = new Set<string>();
  walk({ value }, (node) => {
    if (typeof node !== "string") return;
    for (const [, dollar, name] of node.matchAll(VARIABLE)) if (!dollar) names.add(name!);
  });
  return [...names].sort();
}

/** A copy in which the values of a Secret, and what kubectl keeps of them, are "(secret)". */
export function withoutSecrets(object: Manifest): Manifest {
  if (object.kind !== "Secret") return object;
  const copy = structuredClone(object);
  for (const map of [copy.data, copy.stringData]) {
    for (const key of Object.keys(map ?? {})) map[key] = "(secret)";
  }
  const annotations = copy.metadata.annotations;
  if (annotations?.[LAST_APPLIED]) annotations[LAST_APPLIED] = "(secret)";
  return copy;
}

/** The files that say something about an object. */
export interface Home {
  /** The file that has it, or the kustomization that makes it, and of which files. */
  file: string;
  /** As it stands in that file; undefined for one that is made of files. */
  written?: Manifest;
  /** Patches that are for it, from the folder that is built downwards. */
  patches: Patch[];
}

interface Patch {
  /** The kustomization and the patch's own file. */
  where: string;
  /** Operations (RFC 6902), or a piece of the object that is merged into it. */
  content: Operation[] | Manifest;
}

interface Operation {
  op: string;
  path: string;
}

/**
 * Looks through the kustomization of the template's folder and those that it builds on. kustomize itself
 * tells origins only where the folder that is built asks for them.
 */
export async function homeOf({ object, folder }: Template): Promise<Home> {
  const file = join(folder, "kustomization.yaml");
  const kustomization = parse(await readFile(file, "utf8")) ?? {};
  const home: Home = { file: "", patches: [] };
  for (const { path, patch, target } of kustomization.patches ?? []) {
    const content = parse(patch ?? await readFile(join(folder, path), "utf8"));
    if (!matches(object, target ?? targetOf(content))) continue;
    home.patches.push({ where: `${file} (${path ?? "inline patch"})`, content });
  }
  const id = idOf(object);
  for (const { name, namespace, files = [] } of kustomization.configMapGenerator ?? []) {
    if (id === `ConfigMap/${namespace}/${name}`) home.file = `${file} (${files.join(", ")})`;
  }
  for (const entry of [...kustomization.resources ?? [], ...kustomization.components ?? []]) {
    const path = join(folder, entry);
    if (existsSync(join(path, "kustomization.yaml"))) {
      const below = await homeOf({ object, folder: path });
      home.patches.push(...below.patches);
      home.file ||= below.file;
      home.written ??= below.written;
      continue;
    }
    const written = parseAllDocuments(await readFile(path, "utf8"))
      .map((document) => document.toJS() as Manifest | null)
      .find((one) => one && idOf(one) === id);
    if (written) Object.assign(home, { file: path, written });
  }
  return home;
}

/** A merge without a target names the object itself. */
function targetOf({ kind, metadata: { name, namespace } }: Manifest): Target {
  return { kind, name, namespace };
}

/** Whether a patch says something about the field, something above it or something below. */
export function touches({ content }: Patch, object: Manifest, path: Path): boolean {
  if (Array.isArray(content)) {
    return content.some((operation) => {
      const keys = operation.path.split("/").slice(1)
        .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
      const length = Math.min(keys.length, path.length);
      return keys.slice(0, length).every((key, depth) =>
        key === "-" || key === String(path[depth])
      );
    });
  }
  let patch: unknown = content, node: unknown = object;
  for (const key of path) {
    // A value or a whole list that the patch gives.
    if (typeof patch !== "object" || patch === null) return true;
    node = (node as Record<string, unknown> | undefined)?.[key];
    patch = Array.isArray(patch)
      ? patch.find((item) => item?.name === (node as { name?: string } | undefined)?.name)
      : (patch as Record<string, unknown>)[key];
    if (patch === undefined) return false;
  }
  return true;
}

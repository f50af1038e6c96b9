// Templates: what kustomize builds of a folder, the same for every cluster, and with `${NAME}` filled in, never in keys.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { projectPath, type Vars } from "../core/cluster.ts";
import { configError } from "../core/error.ts";
import { kubectlMark, kustomize } from "../kube/kubectl.ts";
import { frozen, idOf, isObject, type Manifest, type Path, withValue } from "../core/object.ts";
import { nearest } from "../core/nearest.ts";
import { replaceFile } from "../io/files.ts";
import { hashOf } from "../core/hash.ts";

/** An object before `${NAME}`. All clusters share it, so it cannot be changed. */
export interface Template {
  object: Manifest;
  file: string; // that it, or its generator, is written in; "" when kustomize tells none
  folder: string; // that kustomize built it from
}

// Built once per folder and process, and kept between runs: kustomize takes a tenth of a second for each.
const cache = new Map<string, Promise<Template[]>>();

/** The objects of a folder, which has a kustomization.yaml and lies below `root`. */
export function templatesIn(root: string, folder: string): Promise<Template[]> {
  return cache.getOrInsertComputed(folder, async () => {
    const built = await builtOnce(root, folder, async () => {
      const documents = parseAllDocuments(await kustomize(folder));
      const objects = documents.map((document) => document.toJS() as Manifest);
      await refuseUnmatchedPatches(folder, objects);
      return objects.map(withFile);
    });
    return built.map(({ object, file }) => ({ object: frozen(object), file, folder }));
  });
}

const ORIGIN = "config.kubernetes.io/origin";

/** kustomize's note on where an object is from becomes the `file`; it is never sent. */
function withFile(object: Manifest): Omit<Template, "folder"> {
  const { annotations: { [ORIGIN]: origin = "", ...annotations } = {}, ...metadata } =
    object.metadata;
  const kept = Object.keys(annotations).length > 0 ? { ...metadata, annotations } : metadata;
  // One object from several files has several notes.
  const { path, configuredIn } = parseAllDocuments(origin)[0]?.toJS() ?? {};
  const file = String(path ?? configuredIn ?? "").replace(/^(\.\.\/)+/, "");
  return { object: { ...object, metadata: kept }, file };
}

/** kustomize ignores a patch whose target matches nothing; we do not. */
async function refuseUnmatchedPatches(folder: string, objects: Manifest[]): Promise<void> {
  const file = join(folder, "kustomization.yaml");
  const kustomization = parse(await readFile(file, "utf8")) ?? {};
  for (const { path, target } of kustomization.patches ?? []) {
    if (!target || objects.some((object) => matches(object, target))) continue;
    const where = `${relative(projectPath("."), file)}  ${path ?? "inline patch"}`;
    const wanted = [target.kind, target.namespace, target.name].filter(Boolean).join("/");
    const near = nearest(wanted, objects.map(idOf));
    throw configError("Cannot apply a patch: its target matches no object", {
      where: `${where}  target ${wanted}${near ? `: did you mean ${near}?` : ""}`,
      fix: "name an object that exists and is not deleted, or remove the patch",
    });
  }
  const parents = [...kustomization.resources ?? [], ...kustomization.components ?? []]
    .map((entry: string) => join(folder, entry))
    .filter((entry) => existsSync(join(entry, "kustomization.yaml")));
  for (const parent of parents) await refuseUnmatchedPatches(parent, objects);
}

/** Whether a patch with this target is for the object; never for a field that ours do not have. */
export function matches(
  { kind, metadata: { name, namespace = "" } }: Manifest,
  target: Record<string, string | undefined>,
): boolean {
  const actual: Record<string, string> = { kind, name, namespace };
  return Object.entries(target).every(([field, wanted]) =>
    new RegExp(`^(${wanted ?? ".*"})$`).test(`${actual[field]}`)
  );
}

/** What `build` gives for a folder, kept beside `root` while kubectl and the files below `root` are the same. */
export async function builtOnce<T>(
  root: string,
  folder: string,
  build: () => Promise<T[]>,
): Promise<T[]> {
  const mark = await marks.getOrInsertComputed(root, () => markOf(root));
  const name = `${hashOf(relative(root, folder))}.json`;
  // Not in a cache that others may fill: who can write there can write to the manifests, too.
  const path = join(dirname(root), ".tools", "kustomize", basename(root), name);
  const text = await readFile(path, "utf8").catch(() => "");
  // The first line says what it was built from, so there is one file per folder and never an old one.
  if (text.startsWith(`${mark}\n`)) return JSON.parse(text.slice(mark.length + 1));
  const objects = await build();
  const kept = `${mark}\n${JSON.stringify(objects)}`;
  await replaceFile(path, (temporary) => writeFile(temporary, kept)).catch(() => {});
  return objects;
}

const FORM = 2; // another number for another form of what is kept
const marks = new Map<string, Promise<string>>();

/** Hash of the form, kubectl and every file below the folder; read at once, they take a third of the time. */
async function markOf(root: string): Promise<string> {
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name)).sort();
  const texts = files.map((file) => [relative(root, file), readFileSync(file, "utf8")]);
  return hashOf([FORM, await kubectlMark(), texts]);
}

/** Annotation: "disabled" keeps `${...}` in all but the metadata (dashboards, rules, pipelines). */
export const SUBSTITUTE_ANNOTATION = "deploy.miribit.lab/substitute";

/** `${NAME}` or `${NAME?}` in a text; after one more `$` it stays as it is. */
export const VARIABLE = /(\$?)\$\{([^}]*?)(\??)\}/g;
// Kubernetes wants text here, whatever type the setting has.
const ALWAYS_TEXT =
  /(\.|^)(annotations|labels|matchLabels|data|stringData|args|command|parameters|externalLabels)[.[]|\.env\[\d+\]\.value$/;
const ARGUMENT = /\.args\[\d+\]$/;
// A variable here would change what an object is, not what it says.
const FIXED = /^(apiVersion|kind|metadata\.name|metadata\.namespace)$|selector(\.|$)|matchLabels/i;

/** A text or a key with `${` in it. */
export interface Place {
  keys: Path;
  path: string; // the same for people: spec.ports[0].nodePort
  text: string;
  isKey: boolean;
}

/** A template's object with every `${NAME}` of its values replaced; `$${NAME}` stays. */
export function substitute(template: Omit<Template, "folder">, vars: Vars, problems: string[]) {
  const { object, file } = template;
  const problem = (path: string, what: string) =>
    problems.push(`${idOf(object)}  ${path}${file && `  (${file})`}  ${what}`);

  function replaced({ path, text }: Place): unknown {
    const lookUp = (name: string): unknown => {
      if (Object.hasOwn(vars, name)) return vars[name];
      const near = nearest(name, Object.keys(vars));
      problem(path, `\${${name}}: ${near ? `did you mean ${near}?` : "unknown name"}`);
      return "";
    };
    const whole = /^\$\{([^}?]*)\}$/.exec(text);
    if (whole && !ALWAYS_TEXT.test(path)) return lookUp(whole[1]!);
    // An argument with `${NAME?}` falls away while NAME is empty or false: a program keeps its words until a site sets it.
    let falls = false;
    const filledIn = text.replace(VARIABLE, (all, dollar, name, mark) => {
      if (dollar) return all.slice(1);
      const value = lookUp(name);
      if (mark && !ARGUMENT.test(path)) problem(path, `${all}: only an argument may fall away`);
      falls ||= mark && (value === "" || value === false);
      return mark && value === true ? "" : String(value);
    });
    return falls ? undefined : filledIn;
  }

  let result = object;
  for (const place of placesIn(object)) {
    const { keys, path, text, isKey } = place;
    if (isKey) problem(path, "no variable may stand in a key");
    else if (FIXED.test(path)) problem(path, `${text}: no variable may stand here`);
    else result = withValue(result, keys, replaced(place));
  }
  for (const { keys, path, text } of placesIn(object)) {
    if (!text.includes("?}") || !ARGUMENT.test(path)) continue;
    const list = keys.slice(0, -1);
    const items: unknown[] = list.reduce((node, key) => node[key], result as Manifest[string]);
    result = withValue(result, list, items.filter((one) => one !== undefined));
  }
  return result;
}

const known = new WeakMap<Manifest, Place[]>();

/** Where an object may have variables; one that keeps its text has them in its metadata only. */
export function placesIn(object: Manifest): Place[] {
  return known.getOrInsertComputed(object, () => {
    const isLiteral = object.metadata.annotations?.[SUBSTITUTE_ANNOTATION] === "disabled";
    return isLiteral ? find(object.metadata, ["metadata"], "metadata") : find(object, [], "");
  });
}

function find(node: unknown, keys: Path, path: string): Place[] {
  if (typeof node === "string") {
    return node.includes("${") ? [{ keys, path, text: node, isKey: false }] : [];
  }
  if (Array.isArray(node)) {
    return node.flatMap((item, index) => find(item, [...keys, index], `${path}[${index}]`));
  }
  if (!isObject(node)) return [];
  return Object.entries(node).flatMap(([key, value]) => {
    const below = path ? `${path}.${key}` : key;
    const own = { keys: [...keys, key], path: below, text: key, isKey: true };
    return [...key.includes("${") ? [own] : [], ...find(value, own.keys, below)];
  });
}

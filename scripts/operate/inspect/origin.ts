// Where the source says what an object is: its file, the patches for it, the settings in it.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { parse, parseAllDocuments } from "yaml";
import { projectPath } from "../../../lib/core/cluster.ts";
import { fieldAt, lookUp } from "./field.ts";
import { idOf, isObject, type Manifest, type Path } from "../../../lib/core/object.ts";
import { matches, placesIn, type Template, VARIABLE } from "../../../lib/render/template.ts";

/** What says something about an object; paths are from the project folder. */
interface Home {
  object: Manifest; // as kustomize built it, before `${NAME}`
  file: string; // that has it, or the kustomization that makes it, and of which files
  written?: Manifest; // as it stands in the file
  patches: Patch[]; // from the folder that is built downwards
}

/** Where a patch is, and its operations (RFC 6902) or the piece of an object that it merges in. */
type Patch = { where: string; content: { op: string; path: string }[] | Manifest };

/** Looks through the kustomizations of a template: kustomize tells neither patches nor what stands in the file. */
export async function homeOf(
  { object, folder }: Pick<Template, "object" | "folder">,
  home: Home = { object, file: "", patches: [] },
): Promise<Home> {
  const path = join(folder, "kustomization.yaml"), id = idOf(object);
  const kustomization = parse(await readFile(path, "utf8")) ?? {};
  for (const { path: file, patch, target } of kustomization.patches ?? []) {
    const content = parse(patch ?? await readFile(join(folder, file), "utf8"));
    // A merge without a target names the object itself.
    const { kind, metadata: { name, namespace } = {} as Manifest["metadata"] } = content;
    if (!matches(object, target ?? { kind, name, namespace })) continue;
    home.patches.push({ where: `${short(path)} (${file ?? "inline patch"})`, content });
  }
  for (const { name, namespace, files = [] } of kustomization.configMapGenerator ?? []) {
    if (id !== `ConfigMap/${namespace}/${name}`) continue;
    home.file = `${short(path)} (${files.join(", ")})`;
  }
  for (const entry of [...kustomization.resources ?? [], ...kustomization.components ?? []]) {
    const below = join(folder, entry);
    if (existsSync(join(below, "kustomization.yaml"))) {
      await homeOf({ object, folder: below }, home);
      continue;
    }
    const written = parseAllDocuments(await readFile(below, "utf8"))
      .map((document) => document.toJS() as Manifest | null)
      .find((one) => one && idOf(one) === id);
    if (written) Object.assign(home, { file: short(below), written });
  }
  return home;
}

function short(path: string): string {
  return relative(projectPath("."), path);
}

/** Whether a patch says something about the field, something above it or something below. */
export function touches({ content }: Patch, object: Manifest, path: Path): boolean {
  if (Array.isArray(content)) {
    return content.some(({ path: pointer }) =>
      pointer.split("/").slice(1, path.length + 1)
        .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"))
        .every((key, depth) => key === "-" || key === String(path[depth]))
    );
  }
  let patch: unknown = content, node: unknown = object;
  for (const key of path) {
    // A value or a whole list that the patch gives.
    if (!isObject(patch)) return true;
    node = isObject(node) ? node[key] : undefined;
    const name = isObject(node) ? node.name : undefined;
    patch = Array.isArray(patch) ? patch.find((item) => item?.name === name) : patch[key];
    if (patch === undefined) return false;
  }
  return true;
}

/** Characters of a value that are written out at most. */
export const LONGEST = 600;

/** What the files say of a field; undefined when they say nothing. */
export function sourceOf(home: Home, field: string): string | undefined {
  const { object, file, written, patches } = home;
  const built = lookUp(object, field);
  if (!built.found) return undefined;
  if (!written) return file;
  const said = fieldAt(written, field);
  // kustomize puts keys into an order of its own.
  if (isDeepStrictEqual(said, built.value)) {
    return `${file}: ${JSON.stringify(said).slice(0, LONGEST)}`;
  }
  const isPatched = patches.some((patch) => touches(patch, object, built.path));
  return `${file}, with ${isPatched ? "the patch below" : "the labels of a kustomization.yaml"}`;
}

/** Names of the settings that a field (default: the whole object) is made with. */
export function settingsIn({ object }: Pick<Home, "object">, field = ""): string[] {
  const look = lookUp(object, field);
  if (!look.found) return [];
  const inside = placesIn(object).filter(({ keys }) =>
    look.path.every((key, depth) => keys[depth] === key)
  );
  const names = inside.flatMap(({ text }) => [...text.matchAll(VARIABLE)])
    .flatMap(([, dollar, name]) => dollar ? [] : name!);
  return [...new Set(names)].sort();
}

// What kustomize builds of a folder: objects before `${NAME}`, the same for every cluster.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { projectPath } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { kubectlMark, kustomize } from "../kube/kubectl.ts";
import { frozen, idOf, type Manifest } from "../core/object.ts";
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
    throw new DeployError("Cannot apply a patch: its target matches no object", {
      exitCode: ExitCode.config,
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

// Kustomizations as they were built, kept between runs: kustomize takes a tenth of a second for each folder,
// and its output depends on nothing but the files and kubectl itself. They lie in the project, not in the
// cache that others may fill: who can write there can write to the manifests, too.
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { replaceFile } from "../io/files.ts";
import { hashOf } from "../core/hash.ts";
import { kubectlMark } from "../kube/kubectl.ts";
import type { Manifest } from "../core/object.ts";

/**
 * What `build` gives for a folder below `root`; what it gave before while no other file below `root` and no other
 * kubectl is there. Where it cannot be kept (`.tools` beside `root`), it is built each time.
 */
export async function builtOnce(
  root: string,
  folder: string,
  build: () => Promise<Manifest[]>,
): Promise<Manifest[]> {
  const mark = await markOf(root);
  const name = `${hashOf(relative(root, folder))}.json`;
  const path = join(dirname(root), ".tools", "kustomize", basename(root), name);
  const text = await readFile(path, "utf8").catch(() => "");
  // The first line says what it was built from, so there is one file per folder and never an old one.
  if (text.startsWith(`${mark}\n`)) return JSON.parse(text.slice(mark.length + 1));
  const objects = await build();
  const kept = `${mark}\n${JSON.stringify(objects)}`;
  await replaceFile(path, (temporary) => writeFile(temporary, kept)).catch(() => {});
  return objects;
}

const marks = new Map<string, Promise<string>>();

/** Hash of every file below the folder and of kubectl; taken once per process. */
function markOf(root: string): Promise<string> {
  let mark = marks.get(root);
  if (!mark) marks.set(root, mark = read(root));
  return mark;
}

async function read(root: string): Promise<string> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name)).sort();
  const contents = await Promise.all(files.map((file) => readFile(file)));
  const hash = createHash("sha256").update(await kubectlMark());
  files.forEach((file, index) => {
    hash.update(`${relative(root, file)} ${contents[index]!.length}\n`).update(contents[index]!);
  });
  return hash.digest("hex");
}

// The store of the laboratory's registry (CNCF distribution's layout of files), and the record of what was put into it.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isDigest } from "../../lib/core/image.ts";
import { replaceFile } from "../../lib/io/files.ts";

/** What is in a store, by name: the hash of what it was built from, the digest that was copied, or "unfinished". */
export type StoreRecord = Record<string, string>;

/** Reads the record of a store. */
export async function readRecord(store: string): Promise<StoreRecord> {
  return JSON.parse(await readFile(join(store, "built.json"), "utf8").catch(() => "{}"));
}

/** Replaces the record of a store. */
export function writeRecord(store: string, record: StoreRecord): Promise<void> {
  const text = JSON.stringify(record, null, 1);
  return replaceFile(join(store, "built.json"), (path) => writeFile(path, text));
}

/** Whether an image of the record is upstream's own. */
export function isCopied(stamp: string | undefined): boolean {
  return isDigest(stamp ?? "");
}

/** Where the registry has the bytes of a digest. */
export function blobPath(store: string, digest: string): string {
  const hex = digest.slice("sha256:".length);
  return join(store, "docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
}

/** Lets the name of an image mean the first of these manifests; its repository then has them and the blobs. */
export async function linkImage(
  store: string,
  image: string,
  { manifests, blobs }: { manifests: string[]; blobs: string[] },
): Promise<void> {
  const { repository, tag } = placeInStore(store, image);
  async function link(digest: string, ...folders: string[]) {
    const file = join(...folders, "link");
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, digest);
  }
  for (const blob of blobs) await link(blob, repository, "_layers", ...blob.split(":"));
  for (const one of manifests) {
    await link(one, repository, "_manifests/revisions", ...one.split(":"));
  }
  await link(manifests[0]!, tag, "index", ...manifests[0]!.split(":"));
  await link(manifests[0]!, tag, "current");
}

/** Where the registry has an image's repository and its tag. */
export function placeInStore(store: string, image: string) {
  const [, path, tag] = /^[^/]+\/(.+):([^:]+)$/.exec(image.split("@")[0]!)!;
  const repository = join(store, "docker/registry/v2/repositories", path!);
  return { repository, tag: join(repository, "_manifests/tags", tag!) };
}

// Pinned upstream releases: found by their sha256, parsed once, never edited.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { parseAllDocuments } from "yaml";
import lock from "../../manifests/upstream.lock.json" with { type: "json" };
import { type Cluster, flag } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf, prerequisiteError } from "../core/error.ts";
import { frozen, type Manifest } from "../core/object.ts";
import { cacheDir, replaceFile } from "../io/files.ts";
import { Report } from "../io/report.ts";
import { download, DownloadError, leavesOthers, remedyOf } from "./download.ts";

export type Say = (line: string) => void;

interface Bundle extends Omit<typeof lock.bundles[number], "module"> {
  module?: string; // PATH@VERSION, in Go, with the files by what follows the version in their addresses
}

/** `parsed`: sha256 of its objects as JSON, to which a parsed copy must hash. */
type PinnedFile = Bundle["files"][number];

export interface BundleOptions {
  say: Say;
  allowMissing?: boolean; // one that cannot be had is empty, and among the missingBundles
  bundles?: Bundle[]; // default: those of manifests/upstream.lock.json
  curl?: string; // default: the one on PATH
  /** Gives the folder of a bundle's Go module; default: its files come from their addresses alone. */
  moduleHome?: (module: string, say: Say) => Promise<string>;
}

const missing = new Set<string>();

/** Titles of the bundles that this run went on without ("Longhorn v1.12.1"). */
export function missingBundles(): string[] {
  return [...missing];
}

const loaded = new Map<string, Promise<Manifest[]>>();

/** {@link readBundle} once for all; it cannot be changed, and ALLOW_MISSING_BUNDLES says whether it may be missing. */
export function loadBundle(name: string, cluster: Cluster, options: Partial<BundleOptions> = {}) {
  const allowMissing = flag(cluster, "ALLOW_MISSING_BUNDLES"), say = new Report().say;
  const load = () => readBundle(name, { say, ...options, allowMissing }).then(frozen);
  return loaded.getOrInsertComputed(`${name} ${allowMissing}`, load);
}

/** The objects of a bundle; exit 9 when a file is not the pinned one, exit 3 when it cannot be had. */
export async function readBundle(name: string, given: Partial<BundleOptions> = {}) {
  const options = { say: () => {}, bundles: lock.bundles, ...given };
  const bundle = options.bundles.find((bundle) => bundle.name === name);
  if (!bundle) throw new Error(`manifests/upstream.lock.json has no bundle "${name}"`);
  for (const file of bundle.files) {
    const reasons = await obtain(file, bundle, options);
    if (reasons.length > 0) return leaveOut(bundle, options, reasons);
  }
  return (await Promise.all(bundle.files.map(objectsOf))).flat();
}

/** Puts a file into the cache, from the first source that has it; gives why none has. */
async function obtain(file: PinnedFile, bundle: Bundle, options: BundleOptions) {
  const { title, version, files, module } = bundle, { say, curl, moduleHome } = options;
  const { url, sha256 } = file, path = pathOf(file);
  if (existsSync(path)) return [];
  const mirror = process.env.UPSTREAM_MIRROR?.replace(/\/$/, ""); // a folder or an address
  const mirrored = mirror ? `${mirror}/${inMirror(file)}` : "";
  if (existsSync(mirrored)) {
    await fromFolder(mirrored, file);
    return [];
  }
  say(`  downloading ${basename(url)} of ${title} ${version}`);
  const sources = [mirrored, url].filter((from) => /^https?:\/\//.test(from)).map((from) => () =>
    download(from, path, { sha256, curl, plainHttp: from === mirrored })
  );
  if (module && moduleHome) {
    sources.push(async () => {
      say(`  taking ${title} ${version} from the Go module ${module}`);
      const home = await moduleHome(module, say);
      for (const one of files) await fromFolder(join(home, one.url.split(`/${version}/`)[1]!), one);
    });
  }
  const reasons: DeployError[] = [];
  for (const source of sources) {
    try {
      await source();
      return [];
    } catch (error) {
      if (!leavesOthers(error)) throw error;
      say(`  ${[error.message, ...error.where].join(": ")}`);
      reasons.push(error);
    }
  }
  return reasons;
}

function leaveOut(bundle: Bundle, { allowMissing, say }: BundleOptions, reasons: DeployError[]) {
  const { title, version, files: [file] } = bundle;
  const name = `${title} ${version}`;
  const cause = reasons.findLast((reason) => reason instanceof DownloadError);
  if (!cause) throw reasons[0]; // the disk refuses
  if (allowMissing) {
    missing.add(name);
    say(`  going on without ${name}: ${cause.message}, ${cause.where[0] ?? ""}`);
    return [];
  }
  const { host } = new URL(file!.url);
  const where = reasons.flatMap((one) => [one.message, ...one.where.map((line) => `  ${line}`)]);
  throw new DeployError(`Cannot get ${name}`, {
    exitCode: cause.exitCode,
    where,
    fix: remedyOf(where.join("\n")) ??
      `let this machine reach ${host}, or set UPSTREAM_MIRROR to a folder or address that has ` +
        inMirror(file!),
    cause,
  });
}

function pathOf({ sha256 }: PinnedFile): string {
  return join(cacheDir(), "bundles", `${sha256}.yaml`);
}

function inMirror({ url }: PinnedFile): string {
  return url.replace("https://", "");
}

async function fromFolder(source: string, file: PinnedFile): Promise<void> {
  await replaceFile(pathOf(file), async (temporary) => {
    const content = await Deno.readFile(source).catch((error) => {
      throw prerequisiteError(`Cannot read ${basename(source)}`, { where: messageOf(error) });
    });
    check(content, file, source);
    await writeFile(temporary, content);
  });
}

function check(content: Uint8Array, { sha256, bytes }: PinnedFile, path: string): void {
  const actual = digestOf(content);
  if (actual === sha256) return;
  throw new DeployError(`Cannot use "${path}": it is not the pinned file`, {
    exitCode: ExitCode.integrity,
    where: [
      `sha256 expected ${sha256}, actual ${actual}`,
      `bytes expected ${bytes}, actual ${content.length}`,
    ],
    fix: "remove it and run again, or put the file of the release there",
  });
}

/** The file's objects; parsing 5 MB takes more than a second, so the result is kept as JSON. */
async function objectsOf(file: PinnedFile): Promise<Manifest[]> {
  const path = pathOf(file), kept = `${path}.json`;
  const content = await readFile(path);
  check(content, file, path);
  const before = await readFile(kept, "utf8").catch(() => "");
  // Who can write to the cache could change any mark of ours there, too.
  if (digestOf(before) === file.parsed) return JSON.parse(before);
  const objects = [parseAllDocuments(content.toString())].flat()
    .flatMap((document) => document.toJS() ?? [])
    .flatMap((object) => object.items ?? object);
  const json = JSON.stringify(objects);
  if (digestOf(json) !== file.parsed) {
    throw new Error(`${basename(file.url)} is not read as it was pinned`);
  }
  await replaceFile(kept, (temporary) => writeFile(temporary, json));
  return objects;
}

/** sha256 of what is small enough to be read at once: a stream of it takes three times the CPU. */
function digestOf(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

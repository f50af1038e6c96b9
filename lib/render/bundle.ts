// Pinned upstream releases: found by their sha256, parsed once, never edited.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { copyFile, readFile, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { parseAllDocuments } from "yaml";
import { cacheDir, replaceFile } from "../io/files.ts";
import { type Cluster, flag, projectPath } from "../core/cluster.ts";
import { download, DownloadError, remedyOf } from "./download.ts";
import { DeployError, ExitCode, messageOf } from "../core/error.ts";
import { frozen, type Manifest } from "../core/object.ts";
import { Report } from "../io/report.ts";

/** One file of a release. */
interface PinnedFile {
  url: string;
  bytes: number;
  sha256: string;
  /** sha256 of its objects as JSON: what a parsed copy must hash to. */
  parsed: string;
}

/** Tells of work that takes long, one line a call. */
export type Say = (line: string) => void;

/** An entry of manifests/upstream.lock.json. */
interface Bundle {
  name: string;
  /** For people. */
  title: string;
  version: string;
  files: PinnedFile[];
  /** Go module (PATH@VERSION) that has the same files, at the paths behind the version in their addresses. */
  module?: string;
}

export interface BundleOptions {
  /** Gets a line when something takes long or is left out. */
  say?: Say;
  /** true: a bundle that cannot be had is empty and remembered in {@link missingBundles}. */
  allowMissing?: boolean;
  /** Instead of manifests/upstream.lock.json. */
  lockFile?: string;
  curl?: string; // default: the one on PATH
  /** Gives the folder of a bundle's Go module; default: its files come from their addresses alone. */
  moduleHome?: (module: string, say: Say) => Promise<string>;
}

const missing = new Set<string>();

/** Titles of the bundles that this run went on without ("Longhorn v1.12.1"). */
export function missingBundles(): string[] {
  return [...missing];
}

// All clusters of a run want the same bundles.
const loaded = new Map<string, Promise<Manifest[]>>();

/**
 * The objects of a pinned bundle, which cannot be changed; ALLOW_MISSING_BUNDLES of the cluster decides
 * whether a bundle that cannot be had stops the run. Throws as {@link readBundle} does.
 */
export function loadBundle(
  name: string,
  cluster: Cluster,
  { say = new Report().say, ...options }: BundleOptions = {},
): Promise<Manifest[]> {
  const allowMissing = flag(cluster, "ALLOW_MISSING_BUNDLES");
  return loaded.getOrInsertComputed(
    `${name} ${allowMissing}`,
    () => readBundle(name, { ...options, allowMissing, say }).then(frozen),
  );
}

/**
 * Reads a bundle from the cache, the mirror, the network, or the Go module that has its files.
 * @throws {DeployError} exit 9 when a file is not the pinned one, exit 3 when it cannot be had.
 */
export async function readBundle(name: string, options: BundleOptions = {}): Promise<Manifest[]> {
  const { say = () => {}, lockFile = projectPath("manifests/upstream.lock.json") } = options;
  const { bundles }: { bundles: Bundle[] } = JSON.parse(await readFile(lockFile, "utf8"));
  const bundle = bundles.find((bundle) => bundle.name === name);
  if (!bundle) throw new Error(`${basename(lockFile)} has no bundle "${name}"`);
  const { module, title, version } = bundle;
  const files: Manifest[][] = [];
  try {
    for (const file of bundle.files) {
      if (!await fromNearby(file)) await fromNetwork(file, bundle, say, options.curl);
      files.push(await objectsOf(file));
    }
    return files.flat();
  } catch (error) {
    if (!(error instanceof DownloadError) || error.reason === "corrupt") throw error;
    if (!module || !options.moduleHome) return leaveOut(bundle, error, options);
    try {
      say(`  taking ${title} ${version} from the Go module ${module}`);
      const home = await options.moduleHome(module, say);
      for (const file of bundle.files) {
        await fromFolder(join(home, file.url.split(`/${version}/`)[1]!), file);
      }
    } catch (failed) {
      if (!(failed instanceof DeployError) || failed.exitCode === ExitCode.integrity) throw failed;
      return leaveOut(bundle, error, options, failed);
    }
    return await readBundle(name, { ...options, moduleHome: undefined });
  }
}

function leaveOut(
  { title, version, files }: Bundle,
  error: DownloadError,
  { allowMissing, say = () => {} }: BundleOptions,
  failed?: DeployError,
): Manifest[] {
  const reasons = [error, ...failed ? [failed] : []], name = `${title} ${version}`;
  if (allowMissing) {
    missing.add(name);
    say(`  going on without ${name}: ${error.message}, ${error.where[0] ?? ""}`);
    return [];
  }
  const { host } = new URL(files[0]!.url);
  const where = reasons.flatMap(({ message, where }) => [
    message,
    ...where.map((line) => `  ${line}`),
  ]);
  throw new DeployError(`Cannot get ${name}`, {
    exitCode: error.exitCode,
    where,
    fix: remedyOf(where.join("\n")) ??
      `let this machine reach ${host}, or set UPSTREAM_MIRROR to a folder or address that has ` +
        inMirror(files[0]!),
    cause: error,
  });
}

function pathOf({ sha256 }: PinnedFile): string {
  return join(cacheDir(), "bundles", `${sha256}.yaml`);
}

/** UPSTREAM_MIRROR, tried before the network: an address or a folder, laid out HOST/PATH. */
function mirror(): { address?: string; folder?: string } {
  const place = process.env.UPSTREAM_MIRROR;
  return /^https?:\/\//.test(place ?? "") ? { address: place } : { folder: place };
}

function inMirror({ url }: PinnedFile): string {
  return url.replace("https://", "");
}

/** Whether the file is in the cache, if need be after taking it from a mirror folder. */
async function fromNearby(file: PinnedFile): Promise<boolean> {
  if (existsSync(pathOf(file))) return true;
  const { folder } = mirror();
  const source = folder && join(folder, inMirror(file));
  if (!source || !existsSync(source)) return false;
  await fromFolder(source, file);
  return true;
}

async function fromFolder(source: string, file: PinnedFile): Promise<void> {
  await replaceFile(pathOf(file), async (temporary) => {
    await copyFile(source, temporary).catch((error) => {
      throw new DeployError(`Cannot read ${basename(source)}`, {
        exitCode: ExitCode.prerequisite,
        where: messageOf(error),
      });
    });
    await check(temporary, file, source);
  });
}

async function fromNetwork(file: PinnedFile, { title, version }: Bundle, say: Say, curl?: string) {
  const { sha256 } = file, { address } = mirror();
  say(`  downloading ${basename(file.url)} of ${title} ${version}`);
  if (address) {
    const url = `${address.replace(/\/$/, "")}/${inMirror(file)}`;
    try {
      return await download(url, pathOf(file), { sha256, curl, plainHttp: true });
    } catch (error) {
      if (!(error instanceof DownloadError) || error.reason === "corrupt") throw error;
      say(`  ${error.message}: ${error.where[0]}`);
      return await download(file.url, pathOf(file), { sha256, curl }).catch((other) => {
        throw remedyOf(error.where.join("\n")) && other.reason === "unreachable" ? error : other;
      });
    }
  }
  await download(file.url, pathOf(file), { sha256, curl });
}

async function check(path: string, { sha256, bytes }: PinnedFile, name = path): Promise<void> {
  const actual = digestOf(readFileSync(path));
  if (actual === sha256) return;
  throw new DeployError(`Cannot use "${name}": it is not the pinned file`, {
    exitCode: ExitCode.integrity,
    where: [
      `sha256 expected ${sha256}, actual ${actual}`,
      `bytes expected ${bytes}, actual ${(await stat(path)).size}`,
    ],
    fix: `remove it and run again, or put the file of the release there`,
  });
}

/** The file's objects; parsing 5 MB takes more than a second, so the result is kept as JSON. */
async function objectsOf(file: PinnedFile): Promise<Manifest[]> {
  const path = pathOf(file);
  await check(path, file);
  const kept = `${path}.json`;
  const before = await readFile(kept, "utf8").catch(() => "");
  // Who can write to the cache could change any mark of ours there, too.
  if (digestOf(before) === file.parsed) return JSON.parse(before);
  const documents = [parseAllDocuments(await readFile(path, "utf8"))].flat();
  const objects = documents.flatMap((document) => document.toJS() ?? [])
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

// Copies one image from a registry into a store, byte for byte, so that every digest stays upstream's.
import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError, ExitCode, messageOf } from "../../lib/core/error.ts";
import { isDigest } from "../../lib/core/image.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { replaceFile, sha256Of } from "../../lib/io/files.ts";
import { remedyOf } from "../../lib/render/download.ts";
import { MANIFEST_KINDS, refusal, type Repository } from "../../scripts/operate/registry/client.ts";
import { blobPath, linkImage } from "./store.ts";

export interface Copying {
  image: string;
  store: string;
  say: (line: string) => void;
  /** Seconds that a line may be silent. */
  silence?: number;
  /** Seconds before the second try in vain; longer before each one more. */
  pause?: number;
}

/** What a manifest or an index names. */
interface Part {
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
}

/**
 * Gives the digest of what the image's name means there: of its index, where that has several architectures, of which
 * this machine's is copied. Gives nothing, and says why, where it is not to be had.
 * @throws {DeployError} exit 5 where the registry falls silent, 8 where it asks to wait or is broken, 9 for bytes that
 * are not what their digest says.
 */
export async function copyImage(from: Repository, copying: Copying): Promise<string | undefined> {
  const { image, store, say } = copying;
  const top = await manifestOf(from, image.split("@")[1] ?? from.tag, copying);
  const parts: Part[] = top?.content.manifests ?? [];
  const own = parts.find(({ platform }) =>
    platform?.os === "linux" && platform.architecture === PLATFORM.arch
  );
  const manifest = own ? await manifestOf(from, own.digest, copying) : top;
  if (!top || !manifest) return;
  const { config, layers }: { config?: Part; layers?: Part[] } = manifest.content;
  const blobs = new Map([config!, ...layers ?? []].map((part) => [part?.digest, part]));
  // Digests become paths.
  if (!layers || ![...blobs.keys()].every(isDigest)) {
    return void say(`  ${image}: ${from.host} has none for ${PLATFORM.arch}`);
  }
  const size = [...blobs.values()].reduce((sum, { size }) => sum + size, 0);
  say(`  copying ${image} from ${from.host}: ${Math.ceil(size / 1e6)} MB`);
  for (const blob of blobs.values()) await copyBlob(from, blob, copying);
  const manifests = own ? [top, manifest] : [top];
  for (const { digest, bytes } of manifests) {
    await replaceFile(blobPath(store, digest), (path) => writeFile(path, bytes));
  }
  const digests = manifests.map(({ digest }) => digest);
  await linkImage(store, image, { manifests: digests, blobs: [...blobs.keys()] });
  return top.digest;
}

async function manifestOf(from: Repository, reference: string, { image, say }: Copying) {
  const name = `manifests/${reference}`, answer = await from.ask(name);
  const bytes = await answer.bytes();
  const kind = answer.headers.get("content-type")?.split(";")[0] ?? "";
  if (answer.ok ? !MANIFEST_KINDS.includes(kind) : [401, 403, 404].includes(answer.status)) {
    const why = answer.ok ? `a page of ${kind}` : `HTTP ${answer.status}`;
    return void say(`  ${image}: ${from.host} does not give it (${why})`);
  }
  if (!answer.ok) throw refusal(`Cannot copy ${image}`, from.urlOf(name), from.host, answer.status);
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const wanted = isDigest(reference) ? reference : answer.headers.get("docker-content-digest");
  if (wanted && wanted !== digest) throw corrupt(image, from.urlOf(name), wanted, digest);
  return { digest, bytes, content: JSON.parse(new TextDecoder().decode(bytes)) };
}

/** Puts bytes into their place, unless they are there; goes on where a line, or a run before, was cut. */
async function copyBlob(
  from: Repository,
  { digest, size }: Part,
  { image, store, say, silence = 30, pause = 2 }: Copying,
): Promise<void> {
  const place = blobPath(store, digest), name = `blobs/${digest}`;
  if (existsSync(place)) return;
  const file = join(store, "partial", digest.replace(":", "-"));
  const there = () => statSync(file, { throwIfNoEntry: false })?.size ?? -1;
  await mkdir(dirname(file), { recursive: true });
  for (let vain = 0, most = there(), at = most; at < size;) {
    const why = await append(from, name, { file, at, silence }).then(() => "cut", causeOf);
    at = there();
    if (at >= size) break;
    // Without ranges it begins anew each time.
    vain = at > most ? 0 : vain + 1;
    most = Math.max(at, most);
    if (vain > 3) {
      throw new DeployError(`Cannot copy ${image}: ${from.host} sends no more`, {
        exitCode: ExitCode.unreachable,
        where: [`${from.urlOf(name)}: ${at} of ${size} bytes`, why],
        fix: remedyOf(why) ?? "run it again: it goes on from there",
      });
    }
    say(
      `    ${Math.max(0, Math.floor(at / 1e6))} of ${Math.ceil(size / 1e6)} MB, going on: ${why}`,
    );
    await sleep(vain * pause * 1000);
  }
  const actual = `sha256:${await sha256Of(file)}`;
  if (actual === digest) {
    await mkdir(dirname(place), { recursive: true });
    return await rename(file, place);
  }
  await rm(file);
  throw corrupt(image, from.urlOf(name), digest, actual);
}

/** Adds to a file what comes after its first `at` bytes. */
async function append(
  from: Repository,
  name: string,
  { file, at, silence }: { file: string; at: number; silence: number },
): Promise<void> {
  const silent = new AbortController();
  const abort = () => silent.abort(new Error(`silent for ${silence} s`));
  const timer = setTimeout(abort, silence * 1000);
  const range = at > 0 && { range: `bytes=${at}-` };
  const headers = { accept: "*/*", "accept-encoding": "identity", ...range };
  try {
    const answer = await from.ask(name, { signal: silent.signal, headers });
    if (!answer.ok) {
      await answer.body?.cancel();
      throw new Error(`HTTP ${answer.status}`);
    }
    const goesOn = answer.status === 206;
    const open = { create: true, write: true, append: goesOn, truncate: !goesOn };
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, next) {
        timer.refresh();
        next.enqueue(chunk);
      },
    });
    await answer.body!.pipeThrough(watch).pipeTo((await Deno.open(file, open)).writable);
  } finally {
    clearTimeout(timer);
  }
}

/** The first cause of what went wrong, without what it led to. */
export function causeOf(error: unknown): string {
  const told = error instanceof DeployError ? error.where[0] : undefined;
  return (told ?? messageOf((error as Error).cause ?? error)).split(": ").at(-1)!;
}

function corrupt(image: string, url: string, wanted: string, actual: string): DeployError {
  return new DeployError(`Cannot copy ${image}: what came is not what its digest says`, {
    exitCode: ExitCode.integrity,
    where: [url, `expected ${wanted}, actual ${actual}`],
    fix: "run it again: what came is forgotten; a proxy on the way may change what it passes on",
  });
}

// Downloads that are checked before anyone sees them: https only, known sha256, temp then rename.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { replaceFile } from "../io/files.ts";
import { DeployError, ExitCode } from "../core/error.ts";

export interface DownloadOptions {
  /** What the file must hash to, in hex. */
  sha256: string;
  /** Seconds until the first byte of an answer, then between two pieces of it. */
  seconds?: number;
  /** true: http is accepted too (a mirror of the operator's own; the sha256 is still checked). */
  plainHttp?: boolean;
  fetch?: typeof fetch;
}

/**
 * A download that did not come about. `unreachable`: no answer, another source may do.
 * `refused`: an answer that is no file. `corrupt`: a file that is not the pinned one; never go on.
 */
export class DownloadError extends DeployError {
  readonly reason: "unreachable" | "refused" | "corrupt";

  constructor(reason: DownloadError["reason"], url: string, where: string[], cause?: unknown) {
    super(`Cannot download "${url}"`, {
      exitCode: reason === "unreachable" ? ExitCode.prerequisite : ExitCode.integrity,
      where,
      fix: reason === "unreachable"
        ? `let this machine reach ${new URL(url).host}`
        : "open the address in a browser: a proxy or login page may answer in its place",
      cause,
    });
    this.reason = reason;
  }
}

/** Hosts that gave no answer in this run: a second wait would end the same way. */
const deadHosts = new Set<string>();

/**
 * Downloads `url` to `path`, which stays as it was unless the whole file came and its sha256 fits.
 * @throws {DownloadError} exit 3 when the host cannot be reached; exit 9 with URL, status and first
 * bytes when what came is not the file.
 */
export async function download(
  url: string,
  path: string,
  options: DownloadOptions,
): Promise<void> {
  await replaceFile(path, async (temporary) => {
    const answer = await get(url, options);
    const hash = createHash("sha256");
    const file = await open(temporary, "w");
    let size = 0, start = new Uint8Array();
    try {
      for await (const chunk of answer.body) {
        if (start.length < FIRST_BYTES) start = new Uint8Array([...start, ...chunk.slice(0, 200)]);
        hash.update(chunk);
        size += chunk.length;
        await file.write(chunk);
      }
    } finally {
      await file.close();
    }
    const actual = hash.digest("hex");
    if (actual === options.sha256) return;
    throw new DownloadError("corrupt", url, [
      `status ${answer.status}, ${size} bytes, first bytes: ${shown(start)}`,
      `sha256 expected ${options.sha256}, actual ${actual}; "${basename(path)}" is as it was`,
    ]);
  });
}

/** Downloads a short text, such as a file of checksums. Throws as {@link download} does. */
export async function downloadText(
  url: string,
  options: Omit<DownloadOptions, "sha256"> = {},
): Promise<string> {
  const answer = await get(url, options);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  return await new Blob(chunks).text();
}

const FIRST_BYTES = 60;

function shown(bytes: Uint8Array): string {
  return JSON.stringify(new TextDecoder().decode(bytes.slice(0, FIRST_BYTES)));
}

interface Answer {
  status: number;
  body: AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** The answer's body with a deadline on each wait; redirects are followed here to see each hop. */
async function get(
  url: string,
  { seconds = 5, plainHttp = false, fetch = globalThis.fetch }: Omit<DownloadOptions, "sha256">,
): Promise<Answer> {
  let address = url;
  for (let hop = 0; hop < 6; hop++) {
    const { protocol, host } = new URL(address);
    if (protocol !== "https:" && !(plainHttp && protocol === "http:")) {
      throw new DownloadError("refused", url, [`leads to "${address}", which is not https`]);
    }
    if (deadHosts.has(host)) {
      throw new DownloadError("unreachable", url, [`${host} did not answer before in this run`]);
    }
    const deadline = new Deadline(seconds);
    const response = await fetch(address, { redirect: "manual", signal: deadline.signal })
      .catch((error) => {
        deadHosts.add(host);
        throw new DownloadError("unreachable", url, [`${host}: ${reasonOf(error)}`], error);
      }).finally(() => deadline.stop());
    const target = response.headers.get("location");
    if (response.status >= 300 && response.status < 400 && target) {
      await response.body?.cancel();
      address = new URL(target, address).href;
      continue;
    }
    const body = pieces(url, response, deadline);
    if (response.ok) return { status: response.status, body };
    const first = (await body[Symbol.asyncIterator]().next()).value ?? new Uint8Array();
    await response.body?.cancel().catch(() => {});
    throw new DownloadError("refused", url, [
      `status ${response.status}, first bytes: ${shown(first)}`,
    ]);
  }
  throw new DownloadError("refused", url, ["more than 5 redirects"]);
}

async function* pieces(
  url: string,
  response: Response,
  deadline: Deadline,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    deadline.start();
    for await (const chunk of response.body ?? []) {
      deadline.stop();
      yield chunk;
      deadline.start();
    }
  } catch (error) {
    throw new DownloadError("unreachable", url, [`broke off: ${reasonOf(error)}`], error);
  } finally {
    deadline.stop();
  }
}

/** Aborts its signal when a wait takes too long. */
class Deadline {
  readonly #seconds: number;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.start();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  start(): void {
    const late = new Error(`no answer within ${this.#seconds} s`);
    this.#timer = setTimeout(() => this.#controller.abort(late), this.#seconds * 1000);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** The innermost cause tells what happened: "dns error: ...", "no answer within 5 s". */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return reasonOf(error.cause);
  return error.message.split("): ").at(-1)!;
}

/**
 * Finds a file's sha256 in what a project publishes: a bare sum, `sha256sum` lines, or GitHub's
 * description of a release (whose assets carry a digest). undefined when it is not there.
 */
export function sumOf(file: string, published: string): string | undefined {
  const bare = /^\s*([0-9a-f]{64})\s*$/.exec(published);
  if (bare) return bare[1];
  const line = published.split("\n").find((line) => line.trim().split(/\s+\*?/)[1] === file);
  const named = line && /^[0-9a-f]{64}/.exec(line.trim());
  if (named) return named[0];
  try {
    const release: { assets?: { name: string; digest?: string }[] } = JSON.parse(published);
    const asset = release.assets?.find(({ name }) => name === file);
    return /^sha256:([0-9a-f]{64})$/.exec(asset?.digest ?? "")?.[1];
  } catch {
    return undefined;
  }
}

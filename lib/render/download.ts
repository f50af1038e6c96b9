// Downloads that are checked before anyone sees them: by curl, https only, known sha256, temp then rename.
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { $, ProcessOutput } from "zx";
import { replaceFile, sha256Of, temporaryFolder } from "../io/files.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { parsedJson } from "../core/object.ts";

interface DownloadOptions {
  sha256: string;
  seconds?: number; // until a connection stands, and that an answer may then stand still
  plainHttp?: boolean; // for a mirror of the operator's own; the sha256 is still checked
  curl?: string; // default: the one on PATH
}

/** `unreachable`: no answer, another source may do; `refused`: an answer that is no file; `corrupt`: another file. */
export class DownloadError extends DeployError {
  constructor(
    readonly reason: "unreachable" | "refused" | "corrupt",
    url: string,
    where: string[],
  ) {
    const isSilent = reason === "unreachable";
    super(`Cannot download "${url.replace(/\/\/[^/@]*@/, "//***@")}"`, {
      exitCode: isSilent ? ExitCode.prerequisite : ExitCode.integrity,
      where,
      fix: remedyOf(where.join("\n")) ??
        (isSilent
          ? `let this machine reach ${new URL(url).host}`
          : "open the address in a browser: a proxy or login page may answer in its place"),
    });
  }
}

/** Fixes, and words that ask for them. */
const REMEDIES: Record<string, RegExp> = {
  "make room there, or set TMC_CACHE to a folder on another disk (Go's own: GOCACHE, GOMODCACHE, GOTMPDIR)":
    /no space left|ENOSPC|quota exceeded|failure writing output|error on write|wrote only/i,
  "the proxy wants a login: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT in the environment (http_proxy for an address without TLS)":
    /(status|response|error:) 407|Proxy Authentication Required/i,
  "let this machine trust what its proxy signs with: SSL_CERT_FILE and CURL_CA_BUNDLE, PIP_CERT for pip":
    /self.signed certificate|unknown authority|local issuer certificate/i,
  "install curl": /curl is not on PATH/,
};

/** The fix for what curl, go or pip said where the disk or a proxy is at fault; undefined for all else. */
export function remedyOf(said: string): string | undefined {
  return Object.entries(REMEDIES).find(([, words]) => words.test(said))?.[0];
}

/** Hosts that gave no answer in this run: a second wait would end the same way. */
const deadHosts = new Set<string>();

/** Downloads to `path`, which stays as it was unless the file has that sha256; exit 3: no answer, 9: another file. */
export async function download(url: string, path: string, { sha256, ...options }: DownloadOptions) {
  await replaceFile(path, async (temporary) => {
    const status = await get(url, temporary, options);
    const actual = await sha256Of(temporary);
    if (actual === sha256) return;
    const { size } = await stat(temporary);
    throw new DownloadError("corrupt", url, [
      `status ${status}, ${size} bytes, first bytes: ${await beginning(temporary)}`,
      `sha256 expected ${sha256}, actual ${actual}; "${basename(path)}" is as it was`,
    ]);
  });
}

async function beginning(path: string): Promise<string> {
  return JSON.stringify((await readFile(path)).subarray(0, 60).toString());
}

// Exit codes of curl: a protocol that is not allowed, too many redirects; no address, connection, answer or TLS.
const REFUSED = [1, 47];
const DEAD = [5, 6, 7, 28, 35];

async function get(url: string, path: string, options: Omit<DownloadOptions, "sha256">) {
  const { seconds = 5, plainHttp = false, curl = "curl" } = options;
  const { host } = new URL(url);
  if (deadHosts.has(host)) {
    throw new DownloadError("unreachable", url, [`${host} did not answer before in this run`]);
  }
  await writeFile(path, "");
  const protocols = plainHttp ? "=http,https" : "=https";
  const flags = [
    // Nobody's ~/.curlrc.
    ...["--disable", "--silent", "--show-error", "--location", "--max-redirs", "5"],
    ...["--proto", protocols, "--proto-redir", protocols, "--output", path],
    ...["--connect-timeout", `${seconds}`, "--speed-time", `${seconds}`, "--speed-limit", "1"],
    ...["--write-out", "%{http_code}", "--config", "-"],
  ];
  // On stdin: the address of a mirror may hold a password.
  const input = `url = ${JSON.stringify(url)}\n`;
  const running = $({ quiet: true, nothrow: true, input })`exec ${curl} ${flags}`;
  // One that ends before it has read the address: its exit code says why.
  running.child?.stdin?.on("error", () => {});
  const { exitCode, stdout, stderr } = await running;
  const status = Number(stdout);
  if (exitCode === 0 && status >= 200 && status < 300) return status;
  if (exitCode === 0) {
    const first = await beginning(path);
    // A proxy's answer to plain http; with TLS curl says so itself.
    const reason = status === 407 ? "unreachable" : "refused";
    throw new DownloadError(reason, url, [`status ${status}, first bytes: ${first}`]);
  }
  if (exitCode === 127) throw new DownloadError("unreachable", url, ["curl is not on PATH"]);
  const said = stderr!.trim().replace(/^curl: \(\d+\) /, "") || `curl ended with ${exitCode}`;
  if (REFUSED.includes(exitCode!)) throw new DownloadError("refused", url, [said]);
  if (status === 0 && DEAD.includes(exitCode!)) deadHosts.add(host);
  throw new DownloadError("unreachable", url, [`${host}: ${said}`]);
}

/** What the checksums that a project publishes at `sums` say of a file. Throws as {@link download} does. */
export async function publishedSum(url: string, sums: string): Promise<string> {
  const file = basename(new URL(url).pathname);
  const folder = await temporaryFolder("download-"), path = join(folder, "sums");
  try {
    await get(sums, path, {});
    const sum = sumOf(file, await readFile(path, "utf8"));
    if (sum) return sum;
  } finally {
    await rm(folder, { recursive: true });
  }
  throw new DownloadError("refused", sums, [`names no sha256 of ${file}`]);
}

/** A file's sha256 in what a project publishes: a bare sum, `sha256sum` lines, or GitHub's description of a release. */
export function sumOf(file: string, published: string): string | undefined {
  const lines = published.trim().split("\n").map((line) => line.trim().split(/\s+\*?/));
  const [sum] = lines.find(([, name]) => name === file) ??
    (lines.flat().length === 1 ? lines[0]! : []);
  if (sum && /^[0-9a-f]{64}$/.test(sum)) return sum;
  const release: { assets?: { name: string; digest?: string }[] } = parsedJson(published) ?? {};
  const asset = release.assets?.find(({ name }) => name === file);
  return /^sha256:([0-9a-f]{64})$/.exec(asset?.digest ?? "")?.[1];
}

/** Whether another source may do: of no answer or no file, but not of another file than the pinned one. */
export function leavesOthers(error: unknown): error is DeployError {
  return error instanceof DownloadError && error.reason === "refused" ||
    error instanceof DeployError && error.exitCode === ExitCode.prerequisite;
}

/** What the first source gives that has it. Throws exit 3 with `reasons` and what each said; 9 for a wrong file. */
export async function firstOf<T>(
  what: string,
  sources: (() => Promise<T>)[],
  fix: string,
  reasons: string[] = [],
): Promise<T> {
  const said = [...reasons];
  for (const source of sources) {
    try {
      return await source();
    } catch (error) {
      if (error instanceof ProcessOutput) { // of tar, cp or pip
        said.push(error.stderr.trim().split("\n").slice(-3).join("\n"));
        continue;
      }
      if (!leavesOthers(error)) throw error;
      said.push([error.message, ...error.where].join("\n"));
      if (error.fix) said.push(`  ${error.fix}`);
    }
  }
  const exitCode = ExitCode.prerequisite;
  throw new DeployError(what, { exitCode, where: said, fix: remedyOf(said.join("\n")) ?? fix });
}

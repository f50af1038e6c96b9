// A local server that plays the https hosts of releases, and a cache folder of its own.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { which } from "zx";
import { DeployError } from "../../lib/core/error.ts";
import { pem } from "./s3.ts";

export interface Site {
  /** A curl to which every https host leads to the server; the first on PATH, too. */
  curl: string;
  /** Plain address of the server. */
  address: string;
  /** Addresses that were asked for, in order. */
  asked: string[];
}

/** Runs `test` with a temporary folder as TMC_CACHE and a site whose pages are `pages`, by path. */
export async function withSite(
  pages: Record<string, BodyInit | (() => Response | Promise<Response>)>,
  test: (site: Site, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tmc-test-"));
  const names = ["TMC_CACHE", "UPSTREAM_MIRROR", "PATH"];
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  Deno.env.set("TMC_CACHE", join(folder, "cache"));
  Deno.env.delete("UPSTREAM_MIRROR");
  const asked: string[] = [];
  const answer = (request: Request) => {
    asked.push(request.url);
    const page = pages[new URL(request.url).pathname];
    if (page === undefined) return new Response("<html>no such page</html>", { status: 404 });
    return typeof page === "function" ? page() : new Response(page);
  };
  const where = { port: 0, hostname: "127.0.0.1", onListen() {} };
  const plain = Deno.serve(where, answer);
  const secure = Deno.serve({ ...where, cert: pem("leaf.pem"), key: pem("leaf.key") }, answer);
  const own = `127.0.0.1:${plain.addr.port}`;
  const lead = `--connect-to ${own}:${own} --connect-to ::127.0.0.1:${secure.addr.port}`;
  const tools = await mkdtemp(join(tmpdir(), "tmc-curl-"));
  const curl = await program(tools, `exec ${await which("curl")} "$@" --insecure ${lead}`);
  Deno.env.set("PATH", `${tools}:${Deno.env.get("PATH")}`);
  const site: Site = { curl, address: `http://${own}`, asked };
  try {
    await test(site, folder);
  } finally {
    await Promise.all([plain.shutdown(), secure.shutdown()]);
    await rm(tools, { recursive: true });
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
    await rm(folder, { recursive: true });
  }
}

/** A curl without a network; `counted` tells how often it was asked. */
export async function offlineCurl(
  folder: string,
): Promise<{ curl: string; counted: () => number }> {
  const words = "curl: (6) Could not resolve host";
  const tools = await mkdtemp(join(folder, "curl-")), count = join(tools, "count");
  const curl = await program(tools, `echo x >>${count}; echo "${words}" >&2; exit 6`);
  return { curl, counted: () => readFileSync(count, "utf8").length / 2 };
}

async function program(folder: string, line: string): Promise<string> {
  const path = join(folder, "curl");
  await writeFile(path, `#!/bin/bash\n${line}\n`, { mode: 0o700 });
  return path;
}

/** Hex sha256 of a text. */
export function sha256(text: string | Uint8Array): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The DeployError that a promise must end with. */
export function rejected(promise: Promise<unknown>): Promise<DeployError> {
  return promise.then(() => assert.fail("did not throw"), (error) => {
    assert.ok(error instanceof DeployError, String(error));
    return error;
  });
}

// A local server that plays the https hosts of releases, and a cache folder of its own.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeployError } from "../../lib/core/error.ts";

export interface Site {
  /** For {@link DownloadOptions.fetch}: every https host leads to the server. */
  fetch: typeof fetch;
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
  const before = { cache: Deno.env.get("TMC_CACHE"), path: Deno.env.get("PATH")! };
  Deno.env.set("TMC_CACHE", join(folder, "cache"));
  Deno.env.delete("UPSTREAM_MIRROR");
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const page = pages[new URL(request.url).pathname];
    if (page === undefined) return new Response("<html>no such page</html>", { status: 404 });
    return typeof page === "function" ? page() : new Response(page);
  });
  const address = `http://127.0.0.1:${server.addr.port}`;
  const asked: string[] = [];
  const site: Site = {
    address,
    asked,
    fetch: (input, init) => {
      const url = new URL(String(input));
      asked.push(url.href);
      return fetch(`${address}${url.pathname}`, init);
    },
  };
  try {
    await test(site, folder);
  } finally {
    await server.shutdown();
    if (before.cache === undefined) Deno.env.delete("TMC_CACHE");
    else Deno.env.set("TMC_CACHE", before.cache);
    Deno.env.set("PATH", before.path);
    await rm(folder, { recursive: true });
  }
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

import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { download, DownloadError, sumOf } from "../../../lib/render/download.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { offlineCurl, sha256, withSite } from "../../support/download_fixture.ts";

const GOOD = "kind: Namespace\n";
const URL_ = "https://release.test/file.yaml";
const LOGIN = "<html><title>Please log in</title></html>";

/** Downloads over an existing file; gives the failure and checks that the old file is as it was. */
async function failure(
  answer: () => Response | Promise<Response>,
  seconds = 5,
): Promise<DownloadError> {
  let caught: unknown;
  await withSite({ "/file.yaml": answer }, async ({ curl }, folder) => {
    const path = join(folder, "file.yaml");
    await writeFile(path, "old");
    caught = await download(URL_, path, { sha256: sha256(GOOD), curl, seconds })
      .catch((error) => error);
    assert.equal(await readFile(path, "utf8"), "old");
    assert.deepEqual(await readdir(folder), ["file.yaml"]);
  });
  assert.ok(caught instanceof DownloadError, String(caught));
  return caught;
}

const REFUSED: [what: string, answer: () => Response, words: RegExp][] = [
  ["an HTML page instead of the file", () => new Response(LOGIN), /status 200.*"<html><title>Plea/],
  ["an HTML error page", () => new Response(LOGIN, { status: 503 }), /status 503.*"<html><title>/],
  ["0 bytes", () => new Response(""), /status 200, 0 bytes, first bytes: ""/],
  [
    "a file with another sha256",
    () => new Response("kind: Pod\n"),
    /"kind: Pod\\n"\nsha256 expect/,
  ],
  [
    "a redirect to http",
    () => new Response(null, { status: 302, headers: { location: "http://release.test/x" } }),
    /Protocol "http"/,
  ],
];
for (const [what, answer, words] of REFUSED) {
  Deno.test(`A69: download() ends with exit 9 on ${what} and keeps the old file`, async () => {
    const error = await failure(answer);
    assert.equal(error.exitCode, 9);
    assert.match(error.message, /https:\/\/release.test\/file.yaml/);
    assert.match(error.where.join("\n"), words);
    assert.ok(error.fix);
  });
}

Deno.test("download() ends with exit 3 and the fix when a proxy wants a login for plain http", async () => {
  const error = await failure(() => new Response(LOGIN, { status: 407 }));
  assert.equal(error.exitCode, 3);
  assert.match(error.fix!, /HTTPS_PROXY=http:.*http_proxy/);
});

Deno.test("A69: download() ends with exit 3 when an answer stops half way", async () => {
  let end: ReturnType<typeof setTimeout>;
  const error = await failure(() => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("k"));
        end = setTimeout(() => controller.close(), 30_000);
      },
      cancel: () => clearTimeout(end),
    });
    return new Response(body);
  }, 1);
  assert.equal(error.exitCode, 3);
  assert.match(error.where[0]!, /release.test: Operation too slow/);
});

Deno.test("A69: download() asks a host that did not answer only once in a run", async () => {
  await withSite({}, async (_, folder) => {
    const { curl, counted } = await offlineCurl(folder);
    const options = { sha256: sha256(GOOD), curl };
    for (
      const words of [/offline.test: Could not resolve/, /offline.test did not answer before/]
    ) {
      await assert.rejects(
        download("https://offline.test/a", join(folder, "a"), options),
        (error: DeployError) => error.exitCode === 3 && words.test(error.where[0]!),
      );
    }
    assert.equal(counted(), 1);
  });
});

Deno.test("A72: download() hands an address to curl on stdin, and shows no password of it", async () => {
  await withSite({}, async (_, folder) => {
    const curl = join(folder, "curl");
    await writeFile(curl, `#!/bin/bash\necho "$@" >${folder}/args; exit 7\n`, { mode: 0o700 });
    const url = "https://kim:hush-password@mirror.test/a";
    const error = await download(url, join(folder, "a"), { sha256: "", curl })
      .then(() => assert.fail(), (error) => error);
    assert.match(error.message, /https:\/\/\*\*\*@mirror\.test\/a/);
    assert.doesNotMatch(await readFile(join(folder, "args"), "utf8"), /hush|mirror/);
  });
});

Deno.test("download() follows redirects and makes folders", async () => {
  const pages = {
    "/file.yaml": () =>
      new Response(null, { status: 302, headers: { location: "https://cdn.test/real" } }),
    "/real": GOOD,
  };
  await withSite(pages, async ({ curl, asked }, folder) => {
    const path = join(folder, "deep", "file.yaml");
    await download(URL_, path, { sha256: sha256(GOOD), curl });
    assert.equal(await readFile(path, "utf8"), GOOD);
    assert.deepEqual(asked, [URL_, "https://cdn.test/real"]);
  });
});

Deno.test("sumOf() reads bare sums, sha256sum lines and GitHub's release description", () => {
  const sum = sha256("x");
  assert.equal(sumOf("etcd.tar.gz", `${sum}\n`), sum);
  assert.equal(sumOf("b", `${sha256("y")}  a\n${sum} *b\n`), sum);
  assert.equal(sumOf("b", `SHA256\n\n${sha256("y")}\n${sum}  b\n`), sum);
  const release = { assets: [{ name: "a" }, { name: "b", digest: `sha256:${sum}` }] };
  assert.equal(sumOf("b", JSON.stringify(release)), sum);
  for (const other of ["", LOGIN, "{}", `${sum}  a`]) assert.equal(sumOf("b", other), undefined);
});

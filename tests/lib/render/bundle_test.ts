import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type BundleOptions,
  loadBundle,
  missingBundles,
  readBundle,
} from "../../../lib/render/bundle.ts";
import { projectPath } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { offlineCurl, rejected, sha256, withSite } from "../../support/download_fixture.ts";
import { parseObjects } from "../../support/strict_yaml.ts";

const TEXT = `apiVersion: v1
kind: Namespace
metadata:
  name: first
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: second}}
`;
const PATH = "up.test/v1/file.yaml";
const MODULE = "example.com/up@v1";

/** One bundle of one file; gives what readBundle wants. */
function locked(
  { host = "up.test", ...rest }: { host?: string; module?: string } = {},
): BundleOptions & { lines: string[] } {
  const parsed = sha256(JSON.stringify(parseObjects(TEXT, "file.yaml")));
  const url = `https://${host}/v1/file.yaml`;
  const file = { url, bytes: TEXT.length, sha256: sha256(TEXT), parsed };
  const bundle = { name: "up", title: "Up", version: "v1", files: [file], ...rest };
  const lines: string[] = [];
  return { bundles: [bundle], lines, say: (line) => lines.push(line) };
}

/** A folder with the file is UPSTREAM_MIRROR until withSite() has its next turn. */
async function mirrorWith(folder: string, text: string): Promise<void> {
  const path = join(folder, "mirror", PATH);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  Deno.env.set("UPSTREAM_MIRROR", join(folder, "mirror"));
}

function names(objects: Manifest[]): string[] {
  return objects.map(({ metadata }) => metadata.name);
}

Deno.test("readBundle() takes a file from the network once, then from the cache", async () => {
  await withSite({ "/v1/file.yaml": TEXT }, async ({ curl, asked }, folder) => {
    const options = { ...locked(), curl };
    assert.deepEqual(names(await readBundle("up", options)), ["first", "second"]);
    assert.deepEqual(names(await readBundle("up", options)), ["first", "second"]);
    assert.deepEqual(asked, [`https://${PATH}`]);
    const cache = join(folder, "cache", "bundles");
    const kept = join(cache, `${sha256(TEXT)}.yaml.json`);
    assert.deepEqual((await readdir(cache)).length, 2);

    // As the parser of another version would leave it: made again from the file.
    await writeFile(kept, "[]");
    assert.deepEqual(names(await readBundle("up", options)), ["first", "second"]);
    assert.notEqual(await readFile(kept, "utf8"), "[]");
  });
});

Deno.test("X4: readBundle() gives what is pinned, whatever somebody writes to its copies in the cache", async () => {
  await withSite({ "/v1/file.yaml": TEXT }, async ({ curl }, folder) => {
    const options = { ...locked(), curl };
    await readBundle("up", options);
    const copy = join(folder, "cache", "bundles", `${sha256(TEXT)}.yaml.json`);
    const edited = (await readFile(copy, "utf8")).replace("second", "edited");
    // Bare, and with the mark by which such copies were known once.
    for (const text of [edited, `${sha256(edited)}\n${edited}`]) {
      await writeFile(copy, text);
      assert.deepEqual(names(await readBundle("up", options)), ["first", "second"]);
    }
  });
});

Deno.test("readBundle() keeps nothing of a file that the parser reads otherwise than it was pinned", async () => {
  await withSite({ "/v1/file.yaml": TEXT }, async ({ curl }, folder) => {
    const options = { ...locked(), curl };
    options.bundles![0]!.files[0]!.parsed = sha256("another");
    await assert.rejects(readBundle("up", options), /file.yaml is not read as it was pinned/);
    assert.deepEqual((await readdir(join(folder, "cache", "bundles"))).length, 1);
  });
});

Deno.test("readBundle() takes a mirror folder, and a mirror address, before the network", async () => {
  await withSite({}, async (_, folder) => {
    const options = { ...locked(), ...await offlineCurl(folder) };
    await mirrorWith(folder, TEXT);
    assert.deepEqual(names(await readBundle("up", options)), ["first", "second"]);
  });
  await withSite({ [`/${PATH}`]: TEXT }, async ({ address, asked, curl }) => {
    Deno.env.set("UPSTREAM_MIRROR", `${address}/`);
    const options = { ...locked(), curl };
    assert.deepEqual(names(await readBundle("up", options)), ["first", "second"]);
    assert.deepEqual(asked, [`${address}/${PATH}`]);
    Deno.env.delete("UPSTREAM_MIRROR");
  });
});

Deno.test("A68: a mirror file that is truncated ends with exit 9, both sums, and no copy", async () => {
  await withSite({}, async (_, folder) => {
    await mirrorWith(folder, TEXT.slice(0, 40));
    const error = await rejected(readBundle("up", locked()));
    assert.equal(error.exitCode, ExitCode.integrity);
    assert.match(error.message, /mirror\/up.test\/v1\/file.yaml/);
    assert.deepEqual(error.where, [
      `sha256 expected ${sha256(TEXT)}, actual ${sha256(TEXT.slice(0, 40))}`,
      `bytes expected ${TEXT.length}, actual 40`,
    ]);
    assert.deepEqual(await readdir(join(folder, "cache", "bundles")), []);
  });
});

Deno.test("A68: a cached file that was edited ends with exit 9, even after it was parsed", async () => {
  await withSite({ "/v1/file.yaml": TEXT }, async ({ curl }, folder) => {
    const options = { ...locked(), curl };
    await readBundle("up", options);
    const cached = join(folder, "cache", "bundles", `${sha256(TEXT)}.yaml`);
    await writeFile(cached, TEXT.replace("first", "other"));
    const error = await rejected(readBundle("up", { ...options, allowMissing: true }));
    assert.equal(error.exitCode, ExitCode.integrity);
    assert.ok(error.message.includes(cached));
  });
});

Deno.test("A69: an HTML page in place of a bundle ends with exit 9, URL, status and first bytes", async () => {
  const login = "<html>log in</html>";
  await withSite({ "/v1/file.yaml": login }, async ({ curl }) => {
    const options = { ...locked(), curl, allowMissing: true };
    const error = await rejected(readBundle("up", options));
    assert.equal(error.exitCode, ExitCode.integrity);
    assert.match(error.message, /https:\/\/up.test\/v1\/file.yaml/);
    assert.match(error.where[0]!, /status 200.*<html>log in/);
  });
  const down = () => new Response(login, { status: 502 });
  await withSite({ "/v1/file.yaml": down }, async ({ curl }) => {
    const error = await rejected(readBundle("up", { ...locked(), curl }));
    assert.equal(error.exitCode, ExitCode.integrity);
    assert.match(error.where.join("\n"), /up.test\/v1\/file.yaml.*\n.*status 502.*<html>log in/);
  });
});

Deno.test("A69: a bundle that cannot be had ends with exit 3, its URL and UPSTREAM_MIRROR", async () => {
  await withSite({}, async (_, folder) => {
    const options = locked({ host: "gone.test" });
    Deno.env.set("UPSTREAM_MIRROR", join(folder, "none"));
    const error = await rejected(readBundle("up", { ...options, ...await offlineCurl(folder) }));
    assert.equal(error.exitCode, ExitCode.prerequisite);
    assert.match(error.message, /Up v1/);
    assert.match(error.where.join("\n"), /https:\/\/gone.test\/v1\/file.yaml/);
    assert.match(error.fix!, /UPSTREAM_MIRROR.*gone.test\/v1\/file.yaml/);
  });
});

Deno.test("a bundle behind a proxy that wants a login for the mirror ends with exit 3 and the fix for that", async () => {
  const path = PATH.replace("up.test", "behind.test");
  const login = () => new Response("log in", { status: 407 });
  await withSite({ [`/${path}`]: login }, async ({ address, curl }, folder) => {
    Deno.env.set("UPSTREAM_MIRROR", address);
    const gone = join(folder, "curl");
    const lines = ["#!/bin/bash", "read -r url", "[[ $url != *https:* ]] || exit 7"];
    await writeFile(gone, [...lines, `exec ${curl} "$@" <<<"$url"`, ""].join("\n"), {
      mode: 0o700,
    });
    const options = { ...locked({ host: "behind.test" }), curl: gone };
    const error = await rejected(readBundle("up", options));
    assert.equal(error.exitCode, ExitCode.prerequisite);
    assert.match(error.where.join("\n"), /http:\/\/127.*\n.*status 407/);
    assert.match(error.fix!, /the proxy wants a login:.*http_proxy/);
    Deno.env.delete("UPSTREAM_MIRROR");
  });
});

Deno.test("readBundle() goes on without a bundle when that is allowed, and says so", async () => {
  await withSite({}, async (_, folder) => {
    const options = locked({ host: "absent.test" });
    const objects = await readBundle("up", {
      ...options,
      ...await offlineCurl(folder),
      allowMissing: true,
    });
    assert.deepEqual(objects, []);
    assert.match(
      options.lines.at(-1)!,
      /going on without Up v1: Cannot download "https:\/\/absent/,
    );
    assert.deepEqual(missingBundles(), ["Up v1"]);
  });
});

Deno.test("readBundle() takes what cannot be downloaded from the Go module that has it, if it is the pinned file", async () => {
  for (const [text, host] of [[TEXT, "nowhere.test"], [TEXT.replace("second", "2"), "no.test"]]) {
    await withSite({}, async (_, folder) => {
      await writeFile(join(folder, "file.yaml"), text!);
      const asked: string[] = [];
      const options = {
        ...locked({ host, module: MODULE }),
        ...await offlineCurl(folder),
        moduleHome: (module: string) => Promise.resolve((asked.push(module), folder)),
      };
      const read = () => readBundle("up", options);
      if (text !== TEXT) return assert.equal((await rejected(read())).exitCode, 9);
      for (let time = 0; time < 2; time++) {
        assert.deepEqual(names(await read()), ["first", "second"]);
      }
      assert.deepEqual(asked, [MODULE]);
    });
  }
});

Deno.test("readBundle() tells why the Go module could not be had either", async () => {
  await withSite({}, async (_, folder) => {
    const options = {
      ...locked({ host: "nohow.test", module: MODULE }),
      ...await offlineCurl(folder),
      moduleHome: () => {
        throw new DeployError("Cannot get it", { exitCode: 3, where: "Go is not on PATH" });
      },
    };
    const error = await rejected(readBundle("up", options));
    assert.equal(error.exitCode, ExitCode.prerequisite);
    assert.match(error.where.join("\n"), /nohow.test[^]*Cannot get it\n {2}Go is not on PATH/);
  });
});

Deno.test("readBundle() tells which file the Go module does not have", async () => {
  await withSite({}, async (_, folder) => {
    const options = {
      ...locked({ host: "nohow.test", module: MODULE }),
      ...await offlineCurl(folder),
      moduleHome: () => Promise.resolve(join(folder, "empty")),
    };
    const error = await rejected(readBundle("up", options));
    assert.equal(error.exitCode, ExitCode.prerequisite);
    assert.match(error.where.join("\n"), /nohow.test[^]*Cannot read \S+\.yaml\n {2}No such file/);
  });
});

const OBJECT = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";
const BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" +
  ["b", "c", "d", "e", "f"].map((name, index) => {
    const before = `*${"abcde"[index]}`;
    return `${name}: &${name} [${Array(9).fill(before).join(", ")}]\n`;
  }).join("");
const REFUSED: [what: string, text: string, place: string, words: RegExp][] = [
  ["a duplicate key", `${OBJECT}kind: Pod\n`, "5:1", /unique/],
  ["a tab", "apiVersion: v1\nkind: Pod\nmetadata:\n\tname: a\n", "4:1", /[Tt]ab/],
  ["an alias bomb", OBJECT + BOMB, "6:8", /alias/],
  ["an unknown tag", `${OBJECT}spec: !Exec rm\n`, "5:7", /tag/],
  ["a document that is no object", `${OBJECT}---\n- 1\n`, "6:1", /not a Kubernetes object/],
];
for (const [what, text, place, words] of REFUSED) {
  Deno.test(`A70: ${what} ends with exit 2 and file:line:column`, async () => {
    const error = await rejected(Promise.resolve().then(() => parseObjects(text, "file.yaml")));
    assert.equal(error.exitCode, ExitCode.config);
    assert.ok(error.where[0]!.startsWith(`file.yaml:${place} `), error.where.join("\n"));
    assert.match(error.where[0]!, words);
  });
}

Deno.test("A70: empty documents are skipped and lists unwrapped", () => {
  for (const text of ["", "---\n", "# only a comment\n", "---\n---\n# nothing\n"]) {
    assert.deepEqual(parseObjects(text, "file.yaml"), []);
  }
  assert.deepEqual(names(parseObjects(`---\n${TEXT}---\n`, "file.yaml")), ["first", "second"]);
  const list = `apiVersion: v1\nkind: ConfigMapList\nitems:\n- ${
    OBJECT.replaceAll("\n", "\n  ")
  }\n`;
  assert.deepEqual(names(parseObjects(list, "file.yaml")), ["a"]);
});

Deno.test("manifests/upstream.lock.json pins https files by size and sha256", async () => {
  const { bundles } = JSON.parse(
    await readFile(projectPath("manifests/upstream.lock.json"), "utf8"),
  );
  const urls: string[] = [];
  for (const { name, title, version, files, module = `@${version}` } of bundles) {
    assert.match(version, /^v\d+\.\d+\.\d+$/, name);
    assert.ok(title && files.length > 0, name);
    assert.ok(module.endsWith(`@${version}`), name);
    for (const { url, bytes, sha256, parsed } of files) {
      assert.match(parsed, /^[0-9a-f]{64}$/, url);
      assert.ok(url.startsWith("https://") && url.includes(`/${version}/`), url);
      assert.ok(Number.isInteger(bytes) && /^[0-9a-f]{64}$/.test(sha256), url);
      urls.push(url);
    }
  }
  assert.equal(new Set(urls).size, urls.length);
});

const mirror = Deno.env.get("UPSTREAM_MIRROR");

function pinned({ files, module }: { files: object[]; module?: string }) {
  return files.map((file) => ({ ...file, fromModule: module }));
}

Deno.test({
  name:
    "manifests/upstream.lock.json pins what the parser makes of each file (needs UPSTREAM_MIRROR)",
  ignore: !mirror,
  fn: async () => {
    const { bundles } = JSON.parse(
      await readFile(projectPath("manifests/upstream.lock.json"), "utf8"),
    );
    for (const { url, parsed, fromModule } of bundles.flatMap(pinned)) {
      const path = join(mirror!, url.replace("https://", ""));
      // What a Go module has need not be in a mirror.
      if (fromModule && !existsSync(path)) continue;
      const text = await readFile(path, "utf8");
      assert.equal(sha256(JSON.stringify(parseObjects(text, url))), parsed, url);
    }
  },
});

Deno.test("loadBundle() reads a bundle once for all callers, none of whom can change it", async () => {
  const cluster = await fixtureCluster("196");
  await withSite({}, async (_, folder) => {
    await mirrorWith(folder, TEXT);
    const { bundles } = locked();
    const load = () => loadBundle("up", cluster, { say: () => {}, bundles });
    const [first, second] = await Promise.all([load(), load()]);
    Deno.env.delete("UPSTREAM_MIRROR");
    assert.throws(() => first![0]!.metadata.name = "patched", TypeError);
    assert.equal(first, second);
  });
});

// Pins of images, against a registry on loopback that speaks as Docker Hub, quay.io and ghcr.io do.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Cluster } from "../../lib/core/cluster.ts";
import { Report } from "../../lib/io/report.ts";
import { STEPS } from "../../scripts/steps.ts";
import { pin } from "../../scripts/operate/pin.ts";
import { digestOf, readLogins } from "../../scripts/operate/registry/client.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";
import { wording } from "../support/project_fixture.ts";
import { refusal } from "../support/refusal.ts";

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const LOGIN = btoa("robot:hush-registry");

const digest = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

interface Ways {
  /** Instead of what it has for every image: an index, and of one architecture a manifest. */
  answer?: (path: string, request: Request) => Response | undefined;
  /** Wants a token for each repository; "login": gives one to our login alone. */
  token?: "anonymous" | "login";
}

/** A registry that has every image, a folder for the pins, and the fleet that uses both. */
async function site({ answer, token }: Ways = {}) {
  const folder = await mkdtemp(join(tmpdir(), "pin-"));
  const asked: string[] = [];
  const tokens = new Map<string, string>();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { pathname, searchParams, origin } = new URL(request.url);
    const authorization = request.headers.get("authorization");
    asked.push(`${request.method} ${pathname} ${authorization?.split(" ")[0] ?? "-"}`);
    if (pathname === "/token") {
      assert.equal(searchParams.get("service"), "fake");
      if (token === "login" && authorization !== `Basic ${LOGIN}`) {
        return new Response("{}", { status: 401 });
      }
      const scope = searchParams.get("scope")!;
      tokens.set(`Bearer for ${scope}`, scope);
      return Response.json({ token: `for ${scope}` });
    }
    const [, path] = /^\/v2\/(.+)\/manifests\/[^/]+$/.exec(pathname)!;
    if (token && tokens.get(authorization ?? "") !== `repository:${path}:pull`) {
      const challenge = `Bearer realm="${origin}/token",service="fake"`;
      return new Response("", { status: 401, headers: { "www-authenticate": challenge } });
    }
    const own = answer?.(pathname, request);
    if (own) return own;
    const kind = request.headers.get("accept")!.includes(INDEX) ? INDEX : MANIFEST;
    return new Response(null, {
      headers: { "content-type": kind, "docker-content-digest": digest(pathname + kind) },
    });
  });
  const { port } = server.addr as Deno.NetAddr, file = join(folder, "pinned.json");
  const host = `127.0.0.1:${port}`;
  return {
    file,
    folder,
    host,
    asked,
    fleet: () => fixtureFleet({ IMAGE_REGISTRY: host, IMAGE_PINS_FILE: file }),
    pins: async (): Promise<Record<string, string>> => JSON.parse(await readFile(file, "utf8")),
    nothing: async () => assert.equal(await readFile(file, "utf8").catch(() => ""), ""),
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await rm(folder, { recursive: true });
    },
  };
}

/** Every image in what a fleet gets, also those in arguments. */
async function rendered(fleet: Cluster[], host: string): Promise<Set<string>> {
  const steps = fleet.flatMap((cluster) =>
    STEPS.filter(({ skips }) => !skips?.(cluster)).map((step) => step.objects(cluster))
  );
  const found = JSON.stringify(await Promise.all(steps)).matchAll(
    new RegExp(`"(?:--[\\w-]+=)?(${host}/[^"\\s]+)"`, "g"),
  );
  return new Set([...found].map(([, image]) => image!));
}

/** A place for `docker login`. */
async function withLogin<T>(folder: string, host: string, work: () => Promise<T>): Promise<T> {
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({ auths: { [host]: { auth: LOGIN } } }),
  );
  process.env.DOCKER_CONFIG = folder;
  try {
    return await work();
  } finally {
    delete process.env.DOCKER_CONFIG;
  }
}

Deno.test("pin() keeps the digest of the index of every image, and what is rendered has it", async () => {
  await using place = await site();
  const before = await rendered(await place.fleet(), place.host);
  assert.equal(await pin(await place.fleet()), 0);
  const pins = await place.pins();
  const unpinned = [...before].filter((image) => !image.includes("@"));
  assert.ok(unpinned.length > 8, unpinned.join());
  assert.deepEqual(Object.keys(pins), unpinned.sort());
  for (const [image, pinned] of Object.entries(pins)) {
    const [, path, tag] = /^[^/]+\/(.*):(.*)$/.exec(image)!;
    assert.equal(pinned, digest(`/v2/${path}/manifests/${tag}${INDEX}`));
  }
  const after = await rendered(await place.fleet(), place.host);
  assert.deepEqual(
    [...after].sort(),
    [...before].map((image) => pins[image] ? `${image}@${pins[image]}` : image).sort(),
  );
  // The operator gives it to pods of its own: it stands in an argument.
  assert.ok([...after].some((image) => /prometheus-config-reloader:v[\d.]+@sha256:/.test(image)));

  const text = await readFile(place.file, "utf8");
  assert.equal(await pin(await place.fleet()), 0);
  assert.equal(await readFile(place.file, "utf8"), text);
});

Deno.test("pin() gets a token for each repository where the registry wants one", async () => {
  await using place = await site({ token: "anonymous" });
  assert.equal(await pin(await place.fleet()), 0);
  const count = Object.keys(await place.pins()).length;
  assert.equal(place.asked.filter((line) => /^GET \/token -$/.test(line)).length, count);
  assert.equal(place.asked.filter((line) => /^HEAD .* Bearer$/.test(line)).length, count);
});

Deno.test("pin() shows a login to whom the registry names for it, and to nobody else", async () => {
  await using place = await site({ token: "login" });
  await withLogin(place.folder, place.host, async () => {
    assert.equal(await pin(await place.fleet()), 0);
  });
  assert.ok(place.asked.some((line) => /^GET \/token Basic$/.test(line)));
  assert.deepEqual(place.asked.filter((line) => /^HEAD .* Basic$/.test(line)), []);
});

Deno.test("pin() without a login that does writes nothing, and no login is told", async () => {
  await using place = await site({ token: "login" });
  const error = await refusal(pin(await place.fleet()));
  assert.equal(error.exitCode, 5);
  assert.match(wording(error), /nothing is written[^]*wants a login[^]*docker login 127\.0\.0\.1/);
  assert.doesNotMatch(wording(error), /hush/);
  await place.nothing();
});

Deno.test("pin() names every image that is not there and writes nothing", async () => {
  await using place = await site({
    answer: (path) => /thanos|grafana/.test(path) ? new Response("", { status: 404 }) : undefined,
  });
  const error = await refusal(pin(await place.fleet()));
  assert.equal(error.exitCode, 8);
  assert.match(wording(error), /Cannot pin 2 of \d+ images[^]*grafana\/grafana[^]*thanos\/thanos/);
  assert.match(wording(error), /HTTP 404[^]*correct the version or IMAGE_REGISTRY/);
  await place.nothing();
});

Deno.test("pin() without an answer says which registry, and keeps the pins that are there", async () => {
  const place = await site();
  assert.equal(await pin(await place.fleet()), 0);
  const fleet = await place.fleet(), before = await readFile(place.file, "utf8");
  const keep = await mkdtemp(join(tmpdir(), "pin-"));
  await place[Symbol.asyncDispose]();
  const file = join(keep, "pinned.json");
  await writeFile(file, before);
  const there = fleet.map((one) => ({ ...one, vars: { ...one.vars, IMAGE_PINS_FILE: file } }));
  const error = await refusal(pin(there));
  assert.equal(error.exitCode, 5);
  assert.match(wording(error), /no answer[^]*refused[^]*let this machine reach 127\.0\.0\.1/);
  assert.equal(await readFile(file, "utf8"), before);
  await rm(keep, { recursive: true });
});

Deno.test("pin() keeps a digest whose tag names another image now, until --renew takes it", async () => {
  await using place = await site();
  await pin(await place.fleet());
  const right = await place.pins(), old = digest("an older push");
  const moved = Object.keys(right).find((image) => image.includes("/thanos/"))!;
  const added = Object.keys(right).find((image) => image.includes("/grafana/"))!;
  const gone = `${place.host}/thanos/thanos:v0.0.1`;
  const { [added]: _, ...rest } = right;
  await writeFile(place.file, JSON.stringify({ ...rest, [moved]: old, [gone]: old }));

  const lines: string[] = [], report = new Report("", (line) => lines.push(line));
  const error = await refusal(pin(await place.fleet(), { report }));
  assert.equal(error.exitCode, 11);
  assert.deepEqual(error.where, [`${moved}  pinned ${old}, now ${right[moved]}`]);
  assert.match(wording(error), /ARGS=--renew/);
  assert.match(lines.join(""), /thanos:v0\.0\.1 is rendered no more/);
  assert.deepEqual(await place.pins(), { ...right, [moved]: old });

  assert.equal(await pin(await place.fleet(), { renew: true, report }), 0);
  assert.deepEqual(await place.pins(), right);
});

Deno.test("digestOf() hashes what is sent where no digest is, and takes no page for an image", async () => {
  const manifest = '{"schemaVersion":2}';
  await using place = await site({
    answer: (path, { method }) =>
      new Response(method === "GET" ? manifest : null, {
        status: method === "GET" && path.includes("busy") ? 503 : 200,
        headers: {
          "content-type": path.includes("page") ? "text/html" : `${INDEX}; charset=utf-8`,
        },
      }),
  });
  assert.equal(await digestOf(`${place.host}/a/b:1`), digest(manifest));
  const error = await refusal(digestOf(`${place.host}/page:1`));
  assert.equal(error.exitCode, 8);
  assert.match(wording(error), /text\/html[^]*login page/);
  const busy = await refusal(digestOf(`${place.host}/busy:1`));
  assert.match(wording(busy), /refused[^]*HTTP 503/);
});

Deno.test("digestOf() asks the registry that a runtime asks, over TLS but for loopback", async () => {
  const asked: string[] = [], real = globalThis.fetch;
  globalThis.fetch = (url) => {
    asked.push(String(url));
    const headers = { "content-type": INDEX, "docker-content-digest": digest("x") };
    return Promise.resolve(new Response(null, { headers }));
  };
  const images = ["docker.io/library/traefik:v3", "docker.io/traefik:v3", "grafana/grafana:1"]
    .concat("quay.io/thanos/thanos:v1", "10.0.0.5:5000/x/thanos:v1", "localhost:5000/a:1")
    .concat("127.0.0.9/a:1", "127.0.0.1.example.org/a:1");
  try {
    for (const image of images) await digestOf(image);
  } finally {
    globalThis.fetch = real;
  }
  assert.deepEqual(asked, [
    "https://registry-1.docker.io/v2/library/traefik/manifests/v3",
    "https://registry-1.docker.io/v2/library/traefik/manifests/v3",
    "https://registry-1.docker.io/v2/grafana/grafana/manifests/1",
    "https://quay.io/v2/thanos/thanos/manifests/v1",
    "https://10.0.0.5:5000/v2/x/thanos/manifests/v1",
    "http://localhost:5000/v2/a/manifests/1",
    "http://127.0.0.9/v2/a/manifests/1",
    "https://127.0.0.1.example.org/v2/a/manifests/1",
  ]);
});

Deno.test("digestOf() shows no login to an address without TLS that a registry names", async () => {
  const challenge = 'Bearer realm="http://elsewhere.example.org/token",service="x"';
  const real = globalThis.fetch;
  globalThis.fetch = (url) => {
    assert.match(String(url), /^https:\/\/quay\.io\//);
    const headers = { "www-authenticate": challenge };
    return Promise.resolve(new Response(null, { status: 401, headers }));
  };
  try {
    const logins = new Map([["quay.io", LOGIN]]);
    const error = await refusal(digestOf("quay.io/a/b:1", { logins }));
    assert.match(wording(error), /names no https address/);
  } finally {
    globalThis.fetch = real;
  }
});

Deno.test("readLogins() takes what docker login has written, by host", async () => {
  const folder = await mkdtemp(join(tmpdir(), "pin-"));
  assert.deepEqual(await readLogins(folder), new Map());
  const auths = {
    "https://index.docker.io/v1/": { auth: "aHVi" },
    "mirror.example.org:5000": { auth: LOGIN },
    "in-a-helper.example.org": {},
  };
  await writeFile(join(folder, "config.json"), JSON.stringify({ auths }));
  const expected = new Map([["docker.io", "aHVi"], ["mirror.example.org:5000", LOGIN]]);
  assert.deepEqual(await readLogins(folder), expected);
  await writeFile(join(folder, "config.json"), "{");
  assert.equal((await refusal(readLogins(folder))).exitCode, 2);
  await rm(folder, { recursive: true });
});

// What comes into the store of the laboratory's registry from registries that can be reached: here one of the test's
// own, on loopback, which wants tokens, leads to another host for blobs, cuts lines and lies.
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, list, text } from "../../lib/core/cluster.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";
import { wording } from "../support/project_fixture.ts";
import { refusal } from "../support/refusal.ts";
import { imageName, imageTable } from "./images.ts";
import { blobPath, placeInStore, readRecord } from "./store.ts";
import { labTools, programsOf } from "./tools.ts";
import { copyImages, settingsWith } from "./upstream.ts";

const [central] = await fixtureFleet({ PROFILE: "tests/lab/site.env" });
const rows = await imageTable();
const OCI = "application/vnd.oci.image", DOCKER = "application/vnd.docker.distribution";
const PINNED = "controller:v9";

const bytesOf = (value: string | object) =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const digestOf = (bytes: Bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const imageOf = (part: string) =>
  rows.map((row) => imageName(row, central!)).find((image) => image.includes(part))!;

type Bytes = Uint8Array<ArrayBuffer>;

interface Ways {
  /** Names that it has none of. */
  lacks?: RegExp;
  /** What becomes of the body of a blob that is sent from byte `at` on. */
  send?: (body: Bytes, at: number) => BodyInit;
  /** Whether it knows ranges. */
  ranges?: boolean;
  /** What becomes of a manifest. */
  tell?: (manifest: Bytes) => Bytes;
}

/** A registry that makes up every image, a store, and the cluster with ingress-nginx pinned to its digest. */
async function upstream(
  { lacks = /^$/, send = (body) => body, tell = (it) => it, ranges = true }: Ways = {},
) {
  const store = await mkdtemp(join(tmpdir(), "upstream-"));
  const blobs = new Map<string, Bytes>(), asked: string[] = [], said: string[] = [];
  const keep = (value: string | object) => {
    const bytes = bytesOf(value), digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  };
  /** Of a repository whose name has an `x` an index, of others one manifest in Docker's words. */
  function topOf(path: string) {
    const layers = [path.repeat(20_000), "the same in all"].map(keep);
    const isIndex = path.includes("x"),
      kind = isIndex ? `${OCI}.manifest.v1+json` : `${DOCKER}.manifest.v2+json`;
    const one = (architecture: string) => ({
      ...keep({ schemaVersion: 2, mediaType: kind, config: keep({ architecture, path }), layers }),
      mediaType: kind,
      platform: { os: "linux", architecture },
    });
    if (!isIndex) return one(PLATFORM.arch);
    const mediaType = `${OCI}.index.v1+json`;
    return keep({ schemaVersion: 2, mediaType, manifests: ["s390x", PLATFORM.arch].map(one) });
  }
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { pathname, searchParams, port, host } = new URL(request.url), { headers } = request;
    const realm = headers.get("x-realm") ?? `http://${host}`;
    const range = headers.get("range"), login = headers.get("authorization");
    asked.push([request.method, host, pathname, range].filter(Boolean).join(" "));
    if (pathname === "/token") return Response.json({ token: searchParams.get("scope") });
    if (pathname.startsWith("/store/")) {
      assert.equal(login, null, "the token was shown to another host");
      const body = blobs.get(pathname.split("/").at(-1)!)!,
        at = Number(/\d+/.exec(ranges && range || "0"));
      return new Response(send(body.slice(at), at), { status: at > 0 ? 206 : 200 });
    }
    const [known, path, what, name] = /^\/v2\/(?:(.+)\/(manifests|blobs)\/(.+))?$/.exec(pathname) ??
      [];
    if (known === undefined) return new Response("", { status: 403 });
    if (login !== `Bearer repository:${path}:pull`) {
      const challenge = `Bearer realm="${realm}/token",service="fake"`;
      return new Response("", { status: 401, headers: { "www-authenticate": challenge } });
    }
    if (lacks.test(path!)) return new Response("", { status: 404 });
    if (what === "blobs") return Response.redirect(`http://localhost:${port}/store/${name}`);
    // Somebody has pushed another image over the tag.
    if (name === "v9") return new Response("", { status: 404 });
    const digest = name!.startsWith("sha256:") ? name! : topOf(path!).digest;
    const body = blobs.get(digest)!;
    const type = JSON.parse(new TextDecoder().decode(body)).mediaType;
    const told = tell(body);
    return new Response(told, {
      headers: { "content-type": type, "docker-content-digest": digestOf(told) },
    });
  });
  const through = `127.0.0.1:${(server.addr as Deno.NetAddr).port}`;
  const pinned = `registry.k8s.io/ingress-nginx/${PINNED}@${
    topOf("ingress-nginx/controller").digest
  }`;
  const cluster: Cluster = { ...central!, vars: { ...central!.vars, INGRESS_NGINX_IMAGE: pinned } };
  return {
    cluster,
    store,
    through,
    blobs,
    asked,
    said,
    copy: (options: Partial<Parameters<typeof copyImages>[1]> = {}) =>
      copyImages(cluster, {
        store,
        say: (line) => said.push(line),
        environment: { LAB_UPSTREAM: through },
        silence: 0.2,
        pause: 0.01,
        ...options,
      }),
    settings: async () => JSON.parse(await readFile(join(store, "settings.json"), "utf8")),
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await rm(store, { recursive: true });
    },
  };
}

const real = globalThis.fetch;
type WayTo = (url: URL, signal?: AbortSignal | null) => Promise<string>;

/** Lets names lead to a registry on loopback, or nowhere, as a network does. */
function onNetwork(wayTo: WayTo): void {
  globalThis.fetch = async (input, init) => {
    const url = new URL(String(input));
    if (/^(localhost|127\.)/.test(url.hostname)) return await real(url, init);
    const headers = { ...init?.headers, "x-realm": url.origin };
    return await real(await wayTo(url, init?.signal), { ...init, headers });
  };
}

// Whatever is wrong with what is tested: nothing is asked of a real registry.
const nobody: WayTo = ({ hostname }) => assert.fail(`${hostname} was asked`);
Deno.test.beforeEach(() => onNetwork(nobody));

Deno.test("copyImages() copies byte for byte what is upstream's, and goes on where a line is cut", async () => {
  let cuts = 0;
  await using place = await upstream({
    lacks: /fluent/,
    // At first it is slow and ends too early, then it falls silent.
    send(body) {
      if (body.length < 80_000 || ++cuts > 3) return body;
      return new ReadableStream({
        async start(way) {
          for (let at = 0; at < 70_000; at += 10_000) {
            way.enqueue(body.slice(at, at + 10_000));
            await sleep(cuts === 1 ? 60 : 0);
          }
          if (cuts === 1) way.close();
        },
      });
    },
  });
  const { store, cluster, said } = place;
  const settings = await place.copy();
  assert.deepEqual(settings, { INGRESS: "nginx", STAND_INS: "index-management,fluent-bit" });
  assert.deepEqual(await place.settings(), settings);
  const record = await readRecord(store);
  const own = new RegExp(`"architecture":"${PLATFORM.arch}"`);
  const made = rows.filter(({ made }) => made.startsWith("own"));
  const absent = [...made.map((row) => imageName(row, cluster)), imageOf("fluent-bit")];
  const all = rows.map((row) => imageName(row, cluster));
  assert.deepEqual(Object.keys(record), all.filter((image) => !absent.includes(image)));
  for (const [image, digest] of Object.entries(record)) {
    const { repository, tag } = placeInStore(store, image);
    assert.equal(await readFile(join(tag, "current/link"), "utf8"), digest);
    assert.equal(image.split("@")[1] ?? digest, digest);
    const revisions = await readdir(join(repository, "_manifests/revisions/sha256"));
    assert.equal(
      revisions.length,
      /x/.test(image.split(/\/|:/).slice(1, -1).join("/")) ? 2 : 1,
      image,
    );
    for (const hex of revisions) {
      const { config } = JSON.parse(await readFile(blobPath(store, `sha256:${hex}`), "utf8"));
      if (config) assert.match(await readFile(blobPath(store, config.digest), "utf8"), own);
    }
    for (const hex of [...revisions, ...await readdir(join(repository, "_layers/sha256"))]) {
      const bytes = await readFile(blobPath(store, `sha256:${hex}`));
      assert.deepEqual(bytes, Buffer.from(place.blobs.get(`sha256:${hex}`)!));
    }
  }
  const ranges = place.asked.flatMap((line) => /store\S+ bytes=(\d+)-$/.exec(line)?.[1] ?? []);
  assert.deepEqual(ranges.slice(0, 1), ["70000"]);
  assert.equal(ranges.length, 3);
  assert.match(
    said.join("\n"),
    /images come from 127[^]*fluent-bit:\S+: 127\S+ does not give it \(HTTP 404\)/,
  );
  const controller = join(store, "docker/registry/v2/repositories/ingress-nginx/controller");
  assert.deepEqual(await readdir(join(controller, "_manifests/tags")), ["v9"]);
  assert.deepEqual((await readdir(store)).sort(), ["built.json", "docker", "settings.json"]);

  const programs = await programsOf(await labTools(cluster), cluster, store);
  for (const name of ["thanos", "amtool", "traefik"]) assert.ok(!programs.includes(name), name);
  for (const name of ["kubelet", "coredns", "registry"]) assert.ok(programs.includes(name), name);

  // What is there stays, also where nobody can be asked any more; and only what is not there is asked for.
  place.asked.length = 0;
  assert.deepEqual(await place.copy({ environment: { LAB_UPSTREAM: "none" } }), settings);
  assert.deepEqual(place.asked, []);
  assert.deepEqual(await place.copy(), settings);
  assert.deepEqual(place.asked.filter((line) => !/fluent|\/v2\/$|token/.test(line)), []);
});

Deno.test("copyImages() decides for each image by its own registry, and says in one line which do not answer", async () => {
  await using place = await upstream();
  const wayTo = async ({ hostname, pathname, search }: URL, signal?: AbortSignal | null) => {
    if (hostname === "quay.io") return `http://${place.through}${pathname}${search}`;
    if (hostname === "registry.k8s.io") throw new TypeError("fetch failed: dns: not known");
    if (hostname === "cr.fluentbit.io") return `http://${place.through}/blocked`;
    await new Promise((_, reject) =>
      signal!.addEventListener("abort", () => reject(signal!.reason))
    );
    throw new Error("asked though silent");
  };
  const started = performance.now();
  onNetwork(wayTo);
  const settings = await place.copy({ environment: {}, seconds: 0.3 });
  assert.ok(performance.now() - started < 3000);
  assert.deepEqual(settings, {
    INGRESS: "traefik",
    STAND_INS: "index-management,grafana,fluent-bit",
  });
  const images = Object.keys(await readRecord(place.store));
  assert.deepEqual(images.filter((image) => !image.startsWith("quay.io/")), []);
  assert.equal(images.length, 7);
  assert.deepEqual(place.said.slice(0, 2), [
    "  images come from quay.io",
    "  no way to docker.io (no answer within 0.3 s); no way to registry.k8s.io (not known); no way to " +
    "cr.fluentbit.io (HTTP 403): what they have is made from programs, or stays away",
  ]);
});

Deno.test("copyImages() changes nothing where no registry can be reached", async () => {
  await using place = await upstream();
  onNetwork(() => Promise.reject(new TypeError("client error: dns error: Name not known")));
  assert.deepEqual(await place.copy({ environment: {} }), {});
  assert.deepEqual(await readdir(place.store), ["settings.json"]);
  assert.equal(place.said.length, 1);
  onNetwork(nobody);
  assert.deepEqual(await place.copy({ environment: { UPSTREAM_MIRROR: "/srv" } }), {});
  assert.match(place.said[1]!, /no registry is asked \(UPSTREAM_MIRROR/);
  const tools = await labTools(place.cluster);
  assert.deepEqual(
    await programsOf(tools, place.cluster, place.store),
    tools.map(({ name }) => name),
  );
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" }),
    free = listener.addr as Deno.NetAddr;
  listener.close();
  const error = await refusal(
    place.copy({ environment: { LAB_UPSTREAM: `127.0.0.1:${free.port}` } }),
  );
  assert.equal(error.exitCode, 5);
  assert.match(
    wording(error),
    /LAB_UPSTREAM\nno way to 127\S+ \([^]*refused[^]*docs\/lab\.md[^]*or to none/,
  );
});

Deno.test("copyImages() ends where a registry sends no more; the next run goes on from there", async () => {
  let works = false;
  const start = (body: Bytes, at: number) => works ? body : body.slice(0, at ? 0 : 5000);
  await using place = await upstream({ send: start });
  const error = await refusal(place.copy());
  assert.equal(error.exitCode, 5);
  assert.match(
    wording(error),
    /Cannot copy docker.io\/library\/busybox[^]*5000 of 300000 bytes[^]*goes on/,
  );
  assert.deepEqual(await readRecord(place.store), { [imageOf("busybox")]: "unfinished" });
  works = true;
  place.asked.length = 0;
  await place.copy();
  assert.match(place.asked.find((line) => line.includes("/store/"))!, / bytes=5000-$/);
});

Deno.test("copyImages() ends where a registry that knows no ranges is cut again and again", async () => {
  let sent = 0;
  const send = (body: Bytes) => body.slice(0, ++sent % 2 * 1000 + 1000);
  await using place = await upstream({ ranges: false, send });
  assert.match(wording(await refusal(place.copy())), /sends no more[^]* of 300000 bytes/);
});

Deno.test("copyImages() keeps no bytes that are not what their digest says", async () => {
  let lies = true, page = true;
  const tell = (it: Bytes) => page ? Uint8Array.from([...it, 32]) : it;
  const send = (body: Bytes) => lies && body.length > 99 ? body.with(0, 1) as Bytes : body;
  await using place = await upstream({ send, tell });
  assert.match(wording(await refusal(place.copy())), /not what its digest says\nhttp\S+manifests/);
  page = false;
  const error = await refusal(place.copy());
  assert.equal(error.exitCode, 9);
  assert.match(
    wording(error),
    /not what its digest says\nhttp:[^]*expected sha256:[^]*forgotten/,
  );
  lies = false;
  await place.copy();
  assert.match((await readRecord(place.store))[imageOf("busybox")]!, /^sha256:/);
});

Deno.test("copyImages() takes no manifest whose digests would be other paths", async () => {
  const tell = (manifest: Bytes) =>
    bytesOf(
      new TextDecoder().decode(manifest).replace(/("layers":\[{"digest":")[^"]+/, "$1sha256:../x"),
    );
  await using place = await upstream({ tell, lacks: /^(?!thanos)/ });
  await place.copy();
  assert.deepEqual(await readRecord(place.store), {});
  assert.match(place.said.join("\n"), /thanos:v\S+: 127\S+ has none for/);
});

Deno.test("without upstream's images the laboratory's settings are those of site.env", () => {
  const settings = settingsWith([], rows);
  const sorted = (values: string[]) => values.toSorted();
  assert.deepEqual(sorted(settings.STAND_INS!.split(",")), sorted(list(central!, "STAND_INS")));
  assert.equal(settings.INGRESS, text(central!, "INGRESS"));
});

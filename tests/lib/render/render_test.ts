import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { imagesIn, render, rewriteImages } from "../../../lib/render/render.ts";
import { substitute } from "../../../lib/render/template.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

const root = new URL("../../fixtures/render", import.meta.url).pathname;
const vars = { PORT: 30901, NAME: "edge-197", ON: true };

function object(spec: unknown, annotations?: Record<string, string>): Manifest {
  return { apiVersion: "v1", kind: "Service", metadata: { name: "a", annotations }, spec };
}

function substituted(spec: unknown, values: Record<string, string | number | boolean> = vars) {
  const problems: string[] = [];
  return { spec: substitute({ object: object(spec), file: "" }, values, problems).spec, problems };
}

Deno.test("substitute() gives a whole value the setting's type and splices into longer text", () => {
  const { spec } = substituted({
    nodePort: "${PORT}",
    on: "${ON}",
    url: "http://${NAME}:${PORT}/",
  });
  assert.deepEqual(spec, { nodePort: 30901, on: true, url: "http://edge-197:30901/" });
});

Deno.test("substitute() keeps text where Kubernetes wants text", () => {
  const { spec } = substituted({
    template: { metadata: { labels: { port: "${PORT}" } } },
    args: ["${PORT}"],
  });
  assert.deepEqual(spec, {
    template: { metadata: { labels: { port: "30901" } } },
    args: ["30901"],
  });
});

Deno.test("substitute() leaves $${NAME}, shell and dashboards' dollars alone", () => {
  const { spec, problems } = substituted({ script: "$${NAME} $1 $(POD) $x", log: "$" });
  assert.deepEqual([spec, problems], [{ script: "${NAME} $1 $(POD) $x", log: "$" }, []]);
});

Deno.test("substitute() keeps the text of an object marked disabled, but not in its metadata", () => {
  const marked = object({ text: "${UNKNOWN}" }, { "deploy.miribit.lab/substitute": "disabled" });
  marked.metadata.labels = { version: "${PORT}" };
  const problems: string[] = [];
  const { spec, metadata } = substitute({ object: marked, file: "" }, vars, problems);
  assert.deepEqual([spec.text, metadata.labels], ["${UNKNOWN}", { version: "30901" }]);
  assert.deepEqual(problems, []);
});

Deno.test("substitute() lists every unknown name with the nearest known one", () => {
  const { problems } = substituted({ a: "${NAMES}", b: ["x", "${PROT}"] });
  assert.equal(problems.length, 2);
  assert.match(problems[0]!, /Service\/a {2}spec\.a {2}\$\{NAMES\}: did you mean NAME\?/);
  assert.match(problems[1]!, /spec\.b\[1\] {2}\$\{PROT\}: did you mean PORT\?/);
});

Deno.test("substitute() refuses variables in keys, names and selectors", () => {
  const problems: string[] = [];
  const bad = object({ "${NAME}": 1, selector: { app: "${NAME}" } });
  bad.metadata.name = "${NAME}";
  substitute({ object: bad, file: "" }, vars, problems);
  assert.equal(problems.length, 3, problems.join("\n"));
});

Deno.test("substitute() lets an argument fall away while its setting is empty or false", () => {
  const template = {
    args: ["--a", "--b=${B?}", "--c${C?}", "--d=${D?} of ${E}", "--z"],
    text: "$${B?}",
  };
  const args = (values: Record<string, string | number | boolean>) =>
    substituted(template, { E: "e", ...values }).spec.args;
  assert.deepEqual(args({ B: "", C: false, D: "" }), ["--a", "--z"]);
  assert.deepEqual(args({ B: 2, C: true, D: "" }), ["--a", "--b=2", "--c", "--z"]);
  assert.deepEqual(args({ B: "", C: false, D: "d" }), ["--a", "--d=d of e", "--z"]);
});

Deno.test("substitute() lets nothing but arguments fall away, and knows the name", () => {
  const problems: string[] = [];
  const bad = object({ args: ["--x=${NAMES?}"], data: { y: "y: ${NAME?}" }, port: "${NAME?}" });
  substitute({ object: bad, file: "" }, vars, problems);
  assert.equal(problems.length, 3, problems.join("\n"));
  assert.match(problems[0]!, /args\[0\] .*did you mean NAME\?/);
  assert.match(problems[1]!, /only an argument may fall away/);
});

Deno.test("A10: substitute() keeps a value that YAML would retype a string", () => {
  for (const value of ["no", "0123", "1e3", "null", "{{x}}", "*a", "2026-11-22", "true"]) {
    assert.equal(substituted({ x: "${V}", y: "v=${V}" }, { V: value }).spec.x, value);
  }
});

Deno.test("render() names object, field, file and the nearest name of an unknown variable", async () => {
  const cluster = await fixtureCluster("197");
  const error = await render("ok", cluster, { root }).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 2);
  assert.equal(error.message, "Cannot render ok for 197: 1 problem");
  assert.match(
    error.where.join(),
    /Service\/monitoring\/sidecar {2}spec\.ports\[0\]\.nodePort {2}\(base\/service\.yaml\) {2}\$\{SIDECAR_NODEPORT\}: did you mean SIDECAR_NODE_PORT\?/,
  );
  assert.match(error.fix!, /env\/schema\.json.*env\/cluster-197\.env/);
});

Deno.test("A71: render() refuses a patch whose target matches nothing, naming the nearest object", async () => {
  const cluster = await fixtureCluster("197");
  const error = await render("unmatched", cluster, { root }).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 2);
  assert.match(
    error.where.join(),
    /edge\/kustomization\.yaml {2}inline patch {2}target Service\/sidecars/,
  );
});

Deno.test("rewriteImages() moves images and image arguments to the mirror, nothing else", async () => {
  const cluster = await fixtureCluster("197", { IMAGE_REGISTRY: "mirror.lab:5000/x" });
  const [result] = rewriteImages([object({
    image: "quay.io/thanos/thanos:v1",
    args: [
      "--prometheus-config-reloader=quay.io/p/r:v1",
      "--url=http://quay.io/",
      "longhornio/ui:v1",
    ],
  })], cluster);
  assert.deepEqual(result!.spec, {
    image: "mirror.lab:5000/x/thanos/thanos:v1",
    args: [
      "--prometheus-config-reloader=mirror.lab:5000/x/p/r:v1",
      "--url=http://quay.io/",
      "mirror.lab:5000/x/longhornio/ui:v1",
    ],
  });
});

Deno.test("rewriteImages() adds the digest that an image is pinned to, and to nothing else", async () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const cluster = {
    ...await fixtureCluster("197"),
    digests: new Map([["quay.io/thanos/thanos:v1", digest], ["quay.io/p/r:v1", digest]]),
  };
  const [result] = rewriteImages([object({
    image: "quay.io/thanos/thanos:v1",
    other: "quay.io/thanos/thanos:v2",
    args: ["--prometheus-config-reloader=quay.io/p/r:v1", "run quay.io/p/r:v1", "constructor"],
  })], cluster);
  assert.deepEqual(result!.spec, {
    image: `quay.io/thanos/thanos:v1@${digest}`,
    other: "quay.io/thanos/thanos:v2",
    args: [
      `--prometheus-config-reloader=quay.io/p/r:v1@${digest}`,
      "run quay.io/p/r:v1",
      "constructor",
    ],
  });
});

Deno.test("rewriteImages() pins an image of the mirror by the mirror's own name", async () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const mirrored = await fixtureCluster("197", { IMAGE_REGISTRY: "mirror.lab:5000" });
  const cluster = { ...mirrored, digests: new Map([["quay.io/a/b:v1", digest]]) };
  const image = (digests: Map<string, string>) =>
    rewriteImages([object({ image: "quay.io/a/b:v1" })], { ...cluster, digests })[0]!.spec.image;
  assert.equal(image(cluster.digests), "mirror.lab:5000/a/b:v1");
  assert.equal(
    image(new Map([["mirror.lab:5000/a/b:v1", digest]])),
    `mirror.lab:5000/a/b:v1@${digest}`,
  );
});

Deno.test("imagesIn() finds images with a tag, in arguments too, and no other text", async () => {
  const cluster = await fixtureCluster("197", { IMAGE_REGISTRY: "mirror.lab:5000/x" });
  const found = imagesIn([
    object({
      containers: [{ image: "registry.example.org/own:1" }, { image: "quay.io/a/b" }],
      args: ["--reloader=mirror.lab:5000/x/p/r:v1", "--url=http://quay.io/", "mirror.lab:5000/x"],
      pinned: { image: `quay.io/a/c:1@sha256:${"a".repeat(64)}` },
      text: "see quay.io/a/b:v1",
    }),
    object({ image: "registry.example.org/own:1" }),
  ], cluster);
  assert.deepEqual(found, ["mirror.lab:5000/x/p/r:v1", "registry.example.org/own:1"]);
});

// lib/config/cluster.ts: the version of a program stands in one place, and everything follows it.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { SETTINGS } from "../../lib/config/schema.ts";
import { renderFile } from "../../lib/render/render.ts";
import { substitute } from "../../lib/render/template.ts";
import { versionsOf } from "../../lib/config/cluster.ts";
import lock from "../../manifests/upstream.lock.json" with { type: "json" };
import pinned from "../../manifests/versions.json" with { type: "json" };
import { backupJobs } from "../../scripts/components/longhorn/backups.ts";
import { reachJob } from "../../scripts/components/minio/buckets.ts";
import { packUpstream } from "../../scripts/components/prometheus/dashboards.ts";
import { adaptRules } from "../../scripts/components/prometheus/objects.ts";
import tools from "../../scripts/tools.json" with { type: "json" };
import { fixtureCluster, fixtureFleet } from "../support/cluster_fixture.ts";
import { grpcFolder } from "../support/grpc_fixture.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const root = new URL("../..", import.meta.url).pathname;
const versions: Record<string, string> = pinned;
const images = Object.keys(SETTINGS).filter((name) => name.endsWith("_IMAGE"));

const RULES: Manifest = {
  apiVersion: "monitoring.coreos.com/v1",
  kind: "PrometheusRule",
  metadata: { name: "upstream" },
  spec: { groups: [{ name: "a", rules: [{ alert: "Up", expr: "up" }] }] },
};
const DASHBOARDS: Manifest = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "upstream" },
  data: { "a.json": "{}" },
};

/** Everything that clusters with these settings get, also what steps make while they run. */
async function everything(environment: Record<string, string>): Promise<[string, Manifest][]> {
  const steps = await renderedFleet(environment);
  const running = (await fixtureFleet(environment)).map((cluster) => ({
    cluster,
    objects: [
      reachJob(cluster),
      renderFile("checks/volume-probe.yaml", cluster, { WORD: "word" }),
      renderFile("checks/node-facts.yaml", cluster, { NODE: "node", SCRIPT: "" }),
      ...backupJobs(cluster),
      ...adaptRules([RULES], cluster),
      ...packUpstream([DASHBOARDS], cluster),
    ],
  }));
  return [...steps, ...running].flatMap(({ cluster, objects }) =>
    objects.map((object): [string, Manifest] => [`${cluster.id} ${idOf(object)}`, object])
  );
}

/** With every choice that brings objects of its own. */
async function everyChoice(chosen: Record<string, string>): Promise<[string, Manifest][]> {
  await using mutualTls = await grpcFolder();
  const flags = ["CONTROL_PLANE_METRICS", "MINIO_METRICS", "THANOS_UI_AUTH"];
  const all = Object.fromEntries(flags.map((name) => [name, "true"]));
  return [
    ...await everything(chosen),
    ...await everything({ ...chosen, ...all, ...mutualTls.environment, INGRESS: "traefik" }),
  ];
}

/** Gives every program a version of its own, which none ever had; the settings among them, and all by name. */
function upgrade(): { chosen: Record<string, string>; made: Record<string, string> } {
  let count = 0;
  const made: Record<string, string> = {};
  const next = (name: string, before: string) =>
    made[name] = before.replace(/^(v?).*/, (_, v) => `${v}9000.${count++}.0`);
  for (const name of Object.keys(versions)) versions[name] = next(name, versions[name]!);
  for (const bundle of lock.bundles) {
    const name = `${bundle.name.toUpperCase().replaceAll("-", "_")}_VERSION`;
    bundle.version = next(name, bundle.version);
  }
  const chosen = Object.fromEntries(images.map((name) => {
    const image = String(SETTINGS[name]!.default);
    const [, before] = /:([^:@/]+)(?:@|$)/.exec(image)!;
    return [name, image.replace(before!, next(name.replace(/IMAGE$/, "VERSION"), before!))];
  }));
  return { chosen, made };
}

/** The text without what is a checksum of the rest. */
function textOf(objects: [string, Manifest][]): string {
  return JSON.stringify(objects, null, 1).replace(/(config-checksum": )"\w+"/g, '$1""');
}

/** A version as number, in any text but an address or a longer number. */
function numberIn(version: string): RegExp {
  return new RegExp(
    String.raw`(?<![\d.])${RegExp.escape(version.replace(/^v/, ""))}(?!\.?\d)`,
    "g",
  );
}

const before = await everyChoice({});
const old = (await fixtureCluster("196")).vars;
const { chosen, made } = upgrade();
const after = await everyChoice(chosen);

Deno.test("U1: a version that is changed in its one place is changed everywhere, and nothing else is", () => {
  let text = textOf(after);
  for (const [name, version] of Object.entries(made)) {
    assert.doesNotMatch(text, numberIn(String(old[name])), `the old ${name} is still rendered`);
    // Nothing of ours comes from it, and Grafana's version is what its dashboards are labelled with.
    if (name === "KUBE_PROMETHEUS_DASHBOARDS_VERSION") continue;
    assert.match(text, numberIn(version), `${name} is rendered nowhere`);
  }
  for (const [name, version] of Object.entries(made)) {
    text = text.replace(numberIn(version), String(old[name]).replace(/^v/, ""));
  }
  assert.ok(text === textOf(before), "something else differs than versions");
});

Deno.test("U1: the label of a workload is the tag of its image, also of one that a setting names", () => {
  const wrong = after.flatMap(([id, { metadata, spec }]) => {
    const pod = spec?.template?.spec;
    const image: unknown = pod?.containers?.[0].image ?? spec?.image;
    if (typeof image !== "string" || !metadata.labels?.["app.kubernetes.io/version"]) return [];
    const labels = [metadata.labels, spec.template?.metadata.labels ?? {}];
    return labels.map((one) => one["app.kubernetes.io/version"])
      .filter((label) => label && !image.split("@")[0]!.endsWith(`:${label}`))
      .map((label) => `${id}: ${label} runs ${image}`);
  });
  assert.deepEqual(wrong, []);
  const said = new Map<string, Set<string>>();
  for (const [, { metadata: { labels = {} } }] of after) {
    const name = labels["app.kubernetes.io/name"]!;
    said.set(name, (said.get(name) ?? new Set()).add(labels["app.kubernetes.io/version"]!));
  }
  assert.deepEqual([...said].filter(([, versions]) => versions.size > 1), []);
});

/** Who says a version that is not deployed by us, or says it in the one place. */
const SAID: Record<string, string> = {
  "manifests/versions.json": "the one place",
  "manifests/upstream.lock.json": "the one place of what comes in a bundle",
  "scripts/deno.json":
    "packages that a deploy needs; a test of the house compares them with deno.json",
  "scripts/tools.json": "programs of this machine; the test below compares",
  "tests/lab/site.env": "what can be had where the lab is",
};

Deno.test("U1: no version stands in any other file of manifests/, lib/, scripts/ and env/", async () => {
  const found: string[] = [];
  for (const folder of ["manifests", "lib", "scripts", "env"]) {
    for (const name of await readdir(join(root, folder), { recursive: true })) {
      const file = join(folder, name);
      if (!/\.(ya?ml|json|ts|sh|env|example)$/.test(name) || file in SAID) continue;
      const lines = contentOf(file, await readFile(join(root, file), "utf8")).split("\n");
      lines.forEach((line, index) => {
        if (hasVersion(line)) found.push(`${file}:${index + 1}: ${line.trim()}`);
      });
    }
  }
  assert.deepEqual(found, []);
});

/** A file without comments, which may speak of versions, and env/schema.json without its one places. */
function contentOf(file: string, text: string): string {
  if (file === "env/schema.json") {
    const settings = JSON.parse(text).properties;
    for (const name of images) delete settings[name].default;
    return JSON.stringify(settings, (key, value) => key === "description" ? "" : value, 1);
  }
  if (file.endsWith(".json")) return text;
  const comment = file.endsWith(".ts") ? /^\s*(\/\/|\/?\*).*$|\s\/\/ .*$/gm : /(^|\s)#.*$/gm;
  return text.replace(comment, "");
}

/** Three numbers that are no address, date or protocol; or an image with a tag of its own. */
function hasVersion(line: string): boolean {
  return /(?<![\w.])v?(?!20\d\d\.)\d+\.\d+\.\d+(?!\.?[\d$])/.test(line) ||
    /\bimage: \S+:[\w.-]+"?$/.test(line);
}

Deno.test("U1: what comes from one upstream release is of one version", () => {
  const before = (name: string) =>
    String(old[`${name.toUpperCase().replaceAll("-", "_")}_VERSION`]);
  assert.equal(before("kube-prometheus-dashboards"), before("kube-prometheus-rules"));
  for (const { name, module } of lock.bundles) {
    if (module) assert.ok(module.endsWith(`@${before(name)}`), module);
  }
});

Deno.test("U2: a version that is only a number, of what was never built and run here, has its release in the lock", async () => {
  const built = await readFile(join(root, "tests/lab/tools.json"), "utf8") + JSON.stringify(tools);
  const isBuilt = (name: string) =>
    built.includes(`{${name}}`) || built.includes(`"${String(old[name]).replace(/^v/, "")}"`);
  const names = [
    ...Object.keys(versions),
    ...images.map((one) => one.replace(/IMAGE$/, "VERSION")),
  ];
  const numbers: Record<string, string> = lock.numbers;
  // Traefik's default is newer than what is built.
  const wanted = names.filter((name) => name === "TRAEFIK_VERSION" || !isBuilt(name));
  assert.deepEqual(Object.keys(numbers).sort(), wanted.sort());
  for (const name of wanted) {
    const version = String(old[name]).replace(/^v/, "");
    assert.ok(numbers[name]!.endsWith(version), `${name} ${version}: ${numbers[name]}`);
  }
});

Deno.test("U1: tools that judge or stand for what is deployed are of its version", () => {
  const deployed = {
    promtool: "PROMETHEUS",
    thanos: "THANOS",
    "prometheus-operator": "PROMETHEUS_OPERATOR",
  };
  for (const [tool, program] of Object.entries(deployed)) {
    const { version } = tools.releases.find(({ programs }) => tool in programs)!;
    assert.equal(`v${version}`, old[`${program}_VERSION`], `${tool} of scripts/tools.json`);
  }
});

Deno.test("versionsOf() takes no setting's name, and a wrong one is told with the nearest", async () => {
  const { vars } = await fixtureCluster("197");
  const names = versionsOf(vars, {}).map(([name]) => name);
  assert.deepEqual(names.filter((name) => name in SETTINGS), []);
  const object = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a" },
    image: "a:${THANOS_VERSON}",
  };
  const problems: string[] = [];
  substitute({ object, file: "" }, vars, problems);
  assert.match(problems.join(), /\$\{THANOS_VERSON\}: did you mean THANOS_VERSION\?/);
});

// What it takes to add a component: its manifests, its folder of scripts, its step; and of what is there
// already three files alone.
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import {
  fakeProgram,
  FLEET_CONFIG,
  FREE,
  identityReply,
  listOf,
  PROXIES,
  servingWhile,
} from "../support/fake_kubectl.ts";

const NEW: Record<string, string> = {
  "manifests/toy/base/kustomization.yaml": "resources: [toy.yaml]\n",
  "manifests/toy/base/toy.yaml": `apiVersion: v1
kind: ConfigMap
metadata: { name: toy, namespace: toys }
data: { greeting: "\${TOY_GREETING}" }
`,
  "manifests/toy/edge/kustomization.yaml": "resources: [../base]\n",
  "scripts/components/toy/access.ts": `// The toy's key for its bucket.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { type Manifest, secret } from "../../../lib/core/object.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { keyOf } from "../../../lib/s3/client.ts";

export const toyKey: S3KeyHolder = {
  program: "TOY",
  keeps: "toys",
  namespace: "toys",
  name: "toy",
  read: ({ id, secret }) => ({ accessKey: id, secretKey: secret }),
};

/** The Secret that its pods read. */
export function toySecret(cluster: Cluster): Manifest {
  const { accessKey, secretKey } = keyOf(cluster, toyKey.program);
  return secret("toy", "toys", { id: accessKey, secret: secretKey });
}
`,
  "scripts/45-toy.ts": `// 45-toy: a greeting. Needs nothing.
import "./needs.ts";
import { main } from "../lib/cli/deploy.ts";
import { step } from "../lib/deploy/step.ts";
import { render } from "../lib/render/render.ts";
import { bucketOf } from "./checks/s3.ts";
import { toyKey, toySecret } from "./components/toy/access.ts";

export const toy = step({
  name: "45-toy",
  checks: [
    bucketOf(toyKey),
    { name: "Toy", hop: "toy -> people", when: "after", run: () => Promise.resolve([]) },
  ],
  s3Key: toyKey,
  objects: (cluster) => render("toy", cluster, { add: [toySecret(cluster)] }),
  async run({ objects, phase, apply }) {
    await phase("Apply", () => apply(objects));
  },
});

if (import.meta.main) await main(toy);
`,
};

const KEY = { type: "string", description: "Key of the toy", default: "", writeOnly: true };
const SETTINGS = {
  TOY_GREETING: { type: "string", description: "What the toy says", default: "hello" },
  TOY_BUCKET: { type: "string", description: "Bucket for toys", default: "toys" },
  TOY_BUCKET_QUOTA: { type: "string", description: "Most of it", default: "" },
  TOY_S3_ACCESS_KEY: KEY,
  TOY_S3_SECRET_KEY: KEY,
};

/** Names what the commands know of the toy: checks, buckets with their keys. */
const ASKING = `import { loadFleet } from "./lib/config/cluster.ts";
import { STEPS } from "./scripts/steps.ts";
import { bucketsOf } from "./scripts/components/minio/buckets.ts";
import { holdingsOf } from "./scripts/operate/rotation/keys.ts";
for (const { checks = [] } of STEPS) for (const { name } of checks) console.log(name);
const [central] = await loadFleet();
for (const { name, key } of bucketsOf(central)) console.log(name, key.setting);
for (const { where, keeps } of await holdingsOf(central)) console.log(where, keeps);
`;

/** A copy of the project with the toy in it. */
async function withToy(): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), "toy-"));
  const parts = ["lib", "scripts", "manifests", "env", "deno.json", "deno.lock", "Makefile"];
  for (const part of parts) await cp(projectPath(part), join(folder, part), { recursive: true });
  for (const [name, text] of Object.entries(NEW)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  const change = async (name: string, how: (text: string) => string) => {
    const before = await readFile(join(folder, name), "utf8"), after = how(before);
    assert.notEqual(after, before, name);
    await writeFile(join(folder, name), after);
  };
  await change("env/schema.json", (text) => {
    const schema = JSON.parse(text);
    return JSON.stringify({ ...schema, properties: { ...schema.properties, ...SETTINGS } });
  });
  await change(
    "env/secret.env.example",
    (text) => `${text}\n# TOY_S3_ACCESS_KEY=''\n# TOY_S3_SECRET_KEY=''\n`,
  );
  await change(
    "scripts/steps.ts",
    (text) =>
      text.replace("import { logging }", 'import { toy } from "./45-toy.ts";\nimport { logging }')
        .replace("logging]", "logging, toy]"),
  );
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

Deno.test("a component is added by its own files and three that are there", async () => {
  await using project = await withToy();
  const { folder } = project;
  const env: Record<string, string | undefined> = {
    ...process.env,
    SECRET_FILE: "no-such-secret.env",
    KUBECONFIG_FILE: "kubeconfig",
    S3_ACCESS_KEY: "dummy-access-key",
    S3_SECRET_KEY: "dummy-secret-key",
    UI_BASIC_AUTH: "admin:{SHA}EXR+0qOQT4KTG69ZJEN3IlnqjcE=",
    TOY_S3_ACCESS_KEY: "dummy-toy-key",
    TOY_S3_SECRET_KEY: "dummy-toy-secret",
  };
  const deno = async (...words: string[]) => {
    const options = { quiet: true, nothrow: true, cwd: folder, env };
    const { exitCode, stdout, stderr } = await $(options)`${[Deno.execPath(), ...words]}`;
    assert.equal(exitCode, 0, stderr);
    return stdout;
  };
  await deno("check", "scripts/fleet.ts");
  const { program, calls } = await fakeProgram([
    { on: "^kustomize ", stdout: NEW["manifests/toy/base/toy.yaml"] },
    { on: "config view", stdout: FLEET_CONFIG },
    identityReply("uid"),
    ...FREE,
    PROXIES,
    { on: " apply .*-f -", stdout: listOf() },
    { on: " get ", stdout: listOf() },
  ]);
  env.PATH = `${dirname(program)}:${env.PATH}`;
  const run = ["run", "--frozen", "--allow-all"];
  const deploy = deno(...run, "scripts/45-toy.ts", "197");
  await servingWhile(deploy, calls, () => Response.json({ items: [] }));
  const sent = (await calls()).filter(({ args }) => / apply /.test(args)).map(({ stdin }) => stdin);
  const objects = sent.flatMap((stdin): Manifest[] => JSON.parse(stdin).items ?? [])
    .filter(({ metadata }) => metadata.namespace !== "kube-system");
  assert.deepEqual(objects.map(idOf).sort(), [
    "ConfigMap/toys/toy",
    "Secret/toys/toy",
  ]);
  assert.equal(objects.find(({ kind }) => kind === "ConfigMap")!.data!.greeting, "hello");
  for (const { metadata } of objects) {
    assert.equal(metadata.labels!["deploy.miribit.lab/step"], "45-toy");
  }

  // Its checks, its bucket and key, its command and its setting are where all others are.
  const asking = join(folder, "asking.ts");
  await writeFile(asking, ASKING);
  const names = await deno(...run, asking);
  assert.match(names, /^Bucket of toys\nToy$/m);
  assert.match(names, /^toys TOY_S3_ACCESS_KEY$/m);
  assert.match(names, /^toys\/toy toys$/m);
  const help = await $({ quiet: true, cwd: folder })`make -n 45-toy CLUSTER=197`;
  assert.match(help.stdout, /scripts\/45-toy\.ts/);
  assert.match(await deno(...run, "scripts/operate/config.ts", "197"), /^TOY_GREETING=hello /m);
});

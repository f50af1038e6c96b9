// What it takes to add a component: its manifests, its folder of scripts, its step; and of what is there
// already three files alone.
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { fakeProgram, FLEET_CONFIG, FREE, identityReply, listOf } from "../support/fake_kubectl.ts";

const NEW: Record<string, string> = {
  "manifests/toy/base/kustomization.yaml": "resources: [toy.yaml]\n",
  "manifests/toy/base/toy.yaml": `apiVersion: v1
kind: ConfigMap
metadata: { name: toy, namespace: toys }
data: { greeting: "\${TOY_GREETING}" }
`,
  "manifests/toy/edge/kustomization.yaml": "resources: [../base]\n",
  "scripts/components/toy/secret.ts": `// The key of the toy.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { type Manifest, secret } from "../../../lib/core/object.ts";

/** The Secret that its pods read. */
export function toySecret(cluster: Cluster): Manifest {
  return secret("toy", "toys", { key: text(cluster, "TOY_KEY") });
}
`,
  "scripts/45-toy.ts": `// 45-toy: a greeting. Needs nothing.
import "./needs.ts";
import { main } from "../lib/cli/deploy.ts";
import { step } from "../lib/deploy/step.ts";
import { render } from "../lib/render/render.ts";
import { toySecret } from "./components/toy/secret.ts";

export const toy = step({
  name: "45-toy",
  checks: [{ name: "Toy", hop: "toy -> people", when: "after", run: () => Promise.resolve([]) }],
  objects: (cluster) => render("toy", cluster, { add: [toySecret(cluster)] }),
  async run({ objects, phase, apply }) {
    await phase("Apply", () => apply(objects));
  },
});

if (import.meta.main) await main(toy);
`,
};

const SETTINGS = {
  TOY_GREETING: { type: "string", description: "What the toy says", default: "hello" },
  TOY_KEY: { type: "string", description: "Key of the toy", default: "", writeOnly: true },
};

/** Names the checks that 50-verify would run. */
const ASKING = `import { STEPS } from "./scripts/steps.ts";
for (const { checks = [] } of STEPS) for (const { name } of checks) console.log(name);
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
  await change("env/secret.env.example", (text) => `${text}\n# TOY_KEY=''\n`);
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
    UI_BASIC_AUTH: "admin:dummy",
    TOY_KEY: "dummy-toy-key",
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
    { on: " apply .*-f -", stdout: listOf() },
    { on: " get ", stdout: listOf() },
  ]);
  env.PATH = `${dirname(program)}:${env.PATH}`;
  const run = ["run", "--frozen", "--allow-all"];
  await deno(...run, "scripts/45-toy.ts", "197");
  const sent = (await calls()).filter(({ args }) => / apply /.test(args)).map(({ stdin }) => stdin);
  const objects = sent.flatMap((stdin) => JSON.parse(stdin).items ?? []);
  const toys = objects.filter(({ metadata }) => metadata.namespace === "toys");
  assert.deepEqual(toys.map(({ kind }) => kind).sort(), ["ConfigMap", "Secret"]);
  assert.equal(toys.find(({ kind }) => kind === "ConfigMap").data.greeting, "hello");
  for (const { metadata } of toys) {
    assert.equal(metadata.labels["deploy.miribit.lab/step"], "45-toy");
  }

  // Its check, its command and its setting are where all others are.
  const asking = join(folder, "asking.ts");
  await writeFile(asking, ASKING);
  const names = await deno(...run, asking);
  assert.match(names, /Toy/);
  const help = await $({ quiet: true, cwd: folder })`make -n 45-toy CLUSTER=197`;
  assert.match(help.stdout, /scripts\/45-toy\.ts/);
  assert.match(await deno(...run, "scripts/operate/config.ts", "197"), /^TOY_GREETING=hello /m);
});

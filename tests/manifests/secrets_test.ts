// Where the values of secrets go: into Secrets alone, from there into files, and into no hash that can be guessed from.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { hashOf, sealedHash } from "../../lib/core/hash.ts";
import { withChecksums } from "../../lib/render/render.ts";
import { idOf, type Manifest, secret, walk } from "../../lib/core/object.ts";
import { SECRETS } from "../support/cluster_fixture.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const OWN_KEYS = Object.fromEntries(
  ["THANOS", "OPENSEARCH", "LONGHORN"].flatMap((program) => [
    [`${program}_S3_ACCESS_KEY`, `dummy-${program}-id`],
    [`${program}_S3_SECRET_KEY`, `dummy-${program}-secret`],
  ]),
);
const HOOK = { ALERT_WEBHOOK_URL: "http://alerts.example.org/dummy-token" };
const GIVEN: Record<string, string> = { ...SECRETS, ...OWN_KEYS, ...HOOK };
const VARIANTS: Record<string, string>[] = [
  {},
  { INGRESS: "traefik" },
  { THANOS_UI_AUTH: "true" },
  {
    NETWORK_POLICIES: "true",
  },
];

/** Everything with these settings, by cluster and id. */
async function objectsOf(environment: Record<string, string>): Promise<Map<string, Manifest>> {
  const fleet = await renderedFleet({ ...GIVEN, ...environment });
  return new Map(
    fleet.flatMap(({ cluster, objects }) =>
      objects.map((object) => [`${cluster.id} ${idOf(object)}`, object] as const)
    ),
  );
}

/** What of an object makes its pods new ones. */
function podOf({ kind, spec }: Manifest): string | undefined {
  if (["Prometheus", "Alertmanager"].includes(kind)) return JSON.stringify(spec);
  return spec?.template?.spec?.containers ? JSON.stringify(spec.template) : undefined;
}

const now = await objectsOf({});

/** Workloads whose pods restart for other values of these settings. */
async function restartsFor(environment: Record<string, string>): Promise<string[]> {
  const then = await objectsOf(environment);
  return [...now].filter(([id, object]) => podOf(object) !== podOf(then.get(id)!))
    .map(([id]) => id).filter((id) => !id.startsWith("198 "));
}

const ROTATIONS: [setting: string, restarts: RegExp[]][] = [
  ["S3_SECRET_KEY", []],
  ["THANOS_S3_SECRET_KEY", [/Prometheus/, /Prometheus/, /compact/, /ruler/, /store/]],
  ["OPENSEARCH_S3_SECRET_KEY", [/196 StatefulSet\/logging/, /197 StatefulSet\/logging/]],
  ["LONGHORN_S3_SECRET_KEY", []],
  ["GRAFANA_ADMIN_PASSWORD", []],
  ["UI_BASIC_AUTH", []],
  ["ALERT_WEBHOOK_URL", []],
];

for (const [setting, restarts] of ROTATIONS) {
  const value = setting === "UI_BASIC_AUTH"
    ? "admin:{SHA}Qlqe3StZVkdUmq0Sywluv/EdAgk="
    : `http://another.example.org/${setting}`;
  Deno.test(`P13: another ${setting} restarts what reads it, and nothing else`, async () => {
    const found = (await restartsFor({ [setting]: value })).sort((a, b) => a < b ? -1 : 1);
    assert.equal(found.length, restarts.length, found.join());
    for (const restart of restarts) assert.ok(found.some((id) => restart.test(id)), `${restart}`);
  });
}

Deno.test("P13: no object but a Secret tells a hash of secrets that is made as fast as it is guessed", () => {
  const text = JSON.stringify([...now.values()].filter(({ kind }) => kind !== "Secret"));
  const secrets = [...now.values()].filter(({ kind }) => kind === "Secret");
  const contents = secrets.flatMap((object) => [
    JSON.stringify([object.data, object.stringData]),
    JSON.stringify(object.data),
    ...Object.values<string>(object.data),
    ...Object.values<string>(object.data).map(atob),
  ]);
  const endpoint = /endpoint: (\S+)/.exec(contents.join("\n"))?.[1];
  assert.ok(endpoint);
  for (const content of [...contents, ...Object.values(GIVEN)]) {
    for (const kind of ["md5", "sha1", "sha256", "sha512"]) {
      const hash = createHash(kind).update(content).digest("hex").slice(0, 12);
      assert.ok(!text.includes(hash), content);
    }
  }
  for (const object of secrets) assert.ok(!text.includes(hashOf(object).slice(0, 12)));
  const key = [GIVEN.THANOS_S3_ACCESS_KEY, GIVEN.THANOS_S3_SECRET_KEY];
  const before = hashOf([`https://${endpoint}`, ...key, ""]).slice(0, 12);
  assert.ok(!text.includes(before));
});

Deno.test("P13: sealedHash() is the same at every seat, another in another place, and takes its time", () => {
  const seal = sealedHash("hush-hush", "Secret/a/b");
  assert.match(seal, /^[0-9a-f]{32}$/);
  assert.equal(sealedHash("hush-hush", "Secret/a/b"), seal);
  assert.notEqual(sealedHash("hush-hush", "Secret/a/c"), seal);
  const started = performance.now();
  for (let guess = 0; guess < 20; guess++) sealedHash(`guess ${guess}`, "Secret/a/b");
  assert.ok(performance.now() - started > 20, "a guess costs more than a millisecond");
});

Deno.test("P13: the checksum of what reads ConfigMaps alone is as it was", () => {
  const volumes = [{ configMap: { name: "c" } }];
  const pod = {
    kind: "Deployment",
    apiVersion: "apps/v1",
    metadata: { name: "d", namespace: "n" },
  };
  const config = {
    kind: "ConfigMap",
    apiVersion: "v1",
    metadata: { name: "c", namespace: "n" },
    data: { a: "1" },
  };
  const spec = { template: { spec: { volumes } } };
  const [found] = withChecksums([{ ...pod, spec }, config, secret("s", "n", { a: "1" })]);
  const hash = createHash("sha256").update(JSON.stringify([{ a: "1" }, undefined])).digest("hex");
  assert.deepEqual(Object.values(found!.spec.template.metadata.annotations), [hash.slice(0, 16)]);
});

for (const variant of VARIANTS) {
  Deno.test(`P13: no pod has a secret in its environment or arguments (${JSON.stringify(variant)})`, async () => {
    const values = Object.entries(GIVEN).filter(([name]) => !/ACCESS_KEY$/.test(name))
      .map(([, value]) => value);
    for (const [id, object] of await objectsOf(variant)) {
      if (object.kind === "Secret") continue;
      walk(object, (value, key) => {
        assert.ok(key !== "secretKeyRef" && key !== "secretRef" || !isEnv(object, value), id);
        if (typeof value === "string") assert.ok(!values.some((one) => value.includes(one)), id);
      });
    }
  });
}

/** Whether this value stands below a variable of a container. */
function isEnv(object: Manifest, wanted: unknown): boolean {
  let found = false;
  walk(object, (value, key) => {
    if (key === "env" || key === "envFrom") walk(value, (below) => found ||= below === wanted);
  });
  return found;
}

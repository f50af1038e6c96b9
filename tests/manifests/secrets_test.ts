// Where the values of secrets go: into Secrets alone, and from there into files.
import assert from "node:assert/strict";
import { idOf, type Manifest, walk } from "../../lib/core/object.ts";
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

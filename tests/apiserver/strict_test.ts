// What the API server refuses of a server-side apply by itself, with kubectl's own check turned off.
import assert from "node:assert/strict";
import { configMap, type Manifest } from "../../lib/core/object.ts";
import { cluster, live, ours } from "./server.ts";
import { applyTo, planOf } from "../support/inventory.ts";

const definition: Manifest = ours({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "lamps.test.example.org" },
  spec: {
    group: "test.example.org",
    scope: "Namespaced",
    names: { kind: "Lamp", plural: "lamps" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      schema: {
        openAPIV3Schema: {
          type: "object",
          properties: { spec: { type: "object", properties: { watts: { type: "integer" } } } },
        },
      },
    }],
  },
});

function deployment(template: object, container: object): Manifest {
  const containers = [{ name: "web", image: "web:1", ...container }];
  const labels = { app: "web" };
  return ours({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels, ...template }, spec: { containers } },
    },
  });
}

function lamp(fields: object): Manifest {
  const metadata = { name: "desk", namespace: "default" };
  return ours({ apiVersion: "test.example.org/v1", kind: "Lamp", metadata, ...fields });
}

function withField(field: string): Manifest {
  const [version] = definition.spec.versions;
  const metadata = { name: "torches.test.example.org" };
  const names = { kind: "Torch", plural: "torches" };
  const versions = [{ ...version, schema: { openAPIV3Schema: { type: "object", [field]: {} } } }];
  return ours({ ...definition, metadata, spec: { ...definition.spec, names, versions } });
}

const twice = [{ name: "LEVEL", value: "info" }, { name: "LEVEL", value: "debug" }];

// The custom object comes with its definition, and so a moment after it.
for (
  const [what, wrong, reason] of [
    [
      "a custom object",
      [definition, lamp({ spec: { wats: 40 } })],
      /\.spec\.wats: field not declared/,
    ],
    [
      "its metadata",
      [lamp({ metadata: { name: "desk", namespace: "default", labelz: {} } })],
      /labelz/,
    ],
    ["a pod template", [deployment({ annotationz: {} }, {})], /\.metadata\.annotationz: field not/],
    ["a container", [deployment({}, { portz: [] })], /\["?.*"?\]\.portz: field not declared/],
    ["a list with a key twice", [deployment({}, { env: twice })], /duplicate entries for key/],
  ] as [string, Manifest[], RegExp][]
) {
  Deno.test(`a mistyped field is refused in ${what}, and the rest is applied`, async () => {
    const fine = ours(configMap(what.replaceAll(" ", "-"), "default", {}));
    const error = await applyTo(cluster, [...wrong, fine]).catch((error) => error);
    assert.equal(error.exitCode, 6);
    assert.match(error.message, /^Cannot apply 1 of \d objects/);
    assert.match(error.where.join("\n"), reason);
    assert.ok(await live("configmap", fine.metadata.name));
  });
}

Deno.test("a mistyped field is refused in a definition, and nothing is sent after it", async () => {
  const after = ours(configMap("after", "default", {}));
  const error = await applyTo(cluster, [withField("propertiez"), after]).catch((error) => error);
  assert.equal(error.exitCode, 6);
  assert.match(error.where.join("\n"), /openAPIV3Schema\.propertiez: field not declared/);
  await assert.rejects(live("configmap", "after"), { stderr: /NotFound/ });
});

Deno.test("E8: a field that only the new form of a definition knows is planned as it is done", async () => {
  const wider = structuredClone(definition);
  const { properties } = wider.spec.versions[0].schema.openAPIV3Schema.properties.spec;
  properties.lux = { type: "integer" };
  await applyTo(cluster, [definition, lamp({ spec: { watts: 1 } })]);
  const second = lamp({ spec: { lux: 3 } });
  second.metadata = { ...second.metadata, name: "floor" };
  const wanted = [wider, lamp({ spec: { watts: 1, lux: 2 } }), second];
  const planned = (await planOf(cluster, wanted)).map(({ action }) => action);
  assert.deepEqual(planned, ["update", "update", "create"]);
  const changed = (await applyTo(cluster, wanted)).map(({ action }) => action);
  assert.deepEqual(changed, ["configured", "configured", "created"]);
});

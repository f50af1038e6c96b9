// scripts/operate/inspect/field.ts, scripts/operate/inspect/origin.ts and scripts/operate/explain.ts: where a field comes from and who owns it.
import assert from "node:assert/strict";
import { join } from "node:path";
import { projectPath } from "../../lib/core/cluster.ts";
import { DeployError } from "../../lib/core/error.ts";
import {
  lookUp,
  nearestIds,
  ownersOf,
  pathText,
  withoutSecrets,
} from "../../scripts/operate/inspect/field.ts";
import { homeOf, settingsIn, sourceOf, touches } from "../../scripts/operate/inspect/origin.ts";
import { idOf, type Manifest, secret } from "../../lib/core/object.ts";
import { templatesOf } from "../../lib/render/render.ts";
import { substitute, templatesIn } from "../../lib/render/template.ts";
import { step } from "../../lib/deploy/step.ts";
import { explainField, explainObject, subjectOf } from "../../scripts/operate/explain.ts";
import { STEPS } from "../../scripts/steps.ts";
import { fixtureCluster, SECRETS } from "../support/cluster_fixture.ts";
import { fakeKubectl } from "../support/fake_kubectl.ts";
import { applied } from "../support/applied.ts";
import { grpcFolder } from "../support/grpc_fixture.ts";

/** Folders that are little more than another one below them. */
const ROLES = ["ingress/nginx-tls", "logging/central", "logging/edge", "longhorn/central"].concat(
  ["longhorn/edge", "prometheus/central", "prometheus/edge", "prometheus/edge-mtls"],
  ["thanos/central-login", "thanos/edge"],
);

const central = await fixtureCluster("196", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const tls = await grpcFolder();
const edge = await fixtureCluster("197", {
  KUBECONFIG_FILE: "tests/fixtures/kubeconfig",
  ...tls.environment,
});
await tls[Symbol.asyncDispose]();
// Rendered while there is still a real kubectl.
const steps = STEPS.filter(({ name }) => ["20-prometheus", "30-thanos"].includes(name))
  .map((one) => ({ ...one, bundles: undefined }));
for (const one of steps) await Promise.all([one.objects(central), one.objects(edge)]);
const root = projectPath("manifests");
const folders = ROLES.map((folder) => join(root, folder));
const built = await Promise.all(folders.map((folder) => templatesIn(root, folder)));

const QUERY = "Deployment/monitoring/thanos-query";

/** As `kubectl get --show-managed-fields -o json` gives it after a deploy, a scale and the controller. */
const LIVE_QUERY: Manifest = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: {
    name: "thanos-query",
    namespace: "monitoring",
    annotations: { "deployment.kubernetes.io/revision": "1" },
    labels: { "app.kubernetes.io/name": "thanos-query" },
    managedFields: [
      {
        manager: "thanos-multi-cluster",
        operation: "Apply",
        time: "2026-11-22T10:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:metadata": { "f:labels": { "f:app.kubernetes.io/name": {} } },
          "f:spec": {
            "f:selector": {},
            "f:template": {
              "f:spec": {
                "f:containers": {
                  'k:{"name":"thanos-query"}': {
                    ".": {},
                    "f:args": {},
                    "f:image": {},
                    "f:name": {},
                    "f:ports": {
                      'k:{"containerPort":10901,"protocol":"TCP"}': {
                        ".": {},
                        "f:containerPort": {},
                        "f:name": {},
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
      {
        manager: "kubectl",
        operation: "Update",
        subresource: "scale",
        time: "2026-11-22T11:00:00Z",
        fieldsV1: { "f:spec": { "f:replicas": {} } },
      },
      {
        manager: "kube-controller-manager",
        operation: "Update",
        subresource: "status",
        time: "2026-11-22T10:00:09Z",
        fieldsV1: {
          "f:metadata": {
            "f:annotations": { ".": {}, "f:deployment.kubernetes.io/revision": {} },
          },
          "f:status": {
            "f:conditions": { ".": {}, 'k:{"type":"Available"}': { ".": {}, "f:status": {} } },
          },
        },
      },
    ],
  },
  spec: {
    replicas: 5,
    selector: { matchLabels: { "app.kubernetes.io/name": "thanos-query" } },
    template: {
      spec: {
        containers: [
          { name: "injected", image: "mesh:1" },
          {
            name: "thanos-query",
            image: "quay.io/thanos/thanos:v0.42.4",
            args: ["query"],
            ports: [{ name: "grpc", containerPort: 10901, protocol: "TCP" }],
          },
        ],
      },
    },
  },
  status: { conditions: [{ type: "Available", status: "True" }] },
};

function found(object: unknown, field: string) {
  const look = lookUp(object, field);
  assert.ok(look.found, field);
  return look;
}

function managers(field: string): string[] {
  return ownersOf(LIVE_QUERY, found(LIVE_QUERY, field).path).map(({ manager }) => manager);
}

Deno.test("lookUp() follows keys, indices, names of items and keys with dots", () => {
  const image = "quay.io/thanos/thanos:v0.42.4";
  const ways: Record<string, unknown> = {
    "spec.replicas": 5,
    "spec.template.spec.containers[1].image": image,
    "spec.template.spec.containers[thanos-query].image": image,
    "metadata.labels.app.kubernetes.io/name": "thanos-query",
    'metadata.labels["app.kubernetes.io/name"]': "thanos-query",
    "spec.selector.matchLabels.app.kubernetes.io/name": "thanos-query",
  };
  for (const [field, value] of Object.entries(ways)) {
    assert.equal(found(LIVE_QUERY, field).value, value, field);
  }
});

Deno.test("lookUp() knows an item by the name that make compare gives it", () => {
  const container = {
    args: ["query", "--query.timeout=2m"],
    volumeMounts: [{ name: "data", mountPath: "/data" }, { name: "data", mountPath: "/x" }],
    ports: [{ containerPort: 10902 }, { containerPort: 10901 }],
  };
  assert.deepEqual(found(container, "args[--query.timeout]").path, ["args", 1]);
  assert.deepEqual(found(container, "args[query]").path, ["args", 0]);
  assert.deepEqual(found(container, "volumeMounts[/x].name").path, ["volumeMounts", 1, "name"]);
  assert.deepEqual(found(container, "ports[10901]").path, ["ports", 1]);
});

Deno.test("lookUp() says how far it came, and which keys are there", () => {
  assert.deepEqual(lookUp(LIVE_QUERY, "spec.replica"), {
    found: false,
    reached: ["spec"],
    keys: ["replicas", "selector", "template"],
  });
  const unknown: Record<string, string[]> = {
    "spec.template.spec.containers[2].image": ["[injected]", "[thanos-query]"],
    "spec.template.spec.containers.image": ["[injected]", "[thanos-query]"],
    "spec.template.spec.containers[1].args[7]": ["[0]"],
    "spec.replicas.x": [],
    'spec["x"]': ["replicas", "selector", "template"],
    constructor: ["apiVersion", "kind", "metadata", "spec", "status"],
    "spec.template.spec.containers[length]": ["[injected]", "[thanos-query]"],
  };
  for (const [field, keys] of Object.entries(unknown)) {
    const look = lookUp(LIVE_QUERY, field);
    assert.deepEqual(!look.found && look.keys, keys, field);
  }
});

Deno.test("pathText() can be given to lookUp() again", () => {
  const path = ["metadata", "labels", "app.kubernetes.io/name"];
  assert.equal(pathText(path), 'metadata.labels["app.kubernetes.io/name"]');
  assert.deepEqual(found(LIVE_QUERY, pathText(path)).path, path);
  assert.equal(pathText(["spec", "containers", 0, "image"]), "spec.containers[0].image");
});

Deno.test("ownersOf() finds items by their keys, wherever they stand in the list", () => {
  const ours = ["thanos-multi-cluster"];
  assert.deepEqual(managers("spec.template.spec.containers[1].image"), ours);
  assert.deepEqual(managers("spec.template.spec.containers[1].ports[0].name"), ours);
  assert.deepEqual(managers("spec.template.spec.containers[0].image"), []);
  assert.deepEqual(managers("status.conditions[0].status"), ["kube-controller-manager"]);
});

Deno.test("ownersOf() gives what lies in a list or map that is owned as a whole to its owner", () => {
  assert.deepEqual(managers("spec.template.spec.containers[1].args[0]"), ["thanos-multi-cluster"]);
  const label = "spec.selector.matchLabels.app.kubernetes.io/name";
  assert.deepEqual(managers(label), ["thanos-multi-cluster"]);
});

Deno.test("ownersOf() names every manager below a map, with how many fields each has", () => {
  const all = ownersOf(LIVE_QUERY, []);
  assert.deepEqual(all.map(({ manager, subresource, fields }) => [manager, subresource, fields]), [
    ["thanos-multi-cluster", undefined, 7],
    ["kubectl", "scale", 1],
    ["kube-controller-manager", "status", 2],
  ]);
  assert.deepEqual(managers("spec"), ["thanos-multi-cluster", "kubectl"]);
});

Deno.test("ownersOf() finds items of a set by their value", () => {
  const live: Manifest = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: "a",
      finalizers: ["x/one", "x/two"],
      managedFields: [{
        manager: "m",
        operation: "Update",
        fieldsV1: { "f:metadata": { "f:finalizers": { ".": {}, 'v:"x/two"': {} } } },
      }],
    },
  };
  const owners = (index: number) => ownersOf(live, ["metadata", "finalizers", index]).length;
  assert.deepEqual([owners(0), owners(1)], [0, 1]);
});

Deno.test("ownersOf() is empty for an object without managed fields", () => {
  assert.deepEqual(ownersOf({ apiVersion: "v1", kind: "X", metadata: { name: "a" } }, []), []);
});

Deno.test("settingsIn() names what is substituted, and nothing else", () => {
  const template = (text: string, annotations = {}) => ({
    object: {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "a", annotations },
      data: { text },
    },
  });
  assert.deepEqual(settingsIn(template("${B} ${A} ${B} $${C} $(D) $E")), ["A", "B"]);
  const kept = { "deploy.miribit.lab/substitute": "disabled" };
  assert.deepEqual(settingsIn(template("${A}", { ...kept, by: "${B}" })), ["B"]);
});

Deno.test("explainField() takes another way of writing an amount, and what is left out, for the same", async () => {
  await fakeKubectl([{ on: "get deployment.v1.apps thanos-query", stdout: live(LIVE_QUERY) }]);
  const subject = await subjectOf(central, QUERY, steps);
  const differs = (wanted: unknown, live: unknown) => {
    const object = (x: unknown) => ({ ...subject.wanted, spec: { x } });
    const lines = explainField(
      { ...subject, wanted: object(wanted), live: object(live) },
      "spec.x",
    );
    return lines.includes("not as wanted");
  };
  assert.equal(differs({ cpu: 0.5 }, { cpu: "500m", extra: 1 }), false);
  assert.equal(differs({ on: false, none: {}, list: [] }, {}), false);
  assert.equal(differs(2, 5), true);
  assert.equal(differs({ a: [{ b: 1 }] }, { a: [] }), true);
});

Deno.test("withoutSecrets() also hides what plain kubectl apply keeps of a Secret", () => {
  const object = secret("a", "n", { key: "hush" }, {
    annotations: { "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"key":"hush"}}' },
  });
  const text = JSON.stringify(withoutSecrets({ ...object, stringData: { other: "hush" } }));
  assert.doesNotMatch(text, /hush|aHVzaA/);
  assert.match(text, /"key":"\(secret\)"/);
});

async function home(cluster: typeof central, id: string) {
  const template = (await templatesOf(cluster)).find(({ object }) => idOf(object) === id)!;
  return { template, ...await homeOf(template) };
}

Deno.test("homeOf() finds the file of an object in the folder itself and in those below it", async () => {
  const query = await home(central, QUERY);
  assert.match(query.file, /^manifests\/thanos\/central\/query\.yaml$/);
  assert.equal(query.written?.spec.replicas, "${QUERY_REPLICAS}");
  const grafana = await home(central, "Deployment/monitoring/kube-prometheus-stack-grafana");
  assert.match(grafana.file, /^manifests\/prometheus\/base\/grafana\/grafana\.yaml$/);
  assert.deepEqual(grafana.patches, []);
});

Deno.test("homeOf() names the kustomization and the files of a generated ConfigMap", async () => {
  const { file, written } = await home(central, "ConfigMap/monitoring/thanos-ruler-rules");
  assert.match(file, /thanos\/central\/kustomization\.yaml \(files\/global\.yaml\)$/);
  assert.equal(written, undefined);
});

Deno.test("homeOf() finds the patches for an object, and touches() the fields that they set", async () => {
  const id = "Prometheus/monitoring/kube-prometheus-stack-prometheus";
  const { template, patches } = await home(edge, id);
  assert.equal(patches.length, 1);
  assert.match(patches[0]!.where, /edge-mtls\/kustomization\.yaml \(sidecar-tls\.patch\.yaml\)$/);
  const set = (field: string) =>
    touches(patches[0]!, template.object, found(template.object, field).path);
  assert.equal(set("spec.thanos.grpcServerTlsConfig.certFile"), true);
  assert.equal(set("spec.thanos.volumeMounts[2]"), true);
  assert.equal(set("spec.thanos"), true);
  assert.equal(set("spec.retention"), false);
});

Deno.test("homeOf() finds the file of what a role has, and what is written there", async () => {
  // All of them take ten seconds.
  for (const template of built.flatMap((all) => [all.at(0)!, all.at(-1)!])) {
    const { file, written } = await homeOf(template);
    assert.match(file, /^manifests\/[\w/-]+\.yaml$/);
    assert.equal(written && idOf(written), idOf(template.object));
  }
});

Deno.test("an unknown variable is told with its file in the folder of every role", () => {
  for (const templates of built) {
    const problems: string[] = [];
    for (const template of templates) substitute(template, {}, problems);
    const fileless = problems.filter((line) => !/ {2}\([\w./-]+\.yaml\) {2}/.test(line));
    assert.deepEqual(fileless, [], templates[0]!.folder);
  }
});

Deno.test("a template has no note of kustomize on where it is from, and cannot be changed", () => {
  const templates = built.flat();
  const noted = templates.filter(({ object }) => JSON.stringify(object).includes("/origin"));
  assert.deepEqual(noted, []);
  const { object, file } = templates.find(({ object }) => object.kind === "Service")!;
  assert.equal(object.metadata.annotations, undefined);
  assert.match(file, /\.yaml$/);
  assert.throws(() => object.spec.ports.push({}), TypeError);
});

Deno.test("annotations are the file's own", async () => {
  const ingress = built.flat().find(({ object: { kind, metadata } }) =>
    kind === "Ingress" && metadata.annotations
  )!;
  const home = await homeOf(ingress);
  assert.match(sourceOf(home, "metadata.annotations")!, new RegExp(`^${home.file}: {"nginx`));
});

Deno.test("touches() follows a merge through lists by the names of items", () => {
  const object = { spec: { containers: [{ name: "a", image: "1" }, { name: "b", image: "2" }] } };
  const content = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p" },
    spec: { containers: [{ name: "b", image: "3" }], nodeName: "n" },
  };
  const set = (...path: (string | number)[]) =>
    touches({ where: "", content }, object as unknown as Manifest, path);
  assert.equal(set("spec", "containers", 1, "image"), true);
  assert.equal(set("spec", "containers", 0, "image"), false);
  assert.equal(set("spec", "containers"), true);
  assert.equal(set("spec", "replicas"), false);
});

Deno.test("explainField() says what is wanted and there, the file, the setting and the owner", async () => {
  await fakeKubectl([{ on: "get deployment.v1.apps thanos-query", stdout: live(LIVE_QUERY) }]);
  const subject = await subjectOf(central, QUERY, steps);
  const lines = explainField(subject, "spec.replicas");
  const replicas = central.vars.QUERY_REPLICAS;
  assert.match(lines, /^object {3}Deployment\/monitoring\/thanos-query {2}on 196 \(cluster-196-/);
  assert.match(lines, new RegExp(`^wanted {3}${replicas}$`, "m"));
  assert.match(lines, /^live {5}5 {2}not as wanted$/m);
  assert.match(
    lines,
    /^from {5}manifests\/thanos\/central\/query\.yaml: "\$\{QUERY_REPLICAS\}"$/m,
  );
  const source = central.sources.QUERY_REPLICAS!;
  assert.match(lines, new RegExp(`^setting {2}QUERY_REPLICAS=${replicas} {2}# ${source}$`, "m"));
  assert.match(lines, /^owner {4}kubectl {2}Update of scale, 1 field, 2026-11-22T11:00:00Z$/m);
});

Deno.test("E1: explainField() calls what was scaled to 0, or removed, ours that nobody has", async () => {
  const subject = async (change: (live: Manifest) => void) => {
    await fakeKubectl([{ on: "get deployment", stdout: live(LIVE_QUERY) }]);
    const { wanted, ...rest } = await subjectOf(central, QUERY, steps);
    const there = applied(structuredClone(wanted));
    change(there);
    return { ...rest, wanted, live: there };
  };
  const scaled = await subject(({ spec, metadata }) => {
    spec.replicas = 0;
    delete metadata.managedFields[0].fieldsV1["f:spec"]["f:replicas"];
  });
  const told = explainField(scaled, "spec.replicas");
  assert.match(told, /^live {5}0 {2}not as wanted$/m);
  assert.match(told, /^owner {4}nobody: it was ours, and was scaled to 0 .* keeps no name/m);
  assert.doesNotMatch(explainField(scaled, "spec.selector"), /nobody/);
  const field = "spec.template.spec.containers[name=thanos-query].args";
  const removed = await subject(({ spec, metadata }) => {
    delete spec.template.spec.containers[0].args;
    const pod = metadata.managedFields[0].fieldsV1["f:spec"]["f:template"]["f:spec"];
    delete pod["f:containers"]['k:{"name":"thanos-query"}']["f:args"];
  });
  assert.match(
    explainField(removed, field),
    /^live {5}\(not there\)[^]*^owner {4}nobody: it was ours, and was removed, /m,
  );
});

Deno.test("explainField() tells labels, code and the API server from files", async () => {
  await fakeKubectl([{ on: "get deployment", stdout: live(LIVE_QUERY) }]);
  const subject = await subjectOf(central, QUERY, steps);
  const from = (field: string) => /^from +(.*)$/m.exec(explainField(subject, field))?.[1];
  const file = "manifests/thanos/central/query.yaml";
  assert.equal(from("spec.revisionHistoryLimit"), `${file}: 3`);
  assert.equal(
    from("metadata.labels.app.kubernetes.io/part-of"),
    `${file}, with the labels of a kustomization.yaml`,
  );
  assert.equal(from("metadata.labels.deploy.miribit.lab/hash"), "added in code by 30-thanos");
  assert.equal(from("status"), "none of our steps");
  const injected = explainField(subject, "spec.template.spec.containers[injected]");
  assert.match(injected, /^wanted +\(nothing is said about it\)$/m);
  assert.match(injected, /^owner +nobody: /m);
});

Deno.test("explainField() names the patch that sets a field", async () => {
  await fakeKubectl([{ on: "get prometheus.v1.monitoring.coreos.com" }]);
  const id = "Prometheus/monitoring/kube-prometheus-stack-prometheus";
  const lines = explainField(await subjectOf(edge, id, steps), "spec.thanos.grpcServerTlsConfig");
  assert.match(lines, /^live +\(not there\)/m);
  assert.match(lines, /^from .*base\/prometheus\/prometheus\.yaml, with the patch below$/m);
  assert.match(
    lines,
    /^patch +manifests\/prometheus\/edge-mtls\/kustomization\.yaml \(sidecar-tls\.patch\.yaml\)$/m,
  );
});

Deno.test("explainField() finds the checksum that code put on a pod", async () => {
  await fakeKubectl([{ on: "get prometheus" }]);
  const id = "Prometheus/monitoring/kube-prometheus-stack-prometheus";
  const subject = await subjectOf(edge, id, steps);
  const field = "spec.podMetadata.annotations.deploy.miribit.lab/config-checksum";
  const lines = explainField(subject, field);
  assert.match(lines, /^from +added in code by 20-prometheus$/m);
  assert.doesNotMatch(lines, /^owner/m);
  assert.match(explainObject(subject), /^live +\(not there\)$/m);
});

Deno.test("explainField() ends with exit 2 and the keys that are there", async () => {
  await fakeKubectl([{ on: "get deployment", stdout: live(LIVE_QUERY) }]);
  const subject = await subjectOf(central, QUERY, steps);
  assert.throws(() => explainField(subject, "spec.template.spec.containers[1].imagee"), (error) => {
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, 2);
    assert.match(error.message, /containers\[1\]\.imagee of Deployment\/monitoring\/thanos-query/);
    assert.match(error.where[0]!, /containers\[1\] has: args, image, name, ports$/);
    return true;
  });
  assert.throws(() => explainField(subject, "spec.replicas.x"), /no such field/);
});

Deno.test("explainObject() gives step, file, settings and managers", async () => {
  await fakeKubectl([{ on: "get deployment", stdout: live(LIVE_QUERY) }]);
  const lines = explainObject(await subjectOf(central, QUERY, steps));
  assert.match(lines, /^step {5}30-thanos$/m);
  assert.match(lines, /^file {5}manifests\/thanos\/central\/query\.yaml$/m);
  assert.match(lines, /^( {9}|setting {2})QUERY_REPLICAS=/m);
  assert.match(lines, /^owner {4}thanos-multi-cluster {2}Apply, 7 fields, /m);
  assert.match(lines, /^(differs {2}| {9})spec\.replicas: 5 -> 1$/m);
  assert.match(lines, /^ {9}kube-controller-manager {2}Update of status, 2 fields, /m);
});

Deno.test("explainField() never shows the value of a Secret", async () => {
  const id = "Secret/monitoring/thanos-s3-config";
  const stored = secret("thanos-s3-config", "monitoring", { "objstore.yml": "hush-hush" });
  await fakeKubectl([{ on: "get secret.v1. thanos-s3-config", stdout: live(stored) }]);
  const subject = await subjectOf(central, id, steps);
  for (const field of ["data.objstore.yml", "data"]) {
    const lines = explainField(subject, field);
    assert.match(lines, /^wanted .*\(secret\)/m);
    assert.match(lines, /^live .*\(secret\).* not as wanted$/m);
    assert.match(lines, /^from +built in code by 20-prometheus$/m);
    for (const value of Object.values({ ...SECRETS, live: "hush-hush" })) {
      assert.ok(!lines.includes(value) && !lines.includes(btoa(value)), field);
    }
  }
});

Deno.test("subjectOf() looks at the own objects of every step before any upstream one", async () => {
  await fakeKubectl([{ on: "get configmap" }]);
  const object = (name: string): Manifest => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: "n" },
  });
  let asked = 0;
  const one = step({
    name: "10-x",
    bundles: () => Promise.resolve([object(`upstream-${++asked}`)]),
    objects: () => Promise.resolve([object("own")]),
    run: async () => {},
  });
  assert.equal((await subjectOf(edge, "ConfigMap/n/own", [one])).upstream, false);
  assert.equal(asked, 0);
  const subject = await subjectOf(edge, "ConfigMap/n/upstream-1", [one]);
  assert.equal(subject.upstream, true);
  assert.match(explainObject(subject), /^file +a pinned upstream release .* in code by 10-x$/m);
});

Deno.test("explainField() of a pinned image names the file of pins, and the registry it comes from", async () => {
  await fakeKubectl([{ on: "get deployment", stdout: "" }]);
  const field = "spec.template.spec.containers[0].image";
  const { wanted } = await subjectOf(central, QUERY, steps);
  const { found, value } = lookUp(wanted, field) as { found: boolean; value: string };
  assert.ok(found && !value.includes("@"));
  const vars = { ...central.vars, IMAGE_REGISTRY: "registry.site" };
  const digests = (image: string) => new Map([[image, `sha256:${"0".repeat(64)}`]]);
  const from = async (cluster: typeof central) =>
    /^from +(.*)$/m.exec(explainField(await subjectOf(cluster, QUERY, steps), field))![1]!;
  const file = "manifests/thanos/central/query.yaml:";
  const pinned = await from({ ...central, digests: digests(value) });
  assert.ok(
    pinned.startsWith(file) && pinned.endsWith(", then by tests/fixtures/no-such-pins.json"),
    pinned,
  );
  const mirrored = value.replace(/^[^/]+/, "registry.site");
  const both = await from({ ...central, vars, digests: digests(mirrored) });
  assert.match(both, /, then by IMAGE_REGISTRY and tests\/fixtures\/no-such-pins\.json$/);
});

Deno.test("subjectOf() ends with exit 2 and the nearest ids of an object that no step wants", async () => {
  const refused = async (id: string) => {
    const error = await subjectOf(central, id, steps).catch((error) => error);
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, 2);
    return error;
  };
  const near = await refused("Deployment/monitoring/thanos-qurey");
  assert.deepEqual(near.where, [`did you mean ${QUERY}?`]);
  assert.equal(near.fix, `make explain-196 OBJ=${QUERY}`);
  const short = await refused("thanos-query");
  assert.match(short.where[0]!, /^did you mean (\w+\/monitoring\/thanos-query( or |\?$)){2,3}/);
  const nothing = await refused("");
  assert.equal(nothing.message, "Cannot explain an object: OBJ= is missing");
  assert.match(nothing.where[0]!, /^the steps want: Alertmanager, ClusterRole, /);
  assert.equal(nothing.fix, "make explain-196 OBJ=Kind/namespace/name");
});

Deno.test("nearestIds() gives those of the name, then similar ones, then those of the kind", () => {
  const ids = [
    "Service/n/web",
    "Deployment/n/web",
    "Deployment/n/web-cache",
    "Deployment/n/mail",
    "Deployment/n/database",
    "Namespace/n",
    "Deployment/m/quite-another",
  ];
  const wanted: Record<string, string[]> = {
    "Deployment/n/wbe-cache": ["Deployment/n/web-cache"],
    "deployment/n/web": ["Deployment/n/web", "Service/n/web", "Deployment/n/web-cache"],
    "web": ["Service/n/web", "Deployment/n/web", "Deployment/n/web-cache"],
    "Deployment/m/nosuch": [
      "Deployment/m/quite-another",
      "Deployment/n/web",
      "Deployment/n/web-cache",
    ],
    "StatefulSet/other/mail": ["Deployment/n/mail"],
    "Deployment/n/cache": ["Deployment/n/web-cache"],
    "Deployment": ["Deployment/n/web", "Deployment/n/web-cache", "Deployment/n/mail"],
    "Deployment/": ["Deployment/n/web", "Deployment/n/web-cache", "Deployment/n/mail"],
    "Ingress/elsewhere/something": [],
    "": [],
  };
  for (const [id, near] of Object.entries(wanted)) assert.deepEqual(nearestIds(id, ids), near, id);
});

Deno.test("subjectOf() takes a kind that the cluster does not serve for an object that is not there", async () => {
  await fakeKubectl([{ on: "api-resources" }]);
  const id = "Prometheus/monitoring/kube-prometheus-stack-prometheus";
  assert.equal((await subjectOf(edge, id, steps)).live, undefined);
});

function live(object: Manifest): string {
  return JSON.stringify(object);
}

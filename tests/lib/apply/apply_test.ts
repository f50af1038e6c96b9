import assert from "node:assert/strict";
import { apply } from "../../../lib/apply/apply.ts";
import { HASH_LABEL, withHash } from "../../../lib/apply/diff.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { Inventory } from "../../../lib/apply/inventory.ts";
import { KEPT } from "../../../lib/kube/target.ts";
import { configMap, type Manifest, OWNED_LABELS, signed } from "../../../lib/core/object.ts";
import { applied } from "../../support/applied.ts";
import { fixtureCluster, SECRETS } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf, type Reply } from "../../support/fake_kubectl.ts";
import { applyTo } from "../../support/inventory.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const a = configMap("a", "monitoring", { text: SECRETS.S3_SECRET_KEY });
const b = configMap("b", "monitoring", {});
const namespace: Manifest = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "monitoring" },
};

const c = configMap("c", "monitoring", {});

/** What kubectl prints of these ConfigMaps, by name and version: as we have applied them once. */
function versions(...rows: [name: string, version: string][]): string {
  const items = rows.map(([name, resourceVersion]) => {
    const { metadata, ...rest } = withHash([a, b, c].find((one) => one.metadata.name === name)!);
    const labels = { ...metadata.labels, [HASH_LABEL]: resourceVersion };
    return applied({ ...rest, metadata: { ...metadata, labels, resourceVersion } });
  });
  return JSON.stringify({ kind: "List", items });
}

Deno.test("apply() tells created, configured and unchanged apart by what is in them", async () => {
  await fakeKubectl([
    {
      on: " get ",
      stdout: versions(["a", "1"], ["b", "2"]),
    },
    {
      on: " apply ",
      stdout: versions(["a", "1"], ["b", "9"], [
        "c",
        "10",
      ]),
    },
  ]);
  const changes = await applyTo(cluster, [a, b, c]);
  assert.deepEqual(changes.map(({ action }) => action), ["unchanged", "configured", "created"]);
});

Deno.test("A39: apply() is server-side and ours; A72: secrets go by stdin only", async () => {
  const calls = await fakeKubectl([{ on: " get ", stdout: versions() }, {
    on: " apply ",
    stdout: versions(),
  }]);
  await applyTo(cluster, [a]);
  const call = (await calls()).find(({ args }) => args.includes(" apply "));
  assert.match(
    call!.args,
    /apply --server-side --field-manager=thanos-multi-cluster --validate=false .*-f -$/,
  );
  assert.match(call!.stdin, new RegExp(SECRETS.S3_SECRET_KEY));
  assert.ok((await calls()).every(({ args }) => !args.includes(SECRETS.S3_SECRET_KEY)));
});

Deno.test("apply() sends definitions in a List of their own before the rest", async () => {
  const calls = await fakeKubectl([{ on: " get ", stdout: versions() }, {
    on: " apply ",
    stdout: versions(),
  }]);
  await applyTo(cluster, [a, namespace]);
  const lists = (await calls()).filter(({ args }) => args.includes(" apply ")).map(({ stdin }) =>
    JSON.parse(stdin).items.map(({ kind }: Manifest) => kind)
  );
  assert.deepEqual(lists, [["Namespace"], ["ConfigMap"]]);
});

/** A definition, and an object that needs it. */
const crd: Manifest = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "things.example.org" },
  spec: {
    group: "example.org",
    names: { kind: "Thing" },
    versions: [{ name: "v1", served: true }, { name: "v1alpha1", served: false }],
  },
};
const thing = { apiVersion: "example.org/v1", kind: "Thing", metadata: { name: "t" } };

const SERVED = "configmaps cm v1 true ConfigMap\n" +
  "customresourcedefinitions crd apiextensions.k8s.io/v1 false CustomResourceDefinition\n";

/** A cluster that serves the new kind some looks later. */
const DEFINING: Reply[] = [
  { on: "get customresourcedefinition.* --selector" },
  { on: "api-resources", stdout: SERVED, times: 3 },
  { on: "api-resources", stdout: "things example.org/v1 true Thing\n" },
  { on: " get ", stdout: versions() },
  { on: " apply ", stdout: versions() },
];

Deno.test("A38: apply() waits for a new definition, and sends only afterwards what needs it", async () => {
  const calls = await fakeKubectl(DEFINING);
  await applyTo(cluster, [thing, a, crd]);
  const told = (await calls()).map(({ args, stdin }) =>
    stdin ? JSON.parse(stdin).items.map(({ kind }: Manifest) => kind).join() : args
  );
  const looks = told.findLastIndex((args) => args.includes("api-resources"));
  assert.ok(told.indexOf("CustomResourceDefinition") < looks);
  assert.ok(looks < told.indexOf("Thing"));
  assert.ok(told.indexOf("ConfigMap") < told.indexOf("Thing"), "it does not wait for that");
});

Deno.test("A43: apply() waits for a definition that a run which was cut off has sent", async () => {
  const { name, labels } = withHash(crd).metadata;
  const calls = await fakeKubectl([
    {
      on: "get customresourcedefinition.* --selector",
      stdout: listOf({ ...crd, metadata: { name, labels } }),
    },
    { on: "api-resources", stdout: SERVED, times: 5 },
    { on: "api-resources", stdout: "things example.org/v1 true Thing\n" },
    { on: " get ", stdout: versions() },
    { on: " apply ", stdout: versions() },
  ]);
  const kinds = "configmap.v1.\ncustomresourcedefinition.v1.apiextensions.k8s.io";
  const inventory = new Inventory({ cluster, kept: configMap(KEPT, "kube-system", { kinds }) });
  await apply(inventory, [thing, a, crd]);
  const told = (await calls()).map(({ args, stdin }) =>
    stdin ? JSON.parse(stdin).items.map(({ kind }: Manifest) => kind).join() : args
  );
  assert.ok(told.findLastIndex((args) => args.includes("api-resources")) < told.indexOf("Thing"));
  assert.ok(!told.includes("CustomResourceDefinition"), "it is as wanted");
});

Deno.test("keep() writes once which objects are ours, and nothing where that is kept already", async () => {
  const calls = await fakeKubectl([
    { on: " get ", stdout: versions(["a", "1"], ["b", "2"]) },
    { on: " apply ", stdout: listOf() },
  ]);
  const [own, other] = signed([a, c], "20-prometheus") as [Manifest, Manifest];
  const objects = ["a", "b", "gone"].map((name) => `20-prometheus v1 ConfigMap/monitoring/${name}`);
  const kept = configMap(KEPT, "kube-system", { objects: objects.join("\n") });
  const inventory = new Inventory({ cluster, kept });
  await inventory.keep([own, other]);
  await inventory.keep([other]);
  const writes = (await calls()).filter(({ args }) => args.includes(" apply "));
  const [{ metadata: { name }, data }] = JSON.parse(writes[0]!.stdin).items;
  assert.deepEqual([writes.length, name], [1, KEPT]);
  assert.deepEqual(data, {
    kinds: "configmap.v1.",
    objects: ["a", "b", "c"].map((name) => `20-prometheus v1 ConfigMap/monitoring/${name}`)
      .join("\n"),
  });
});

Deno.test("E16: keep() takes in what an older revision has deployed: what has our label and our fields", async () => {
  const [own, theirs] = signed([a, b], "20-prometheus") as [Manifest, Manifest];
  const calls = await fakeKubectl([
    { on: " get ", stdout: listOf(applied(own), theirs) },
    { on: " apply ", stdout: listOf() },
  ]);
  const kept = configMap(KEPT, "kube-system", { kinds: "configmap.v1." });
  await new Inventory({ cluster, kept }).keep([signed([c], "30-thanos")[0]!]);
  const { stdin } = (await calls()).at(-1)!;
  assert.deepEqual(JSON.parse(stdin).items[0].data.objects.split("\n"), [
    "20-prometheus v1 ConfigMap/monitoring/a",
    "30-thanos v1 ConfigMap/monitoring/c",
  ]);
});

Deno.test("A32: apply() tries again while the API server restarts", async () => {
  const calls = await fakeKubectl([
    { on: " get ", stdout: versions() },
    { on: " apply ", stderr: "dial tcp: connection refused", code: 1, times: 1 },
    { on: " apply ", stdout: versions(["a", "1"]) },
  ]);
  assert.deepEqual((await applyTo(cluster, [a])).map(({ action }) => action), ["created"]);
  assert.equal((await calls()).filter(({ args }) => args.includes(" apply ")).length, 2);
});

Deno.test("A32: apply() sends again only what did not arrive before the line was cut", async () => {
  const arrived = listOf(applied(withHash(a)));
  const calls = await fakeKubectl([
    { on: " get ", stdout: versions(), times: 2 },
    { on: " apply ", stderr: "read tcp: connection reset by peer", code: 1, times: 1 },
    { on: " get ", stdout: arrived },
    { on: " apply ", stdout: versions(["b", "1"]) },
  ]);
  const changes = await applyTo(cluster, [a, b]);
  assert.deepEqual(changes.map(({ action }) => action), ["created", "created"]);
  const lists = (await calls()).filter(({ args }) => args.includes(" apply ")).map(({ stdin }) =>
    JSON.parse(stdin).items.map(({ metadata }: Manifest) => metadata.name).join()
  );
  assert.deepEqual(lists, ["a,b", "b"]);
});

const CONFLICT = 'Apply failed with 1 conflict: conflict with "MANAGER" using v1: .data.text';

/** A List of a and b of which the API server refuses a, for the sake of that manager. */
function refusing(manager: string): Reply[] {
  const stderr = CONFLICT.replace("MANAGER", manager);
  return [
    {
      on: " get ",
      stdout: versions(["a", "1"], ["b", "2"]),
      times: 1,
    },
    { on: " apply .*-o json", stderr, code: 1, times: 1 },
    {
      on: "validate=false -f -$",
      stderr,
      stdout: "configmap/b serverside-applied\n",
      code: 1,
    },
    { on: "--force-conflicts", stdout: versions(["a", "7"]) },
    { on: " apply ", stderr, code: 1 },
    {
      on: " get ",
      stdout: versions(["a", "7"], ["b", "2"]),
    },
  ];
}

Deno.test("A34: apply() reports another manager's conflict with its object, and applies the others", async () => {
  const calls = await fakeKubectl(refusing("hpa"));
  const error = await applyTo(cluster, [a, b]).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 6);
  assert.equal(error.message, "Cannot apply 1 of 2 objects on 197");
  assert.match(error.where.join(), /^ConfigMap\/monitoring\/a: .*"hpa".*\.data\.text/);
  assert.ok((await calls()).every(({ args }) => !args.includes("--force-conflicts")));
});

Deno.test("apply() takes back what a person changed with kubectl, that object only", async () => {
  const calls = await fakeKubectl(refusing("kubectl-edit"));
  const said: string[] = [];
  const changes = await applyTo(cluster, [a, b], { say: (text) => said.push(text) });
  assert.deepEqual(changes.map(({ action }) => action), ["configured", "unchanged"]);
  assert.deepEqual(said, ["taking ConfigMap/monitoring/a back from kubectl-edit"]);
  const forced = (await calls()).filter(({ args }) => args.includes("--force-conflicts"));
  assert.deepEqual(forced.map(({ stdin }) => JSON.parse(stdin).items.length), [1]);
});

Deno.test("E1: apply() says what it takes back of which the API server keeps no name", async () => {
  const wanted = withHash(deploymentOf(1)), live = applied(structuredClone(wanted));
  live.spec.replicas = 0;
  delete live.metadata.managedFields[0].fieldsV1["f:spec"]["f:replicas"];
  await fakeKubectl([{ on: " get ", stdout: listOf(live) }, {
    on: " apply ",
    stdout: listOf(applied(wanted)),
  }]);
  const said: string[] = [];
  await applyTo(cluster, [deploymentOf(1)], { say: (text) => said.push(text) });
  assert.match(
    said.join(),
    /^taking Deployment\/n\/d back: spec\.replicas: scaled to 0 [^]* no name/,
  );
  assert.equal(said.length, 1);
});

Deno.test("apply() does not take a controller's status for a change", async () => {
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", namespace: "n", labels: { [HASH_LABEL]: "old" } },
  };
  const row = (resourceVersion: string, generation: number) => {
    const metadata = { ...deployment.metadata, resourceVersion, generation };
    return listOf(applied({ ...deployment, metadata }));
  };
  for (const [after, action] of [[row("9", 1), "unchanged"], [row("9", 2), "configured"]]) {
    await fakeKubectl([{ on: " get ", stdout: row("1", 1) }, { on: " apply ", stdout: after }]);
    assert.equal((await applyTo(cluster, [deployment]))[0]!.action, action);
  }
});

Deno.test("E14: apply() waits until an object that is being deleted is gone, then makes it", async () => {
  const going = applied(withHash(a));
  going.metadata.deletionTimestamp = "2026-11-29T00:00:00Z";
  const calls = await fakeKubectl([
    { on: "--selector", stdout: listOf(going) },
    { on: "get .*--filename", stdout: listOf(going), times: 1 },
    { on: "get .*--filename" },
    { on: " apply ", stdout: listOf(applied(withHash(a))) },
  ]);
  const changes = await applyTo(cluster, [a]);
  assert.deepEqual(changes.map(({ action }) => action), ["created"]);
  const verbs = (await calls()).map(({ args }) => / (get|apply) /.exec(args)![1]);
  assert.deepEqual(verbs, ["get", "get", "get", "apply"]);
});

Deno.test("apply() tells an object that was made anew from the one before it", async () => {
  const row = (uid: string) => {
    const metadata = { name: "d", namespace: "n", uid, resourceVersion: "1", generation: 1 };
    return JSON.stringify({
      kind: "List",
      items: [{ apiVersion: "apps/v1", kind: "Deployment", metadata }],
    });
  };
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", namespace: "n" },
  };
  await fakeKubectl([{ on: " get ", stdout: row("old") }, { on: " apply ", stdout: row("new") }]);
  assert.equal((await applyTo(cluster, [deployment]))[0]!.action, "configured");
});

function deploymentOf(replicas: number): Manifest {
  const metadata = { name: "d", namespace: "n", labels: OWNED_LABELS };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: { replicas, minReadySeconds: 5 },
  };
}

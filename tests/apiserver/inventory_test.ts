// What is kept of ours on a cluster, whatever has become of it: on a real API server.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { apply } from "../../lib/apply/apply.ts";
import { Inventory } from "../../lib/apply/inventory.ts";
import { configMap, idOf, type Manifest, OWNER, signed } from "../../lib/core/object.ts";
import { plan } from "../../lib/deploy/plan.ts";
import { type Connection, KEPT } from "../../lib/kube/target.ts";
import { lastWrite } from "../../scripts/operate/centre/questions.ts";
import { cluster, definitionOf, live, servers, typed } from "./server.ts";

const definition = definitionOf("Wheel", "kept.example.org", "v1beta1", "v1");
const wheel: Manifest = {
  apiVersion: "kept.example.org/v1beta1",
  kind: "Wheel",
  metadata: { name: "one", namespace: "default" },
  spec: { size: 1 },
};
const listed = (items: Manifest[]) => ({ apiVersion: "v1", kind: "List", items });
const STEP = "20-kept", OTHER = "30-other";
const wanted = signed([definition, wheel, configMap("kept-a", "default", {})], STEP);
const others = signed([configMap("kept-b", "default", {})], OTHER);

/** What is known at the start of a run. */
async function begun(take?: string[]): Promise<Inventory> {
  return new Inventory(await connected(), { take });
}

async function connected(): Promise<Connection> {
  const found = await live("configmap", KEPT, "kube-system").catch(() => undefined);
  return { cluster, kept: found, isNew: !found };
}

async function deployed(objects: Manifest[]): Promise<string[]> {
  const inventory = await begun();
  await inventory.keep(objects);
  const changes = await apply(inventory, objects);
  return changes.filter(({ action }) => action !== "unchanged").map(({ id }) => id);
}

async function kept(): Promise<string[]> {
  const { data } = await live("configmap", KEPT, "kube-system");
  return data.objects.split("\n").map((line: string) => line.split(" ").at(-1));
}

const ALL = [...wanted, ...others].map(idOf).sort();

Deno.test("A38: a definition that serves two versions is established, and an older one of them is ours", async () => {
  const before = Date.now();
  await deployed(wanted);
  await deployed(others);
  assert.ok(Date.now() - before < 60_000);
  assert.deepEqual((await kept()).sort(), ALL);
  assert.deepEqual(await deployed(wanted), []);
});

Deno.test("E16: what an older revision has left of the list is enough: definitions are known again, too", async () => {
  // As it applies the ConfigMap: with kinds alone.
  const { data: { kinds } } = await live("configmap", KEPT, "kube-system");
  const old = listed([configMap(KEPT, "kube-system", { kinds })]);
  await typed(["apply", "--server-side", `--field-manager=${OWNER}`, "-f", "-"], old);
  await deployed(others);
  assert.deepEqual((await kept()).sort(), ALL);
  // Nothing kept at all, and a step alone.
  await typed(["delete", "configmap", KEPT, "-n", "kube-system"]);
  const lost = new Inventory({ cluster });
  await lost.keep(others);
  assert.deepEqual((await kept()).filter((id) => ALL.includes(id)).sort(), ALL);
});

Deno.test("E16: what an older revision has made is in the list after the next run, though it wrote no line", async () => {
  const [own] = signed([configMap("kept-old", "default", {})], OTHER) as [Manifest];
  await typed(["apply", "--server-side", `--field-manager=${OWNER}`, "-f", "-"], listed([own]));
  await deployed(wanted);
  assert.ok((await kept()).includes(idOf(own)));
  const left = await (await begun()).unwanted([STEP, OTHER], new Set(ALL));
  assert.deepEqual(left.map(idOf), [idOf(own)]);
});

Deno.test("E16: what was to be made when a run was cut off is not asked for one by one", async () => {
  const many = Array.from({ length: 60 }, (_, index) => configMap(`kept-${index}`, "default", {}));
  const before = await begun();
  await before.keep([...wanted, ...signed(many, STEP)]);
  const mark = await servers.mark(cluster);
  const found = await (await begun()).live();
  assert.ok(found.has(idOf(wheel)) && !found.has("ConfigMap/default/kept-0"));
  const asked = await servers.requestsSince(mark, cluster);
  assert.ok(asked < 30, `${asked} requests`);
});

Deno.test("lastWrite() is when a deploy last changed or deleted something, whatever people and runs without work do", async () => {
  const [one, two] = signed(
    [configMap("kept-d", "default", { a: "1" }), configMap("kept-e", "default", {})],
    OTHER,
  ) as [Manifest, Manifest];
  const last = async () => Date.parse((await lastWrite(await connected()))!);
  // The API server keeps whole seconds.
  const second = () => sleep(1100);
  await deployed([one, two]);
  const first = await last();
  assert.ok(Math.abs(Date.now() - first) < 60_000);
  await second();
  await typed(["annotate", "configmap", "kept-d", "-n", "default", "example.org/x=1"]);
  assert.deepEqual(await deployed([two]), []);
  assert.equal(await last(), first);
  await deployed([{ ...one, data: { a: "2" } }]);
  const changed = await last();
  assert.ok(changed > first);
  await second();
  const inventory = await begun();
  await inventory.prune([(await inventory.live()).get(idOf(two))!]);
  assert.ok(await last() > changed);
  // A first deploy keeps the names of all kinds before it has defined them.
  const kept = { data: { kinds: "absents.v1.example.org" } } as unknown as Manifest;
  assert.ok(await lastWrite({ ...await connected(), kept }));
});

Deno.test("E8: another deployer's object of a kind that we define is refused alike, when our definition has no label", async () => {
  await typed(["delete", "wheel", "one", "-n", "default"]);
  await typed(["label", "customresourcedefinition", definition.metadata.name].concat([
    "app.kubernetes.io/managed-by-",
  ]));
  const theirs = listed([wheel]);
  await typed(["apply", "--server-side", "--field-manager=helm", "-f", "-"], theirs);
  const entries = await plan(await begun(), wanted, [{ name: STEP }]);
  const actions = entries.map(({ id, action, fields }) => `${action} ${id} ${fields}`);
  assert.ok(actions.join().includes("refused Wheel/default/one"), actions.join());
  await assert.rejects(deployed(wanted), { exitCode: 6 });
  await typed(["delete", "wheel", "one", "-n", "default"]);
  assert.deepEqual((await deployed(wanted)).sort(), [
    "CustomResourceDefinition/wheels.kept.example.org",
    "Wheel/default/one",
  ]);
  assert.deepEqual(await deployed(wanted), []);
});

Deno.test("E16: the list is ours, whoever has put it back from a backup", async () => {
  const { data } = await live("configmap", KEPT, "kube-system");
  await typed(["delete", "configmap", KEPT, "-n", "kube-system"]);
  const restored = listed([configMap(KEPT, "kube-system", data)]);
  await typed(["apply", "--server-side", "--field-manager=velero", "-f", "-"], restored);
  const [more] = signed([configMap("kept-c", "default", {})], OTHER) as [Manifest];
  await deployed([...others, more]);
  assert.ok((await kept()).includes(idOf(more)));
});

Deno.test("E1: --take of a program that counts as a controller is planned as it is done, and binds a plan", async () => {
  await typed(["annotate", "configmap", "kept-a", "-n", "default", "--field-manager=my-controller"]
    .concat("example.org/x=1"));
  const told = async (take?: string[]) =>
    (await plan(await begun(take), wanted, [{ name: STEP }])).find(({ id }) =>
      id === "ConfigMap/default/kept-a"
    )!;
  assert.equal((await told()).action, "unchanged", (await told()).fields.join());
  const taking = await told(["my-controller"]);
  assert.equal(taking.action, "update");
  assert.match(taking.fields.join(), /example\.org\/x: "1" -> \(none\), written by my-controller/);
  await apply(await begun(["my-controller"]), wanted);
  const { metadata } = await live("configmap", "kept-a");
  assert.equal(metadata.annotations?.["example.org/x"], undefined);

  const person = ["annotate", "configmap", "kept-a", "-n", "default", "example.org/y=1"];
  await typed(person);
  await typed([...person.slice(0, -1), "--field-manager=mytool", "example.org/z=1"]);
  assert.notEqual((await told()).mark, (await told(["mytool"])).mark);
  await apply(await begun(["mytool"]), wanted);
});

// What somebody has deleted and something still holds: plan and deploy say the same of it, and nothing is lost. On
// a real API server, where namespaces are finalized by hand: there is no controller that would.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { apply } from "../../lib/apply/apply.ts";
import { Inventory } from "../../lib/apply/inventory.ts";
import { configMap, idOf, type Manifest, signed } from "../../lib/core/object.ts";
import { plan } from "../../lib/deploy/plan.ts";
import { KEPT } from "../../lib/kube/target.ts";
import { cluster, definitionOf, live, typed } from "./server.ts";

const STEP = "20-going";
const HELD = JSON.stringify({ metadata: { finalizers: ["example.org/slow"] } });
const FREE = JSON.stringify({ metadata: { finalizers: null } });

/** What is known at the start of a run. */
async function begun(): Promise<Inventory> {
  const found = await live("configmap", KEPT, "kube-system").catch(() => undefined);
  return new Inventory({ cluster, kept: found, isNew: !found });
}

async function planned(objects: Manifest[]): Promise<string[]> {
  const entries = await plan(await begun(), objects);
  return entries.filter(({ action }) => action !== "unchanged")
    .map(({ id, action }) => `${action} ${id}`);
}

async function deployed(objects: Manifest[]): Promise<string[]> {
  const inventory = await begun();
  await inventory.keep(objects);
  const changes = await apply(inventory, objects);
  return changes.filter(({ action }) => action !== "unchanged")
    .map(({ id, action }) => `${action.replace(/d$/, "")} ${id}`);
}

function patched(kind: string, name: string, namespace: string, patch: string): Promise<string> {
  return typed(["patch", kind, name, "--namespace", namespace, "--type=merge", "--patch", patch]);
}

Deno.test("E14: a namespace that is being deleted is made anew with all that was in it", async () => {
  const metadata = { name: "going" };
  const space: Manifest = { apiVersion: "v1", kind: "Namespace", metadata };
  const maps = ["a", "b"].map((name) => configMap(name, metadata.name, { a: "1" }));
  const objects = signed([space, ...maps], STEP);
  await deployed(objects);
  await typed(["delete", "namespace", metadata.name, "--wait=false"]);
  // One is gone already when the deploy looks, the other is still there.
  await typed(["delete", "configmap", "a", "--namespace", metadata.name]);
  const all = objects.map((object) => `create ${idOf(object)}`).sort();
  assert.deepEqual((await planned(objects)).sort(), all);
  const deploying = deployed(objects);
  await sleep(3000);
  await typed(["delete", "configmap", "b", "--namespace", metadata.name]);
  const end = ["replace", "--raw", `/api/v1/namespaces/${metadata.name}/finalize`, "-f", "-"];
  await typed(end, { ...space, spec: { finalizers: [] } });
  assert.deepEqual((await deploying).sort(), all);
  assert.deepEqual(await planned(objects), []);
});

Deno.test("E14: a definition that is being deleted is made anew with the objects of its kind", async () => {
  const definition = definitionOf("Cog", "going.example.org", "v1");
  const cogs = ["one", "two"].map((name): Manifest => ({
    apiVersion: "going.example.org/v1",
    kind: "Cog",
    metadata: { name, namespace: "default" },
    spec: { size: 1 },
  }));
  const objects = signed([definition, ...cogs], STEP);
  await deployed(objects);
  await patched("cog", "one", "default", HELD);
  const { name } = definition.metadata;
  await typed(["delete", "customresourcedefinition", name, "--wait=false"]);
  await typed(["wait", "crd", name, "--for=condition=Terminating", "--timeout=60s"]);
  await typed(["wait", "cog/two", "--namespace", "default", "--for=delete", "--timeout=60s"]);
  const all = objects.map((object) => `create ${idOf(object)}`).sort();
  assert.deepEqual((await planned(objects)).sort(), all);
  const deploying = deployed(objects);
  await sleep(3000);
  await patched("cog", "one", "default", FREE);
  assert.deepEqual((await deploying).sort(), all);
  assert.deepEqual(await planned(objects), []);
});

Deno.test("A59: prune() waits for what a finalizer holds, and ends (7) with its name", async () => {
  const objects = signed([configMap("left", "default", {})], "25-left");
  await deployed(objects);
  await patched("configmap", "left", "default", HELD);
  const inventory = await begun();
  const surplus = await inventory.unwanted(["25-left"], new Set());
  assert.deepEqual(surplus.map(idOf), ["ConfigMap/default/left"]);
  await assert.rejects(inventory.prune(surplus), {
    exitCode: 7,
    where: ["ConfigMap/default/left: is being deleted, held by example.org/slow"],
  });
  await patched("configmap", "left", "default", FREE);
});

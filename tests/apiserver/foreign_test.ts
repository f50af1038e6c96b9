// Objects that were there before us, on a real API server.
import assert from "node:assert/strict";
import { configMap, type Manifest } from "../../lib/core/object.ts";
import { cluster, live, ours, typed } from "./server.ts";
import { applyTo, planOf } from "../support/inventory.ts";

const role: Manifest = ours({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: { name: "reader" },
  rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }],
});
const map = ours(configMap("settings", "default", { level: "info" }));
const fresh = ours(configMap("fresh", "default", {}));

/** As another program applies it. */
async function appliedBy(manager: string, object: Manifest): Promise<void> {
  const { labels: _, ...metadata } = object.metadata;
  const words = ["apply", "--server-side", `--field-manager=${manager}`, "--filename", "-"];
  await typed(words, { ...object, metadata });
}

function actions(entries: { id: string; action: string }[]): Record<string, string> {
  return Object.fromEntries(entries.map(({ id, action }) => [id, action]));
}

Deno.test("A34: what another deployer has is left to it, and said with the two ways on", async () => {
  await appliedBy("helm", role);
  const error = await applyTo(cluster, [role, fresh]).catch((error) => error);
  assert.equal(error.exitCode, 6);
  assert.match(
    error.where.join("\n"),
    /^ClusterRole\/reader: .* helm has it\n +remove it with helm/,
  );
  assert.equal((await live("clusterrole", "reader")).metadata.labels, undefined);

  const [planned] = await planOf(cluster, [role, fresh]);
  assert.equal(planned!.action, "refused");

  const [, command] = /hand it over: kubectl (.*)/.exec(error.where.join("\n"))!;
  await typed(command!.split(" "));
  const changes = await applyTo(cluster, [role, fresh]);
  assert.deepEqual(actions(changes), {
    "ClusterRole/reader": "configured",
    "ConfigMap/default/fresh": "created",
  });
});

Deno.test("what a person has made becomes ours: planned as an update, said, and not called created", async () => {
  await typed(["create", "configmap", "settings", "--from-literal=level=debug"]);
  const planned = await planOf(cluster, [map]);
  assert.deepEqual(actions(planned), { "ConfigMap/default/settings": "update" });
  assert.ok(
    planned[0]!.fields.includes('data.level: "debug" -> "info"'),
    planned[0]!.fields.join(),
  );

  const said: string[] = [];
  const changes = await applyTo(cluster, [map], { say: (text) => said.push(text) });
  assert.deepEqual(actions(changes), { "ConfigMap/default/settings": "configured" });
  assert.match(said.join("\n"), /ConfigMap\/default\/settings was here before/);
  assert.equal((await live("configmap", "settings")).data.level, "info");
  assert.deepEqual(actions(await applyTo(cluster, [map])), {
    "ConfigMap/default/settings": "unchanged",
  });
});

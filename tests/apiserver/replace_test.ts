// Fields that cannot change, on a real API server.
import assert from "node:assert/strict";
import { rm, stat } from "node:fs/promises";
import type { DeployError } from "../../lib/core/error.ts";
import { configMap, idOf, type Manifest } from "../../lib/core/object.ts";
import type { Change } from "../../lib/io/report.ts";
import { cluster, live, ours, typed } from "./server.ts";
import { applyTo, planOf } from "../support/inventory.ts";

/** Objects with a field that cannot change, and a change of it. */
const CHANGES: [what: string, before: Manifest, change: (object: Manifest) => void][] = [
  ["StorageClass", {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name: "slow" },
    provisioner: "example.org/disk",
    parameters: { replicas: "1" },
  }, (object) => object.parameters.replicas = "2"],
  ["Service", {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "door", namespace: "default" },
    spec: {
      type: "NodePort",
      selector: { app: "door" },
      clusterIP: "10.0.0.77",
      ports: [{ name: "http", port: 80, targetPort: 8080, nodePort: 30123, protocol: "TCP" }],
    },
  }, (object) => object.spec.clusterIP = "10.0.0.78"],
  ["RoleBinding", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "readers", namespace: "default" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [{ kind: "ServiceAccount", name: "default", namespace: "default" }],
  }, (object) => object.roleRef.name = "edit"],
  ["Deployment", workload("Deployment"), (object) => {
    object.spec.selector.matchLabels = { app: "other" };
    object.spec.template.metadata.labels = { app: "other" };
  }],
];

function workload(kind: "Deployment" | "StatefulSet"): Manifest {
  const labels = { app: "web" };
  const containers = [{ name: "web", image: "example.org/web:1" }];
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
      ...(kind === "StatefulSet" ? { serviceName: "web" } : {}),
    },
  };
}

function changed(before: Manifest, change: (object: Manifest) => void): Manifest {
  const after = structuredClone(before);
  change(after);
  return after;
}

for (const [what, before, change] of CHANGES) {
  Deno.test(`A36: a ${what} that cannot change is refused with the way out, and replaced when named`, async () => {
    const [wanted, id] = [ours(changed(before, change)), idOf(before)];
    await applyTo(cluster, [ours(before)]);
    const { uid } = (await live(what, before.metadata.name)).metadata;

    const bystander = ours(configMap(`beside-${what.toLowerCase()}`, "default", {}));
    const error: DeployError = await applyTo(cluster, [wanted, bystander]).then(
      () => assert.fail("it was accepted"),
      (error) => error,
    );
    assert.equal(error.exitCode, 6);
    assert.match(error.where.join("\n"), new RegExp(`^${id}: [^]*REPLACE=${id} `));
    assert.equal((await live(what, before.metadata.name)).metadata.uid, uid);
    await live("ConfigMap", bystander.metadata.name);

    const planned = await planOf(cluster, [wanted, bystander]);
    assert.deepEqual(planned.map(({ action }) => action), ["refused", "unchanged"]);
    assert.match(planned[0]!.fields.join("\n"), new RegExp(`REPLACE=${id} `));

    const said: string[] = [];
    const options = { replace: new Set([id]), say: (text: string) => said.push(text) };
    const changes = await applyTo(cluster, [wanted, bystander], options);
    assert.deepEqual(changesOf(changes), [id]);
    const now = await live(what, before.metadata.name);
    assert.notEqual(now.metadata.uid, uid);
    assert.deepEqual((await planOf(cluster, [wanted])).map(({ action }) => action), [
      "unchanged",
    ]);

    // The way back that it names.
    assert.match(said.join(), new RegExp(`replacing ${id}; back to what it was: kubectl .*-f `));
    const kept = said.join().split(" -f ")[1]!;
    await typed(["replace", "--force", "-f", kept]);
    const { metadata: _, ...fields } = before;
    assert.partialDeepStrictEqual(await live(what, before.metadata.name), fields);
    assert.equal((await stat(kept)).mode & 0o777, 0o600);
    await rm(kept);
  });
}

function changesOf(changes: Change[]): string[] {
  return changes.filter(({ action }) => action !== "unchanged").map(({ id }) => id);
}

Deno.test("A36: nothing is deleted when the API server would not take the new object either", async () => {
  const [, before] = CHANGES.find(([what]) => what === "Service")!;
  const { uid } = (await live("Service", "door")).metadata;
  const wanted = ours(changed(before, (object) => {
    object.spec.clusterIP = "10.0.0.79";
    object.spec.ports[0].protocol = "IPX";
  }));
  const options = { replace: new Set([idOf(before)]) };
  await assert.rejects(applyTo(cluster, [wanted], options), { exitCode: 6 });
  assert.equal((await live("Service", "door")).metadata.uid, uid);
});

Deno.test("A36: a StatefulSet is never replaced: the command that leaves its pods is named", async () => {
  const before = ours(workload("StatefulSet"));
  await applyTo(cluster, [before]);
  const wanted = changed(before, (object) => object.spec.serviceName = "other");
  const options = { replace: new Set([idOf(before)]) };
  const error = await applyTo(cluster, [wanted], options).catch((error) => error);
  assert.equal(error.exitCode, 6);
  assert.match(
    error.where.join("\n"),
    /kubectl --context mkube-196 delete statefulset web .*--cascade=orphan/,
  );
});

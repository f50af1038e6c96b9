// A deploy over a bad line, to a real API server.
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Cluster } from "../../lib/core/cluster.ts";
import { connect } from "../../lib/kube/target.ts";
import { writeKubeconfig } from "../../scripts/demo/control_plane.ts";
import { configMap, type Manifest } from "../../lib/core/object.ts";
import { type BadLine, badLine, type Faults } from "../bench/badline.ts";
import { cluster, clusterAt, folder, live, ours, servers } from "./server.ts";
import { applyTo } from "../support/inventory.ts";

/** A definition, an object of it, and plain objects. */
function objects(name: string, count = 30): Manifest[] {
  const [kind, plural, group] = ["Thing", "things", `${name}.example.org`];
  const schema = {
    openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  };
  const definition: Manifest = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural, singular: "thing", listKind: "ThingList" },
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  };
  const plain = Array.from(
    { length: count },
    (_, index) => configMap(`${name}-${index}`, "default", { text: `line ${index}` }),
  );
  const service: Manifest = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { selector: { app: name }, ports: [{ port: 80, protocol: "TCP", targetPort: 8080 }] },
  };
  const thing: Manifest = {
    apiVersion: `${group}/v1`,
    kind,
    metadata: { name: "t", namespace: "default" },
  };
  return [definition, ...plain, service, thing].map(ours);
}

/** The cluster at the far end of a bad line. */
async function over(line: BadLine, name: string): Promise<Cluster> {
  const path = join(folder, `kubeconfig-${name}`);
  const access = await servers.accessTo(cluster);
  await writeKubeconfig(path, [[cluster, { ...access, server: line.server }]]);
  return await clusterAt(path);
}

const LINES: [title: string, name: string, faults: Faults][] = [
  ["A32: connections that are cut", "cut", { cut: 0.15 }],
  ["A32: an API server that is away now and then", "away", { away: 0.1 }],
  ["A33: an API server that is too busy", "busy", { busy: 0.2 }],
  ["A32: a slow line", "slow", { latency: 100 }],
  ["A41: a webhook that is not up for some seconds", "webhook", {
    webhook: { path: "/services/", seconds: 4 },
  }],
  ["A32, A33, A41: all of that at once", "all", {
    cut: 0.05,
    busy: 0.05,
    away: 0.05,
    latency: 20,
    webhook: { path: "/services/", seconds: 2 },
  }],
];

for (const [title, name, faults] of LINES) {
  Deno.test(`${title}: one apply brings everything about, the next one changes nothing`, async () => {
    await using line = await badLine(await servers.accessTo(cluster), faults);
    const there = await over(line, name);
    const wanted = objects(name);
    const said: string[] = [];
    await applyTo(there, wanted, { say: (text) => said.push(text) });
    assert.ok(line.requests > wanted.length);
    assert.ok(faults.latency === 100 || line.faults > 0, "nothing went wrong");

    const again = await applyTo(cluster, wanted);
    assert.deepEqual(new Set(again.map(({ action }) => action)), new Set(["unchanged"]));
    const { data } = await live("configmap", `${name}-7`);
    assert.deepEqual(data, { text: "line 7" });
  });
}

Deno.test("A31: an API server that cannot be reached at all ends the run with its address", async () => {
  const line = await badLine(await servers.accessTo(cluster), {});
  const there = await over(line, "gone");
  await line[Symbol.asyncDispose]();
  await assert.rejects(connect(there), { exitCode: 5, message: /3 tries/ });
});

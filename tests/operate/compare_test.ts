// scripts/operate/compare.ts: whether clusters that should be alike are.
import assert from "node:assert/strict";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError } from "../../lib/core/error.ts";
import { byId } from "../../lib/apply/live.ts";
import { HASH_LABEL, withHash } from "../../lib/apply/diff.ts";
import { idOf, type Manifest, secret, signed, STEP_LABEL } from "../../lib/core/object.ts";
import { desired, step } from "../../lib/deploy/step.ts";
import {
  comparable,
  compare,
  comparedJson,
  comparedPage,
  compareSides,
  exitCodeOfCompared,
  fieldsOf,
} from "../../scripts/operate/compare.ts";
import { STEPS } from "../../scripts/steps.ts";
import { refuseUndescribed } from "../support/schema.ts";
import { fixtureFleet, SECRETS } from "../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  identityReply,
  listOf,
  type Reply,
} from "../support/fake_kubectl.ts";

const fleet = await fixtureFleet({ KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const edges = fleet.filter(({ role }) => role === "edge");
// Rendered while there is still a real kubectl.
const metrics = { ...STEPS.find(({ name }) => name === "20-prometheus")!, bundles: undefined };
const rendered = await Promise.all(edges.map((cluster) => desired(metrics, cluster)));

/** A Service as the steps want it. */
function service(changes: Record<string, unknown> = {}): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "door", namespace: "n", labels: { [STEP_LABEL]: "20-x" } },
    spec: { type: "NodePort", ports: [{ name: "http", port: 80 }], ...changes },
  };
}

/** As an API server gives it: defaults, its own fields, and what its controllers write. */
function stored(object: Manifest, seed: string): Manifest {
  const live = structuredClone(withHash(object));
  Object.assign(live.metadata, {
    uid: `uid-${seed}-${live.metadata.name}`,
    resourceVersion: seed,
    generation: seed.length,
    creationTimestamp: `2026-11-22T10:00:${seed.slice(0, 2)}Z`,
    managedFields: [{ manager: "thanos-multi-cluster", time: seed }],
  });
  live.status = { observedGeneration: seed };
  if (live.kind === "Service") {
    Object.assign(live.spec, { clusterIP: `10.0.0.${seed}`, clusterIPs: [`10.0.0.${seed}`] });
    for (const port of live.spec.ports) port.nodePort ??= 30000 + Number(seed);
  }
  if (live.kind === "Deployment") {
    live.metadata.annotations = {
      ...live.metadata.annotations,
      "deployment.kubernetes.io/revision": seed,
    };
  }
  if (live.kind === "DaemonSet") {
    live.metadata.annotations = {
      ...live.metadata.annotations,
      "deprecated.daemonset.template.generation": seed,
    };
  }
  return live;
}

/** Sides whose live objects are as wanted, after `change` to the second's. */
function sides(
  wanted: [Manifest[], Manifest[]],
  change: (live: Map<string, Manifest>) => void = () => {},
) {
  const [left, right] = [["11", wanted[0]], ["12", wanted[1]]] as const;
  const [first, second] = [left, right].map(([uid, wanted]) => ({
    wanted: byId(wanted),
    live: byId(wanted.map((object) => stored(object, uid))),
  }));
  change(second!.live);
  return compareSides(first!, second!);
}

Deno.test("compareSides() finds nothing in what the API server and its controllers fill in", () => {
  const volume: Manifest = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace: "n" },
    spec: { resources: { requests: { storage: "1Gi" } } },
  };
  const wanted = [service(), volume];
  const { shared, explained, unexplained } = sides([wanted, wanted], (live) => {
    const claim = live.get("PersistentVolumeClaim/n/data")!;
    claim.spec.volumeName = "pvc-123";
    claim.metadata.annotations = {
      "pv.kubernetes.io/bind-completed": "yes",
      "volume.kubernetes.io/selected-node": "mkube",
      "volume.beta.kubernetes.io/storage-provisioner": "driver.longhorn.io",
    };
  });
  assert.deepEqual([shared, explained, unexplained], [2, [], []]);
});

Deno.test("comparable() keeps a nodePort that was asked for", () => {
  const wanted = service({ ports: [{ name: "http", port: 80, nodePort: 30080 }] });
  assert.equal(comparable(stored(wanted, "11"), wanted).spec.ports[0].nodePort, 30080);
  assert.equal(comparable(stored(service(), "11"), service()).spec.ports[0].nodePort, undefined);
});

Deno.test("comparable() drops a CA that a controller filled in, and changes no original", () => {
  const live: Manifest = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "a" },
    spec: { conversion: { webhook: { clientConfig: { caBundle: "abc" } } } },
  };
  const before = structuredClone(live);
  assert.deepEqual(comparable(live).spec.conversion.webhook.clientConfig, {});
  assert.deepEqual(live, before);
});

Deno.test("compareSides() calls explained what is wanted differently, too", () => {
  const [a, b] = ["a", "b"].map((host) => service({ externalName: host, list: [{ host }] }));
  const { explained, unexplained } = sides([[a!], [b!]]);
  assert.deepEqual(explained, [{
    id: "Service/n/door",
    fields: ['spec.externalName: "a" -> "b"', 'spec.list[0].host: "a" -> "b"'],
  }]);
  assert.deepEqual(unexplained, []);
});

Deno.test("compareSides() does not take a field for explained by one whose name it begins with", () => {
  const { explained, unexplained } = sides(
    [[service({ port: 1 })], [service({ port: 2 })]],
    (live) => live.get("Service/n/door")!.spec.portable = true,
  );
  assert.deepEqual(explained[0]!.fields, ["spec.port: 1 -> 2"]);
  assert.deepEqual(unexplained[0]!.fields, ["spec.portable: (none) -> true"]);
});

Deno.test("compareSides() finds a person's edit beside what env files explain", () => {
  const { explained, unexplained } = sides(
    [[service({ externalName: "a" })], [service({ externalName: "b" })]],
    (live) => live.get("Service/n/door")!.spec.sessionAffinity = "ClientIP",
  );
  assert.equal(fieldsOf(explained), 1);
  assert.deepEqual(unexplained, [{
    id: "Service/n/door",
    fields: ['spec.sessionAffinity: (none) -> "ClientIP"'],
  }]);
});

/** In which lines two Services of such a spec differ, that are wanted alike. */
function changed(before: Record<string, unknown>, after: Record<string, unknown>): string[] {
  const wanted = service(before);
  const { unexplained } = sides([[wanted], [wanted]], (live) => {
    Object.assign(live.get("Service/n/door")!.spec, structuredClone(after));
  });
  return unexplained.flatMap(({ fields }) => fields);
}

Deno.test("compareSides() names an item that only one has, and not those behind it", () => {
  const [http, grpc] = [{ name: "http", port: 80 }, { name: "grpc", port: 90 }];
  const added = { name: "debug", port: 70 };
  assert.deepEqual(changed({ ports: [http, grpc] }, { ports: [added, http, grpc] }), [
    'spec.ports[debug]: (none) -> {"name":"debug","port":70}',
  ]);
  assert.deepEqual(changed({ env: [http, grpc] }, { env: [{ ...grpc, port: 91 }] }), [
    'spec.env[http]: {"name":"http","port":80} -> (none)',
    "spec.env[grpc].port: 90 -> 91",
  ]);
  // An apply puts an item behind the others where it came later.
  assert.deepEqual(changed({ env: [http, grpc] }, { env: [grpc, http] }), []);
});

Deno.test("compareSides() tells ports and mounts without a name of their own apart", () => {
  const ports = [{ containerPort: 1, protocol: "TCP" }, { containerPort: 2, protocol: "TCP" }];
  const open = [{ containerPort: 3, protocol: "TCP" }, ports[0], { ...ports[1], protocol: "UDP" }];
  assert.deepEqual(changed({ list: ports }, { list: open }), [
    'spec.list[2].protocol: "TCP" -> "UDP"',
    'spec.list[3]: (none) -> {"containerPort":3,"protocol":"TCP"}',
  ]);
  const mounts = [{ name: "data", mountPath: "/a" }, { name: "data", mountPath: "/b" }];
  assert.deepEqual(changed({ list: mounts }, { list: [mounts[1]] }), [
    'spec.list[/a]: {"name":"data","mountPath":"/a"} -> (none)',
  ]);
});

Deno.test("compareSides() goes by position where an item has no key, or shares it", () => {
  const list = [{ name: "a", x: 1 }, { name: "a", x: 2 }];
  assert.deepEqual(changed({ list }, { list: [{ name: "a", x: 3 }, ...list] }), [
    "spec.list[0].x: 1 -> 3",
    "spec.list[1].x: 2 -> 1",
    'spec.list[2]: (none) -> {"name":"a","x":2}',
  ]);
  assert.deepEqual(changed({ list: [{ host: "a" }] }, { list: [{ host: "b" }] }), [
    'spec.list[0].host: "a" -> "b"',
  ]);
  assert.deepEqual(changed({ list: [[1, 2]] }, { list: [[0, 1, 2]] }), [
    "spec.list[0][0]: (none) -> 0",
  ]);
});

Deno.test("compareSides() takes texts for a set, but says when they are in another order", () => {
  const list = ["query", "--a=1", "--b=2"];
  assert.deepEqual(changed({ list }, { list: ["--debug", ...list] }), [
    'spec.list[--debug]: (none) -> "--debug"',
  ]);
  assert.deepEqual(changed({ list }, { list: ["query", "--a=3", "--b=2"] }), [
    'spec.list[--a]: "--a=1" -> "--a=3"',
  ]);
  const peers = ["--peer=a", "--peer=b"];
  assert.deepEqual(changed({ list: peers }, { list: ["--peer=b"] }), [
    'spec.list[--peer=a]: "--peer=a" -> (none)',
  ]);
  assert.deepEqual(changed({ list: ["a", "b"] }, { list: ["b", "a"] }), [
    'spec.list[0]: "a" -> "b"',
    'spec.list[1]: "b" -> "a"',
  ]);
  const script = (wait: number) => ["-c", `echo: go\nsleep ${wait}`];
  assert.deepEqual(changed({ list: script(1) }, { list: script(2) }), [
    'spec.list[1]: "echo: go\\nsleep 1" -> "echo: go\\nsleep 2"',
  ]);
});

Deno.test("compareSides() finds what env files explain behind an item that a person added", () => {
  const wanted = (value: string) => service({ env: [{ name: "ID", value }] });
  const { explained, unexplained } = sides([[wanted("a")], [wanted("b")]], (live) => {
    live.get("Service/n/door")!.spec.env.unshift({ name: "DEBUG", value: "1" });
  });
  assert.deepEqual(explained[0]!.fields, ['spec.env[ID].value: "a" -> "b"']);
  assert.deepEqual(unexplained[0]!.fields, [
    'spec.env[DEBUG]: (none) -> {"name":"DEBUG","value":"1"}',
  ]);
});

Deno.test("comparable() finds the nodePort that was asked for behind a port that a person added", () => {
  const wanted = service({ ports: [{ name: "http", port: 80, nodePort: 30080 }] });
  const live = stored(wanted, "11");
  live.spec.ports.unshift({ name: "debug", port: 70, nodePort: 31234 });
  const ports = comparable(live, wanted).spec.ports;
  assert.deepEqual(ports, [
    { name: "debug", port: 70 },
    { name: "http", port: 80, nodePort: 30080 },
  ]);
});

Deno.test("compareSides() judges an object that only one cluster has by what is wanted there", () => {
  const other = { ...service(), metadata: { name: "other", namespace: "n" } };
  const wantedOnce = sides([[service(), other], [service()]]);
  assert.deepEqual(wantedOnce.explained, [{
    id: "Service/n/other",
    fields: ["on the first only"],
  }]);
  assert.deepEqual(wantedOnce.unexplained, []);
  const lost = sides([[service(), other], [service(), other]], (live) => {
    live.delete("Service/n/other");
  });
  assert.deepEqual(lost.unexplained, [{ id: "Service/n/other", fields: ["on the first only"] }]);
  const left = sides([[service()], [service()]], (live) => live.set(idOf(other), other));
  assert.deepEqual(left.unexplained, [{ id: "Service/n/other", fields: ["on the second only"] }]);
});

Deno.test("compareSides() shows no value of a Secret, nor what kubectl kept of it", () => {
  const [a, b] = ["hush-a", "hush-b"].map((key) =>
    secret("s", "n", { key }, {
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": `{"key":"${key}"}` },
    })
  );
  const text = JSON.stringify(sides([[a!], [b!]]));
  assert.match(text, /data\.key: changed/);
  assert.doesNotMatch(text, /hush|aHVza/);
});

Deno.test("compareSides() explains every difference of two edges as they are deployed", () => {
  const { shared, explained, unexplained } = sides([rendered[0]!, rendered[1]!]);
  assert.ok(shared > 40, String(shared));
  assert.deepEqual(unexplained, []);
  const prometheus = explained.find(({ id }) => id.startsWith("Prometheus/"))!;
  assert.ok(prometheus.fields.some((field) => field.startsWith("spec.externalLabels.cluster: ")));
  assert.ok(explained.every(({ fields }) => fields.every((field) => !field.includes(HASH_LABEL))));
  const values = Object.values(SECRETS);
  assert.ok(values.every((value) => !JSON.stringify(explained).includes(value)));
});

const one = step({
  name: "20-x",
  objects: (cluster) => Promise.resolve([service({ externalName: cluster.id })]),
  run: async () => {},
});

/** What both edges answer; `objects` are those of 198. */
function answers(...objects: Manifest[]): Reply[] {
  const [first] = signed([service({ externalName: "197" })], "20-x");
  return [
    { on: "config view", stdout: FLEET_CONFIG },
    identityReply("uid"),
    { on: "mkube-197 .*get service.v1. ", stdout: listOf(stored(first!, "11")) },
    { on: "mkube-198 .*get service.v1. ", stdout: listOf(...objects) },
  ];
}

Deno.test("compare() ends with 0 when env files explain all, and writes nothing to a cluster", async () => {
  const [second] = signed([service({ externalName: "198" })], "20-x");
  const kept = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "ours", namespace: "kube-system" },
  };
  const calls = await fakeKubectl(answers(stored(second!, "12"), kept));
  assert.equal(exitCodeOfCompared(await compare([one], edges)), 0);
  const made = (await calls()).map(({ args }) => args);
  assert.ok(made.every((args) => / (get|config view) /.test(args)), made.join("\n"));
  assert.ok(made.some((args) => args.includes("managed-by=thanos-multi-cluster")));
});

Deno.test("compare() ends with 11 when a difference is explained by nothing", async () => {
  const [second] = signed([service({ externalName: "198" })], "20-x");
  const edited = stored(second!, "12");
  edited.spec.ports[0].port = 81;
  await fakeKubectl(answers(edited));
  const found = await compare([one], edges), [first] = edges as [Cluster];
  assert.equal(exitCodeOfCompared(found), 11);
  const page = `197 (cluster-197-edge) -> 198 (cluster-198-edge)  1 object on both
  explained by their env files: 1 field of 1 object
    Service/n/door
      spec.externalName: "197" -> "198"
  not explained: 1 field of 1 object
    Service/n/door
      spec.ports[http].port: 80 -> 81
`;
  assert.equal(comparedPage(first, found), page);
  const { clusters } = await refuseUndescribed("compare", comparedJson(first, found));
  assert.deepEqual(clusters[0].unexplained, [
    { id: "Service/n/door", fields: ["spec.ports[http].port: 80 -> 81"] },
  ]);
});

Deno.test("comparedPage() tells once what env files explain in many places, and the rest in full", () => {
  const rule = (name: string, ...more: string[]) => ({
    id: `PrometheusRule/n/${name}`,
    fields: ["a", "b"].map((one) => `spec.rules[${one}].url: "${name}" -> "x"`).concat(more),
  });
  const only = ["c", "d", "e", "f"].map((name) => ({ id: name, fields: ["on the first only"] }));
  const explained = [rule("a"), rule("b", "spec.size: 1 -> 2"), ...only];
  const [first, cluster] = edges as [Cluster, Cluster];
  const unexplained = [rule("g"), rule("h")];
  const page = comparedPage(first, [{
    cluster,
    comparison: { shared: 4, explained, unexplained },
  }]);
  assert.equal(
    page.split("\n").slice(1, 7).join("\n"),
    `  explained by their env files: 9 fields of 6 objects
    spec.rules[].url in 4 places, as
      spec.rules[a].url: "a" -> "x"
    PrometheusRule/n/b
      spec.size: 1 -> 2
    c`,
  );
  assert.equal(page.match(/on the first only/g)!.length, 4);
  assert.equal(page.match(/url: /g)!.length, 5);
});

Deno.test("compare() ends with the code of a cluster that is away", async () => {
  const down = { on: "mkube-198 .*get ", stderr: "error: Unauthorized", code: 1 };
  await fakeKubectl([answers()[0]!, down, ...answers().slice(1)]);
  const found = await compare([one], edges);
  assert.equal(exitCodeOfCompared(found), 5);
  const { clusters } = await refuseUndescribed("compare", comparedJson(edges[0]!, found));
  assert.deepEqual(clusters.map(({ id, error }: Record<string, unknown>) => [id, typeof error]), [
    ["198", "string"],
  ]);
  // The first alone could tell how the others differ.
  const turned = await compare([one], edges.toReversed());
  assert.deepEqual(turned.map(({ cluster, error }) => [cluster.id, error !== undefined]), [
    ["198", true],
    ["197", false],
  ]);
  assert.equal(exitCodeOfCompared(turned), 5);
});

Deno.test("compare() refuses fewer than two clusters with an example", async () => {
  await assert.rejects(compare([one], edges.slice(0, 1)), (error: DeployError) => {
    assert.equal(error.exitCode, 2);
    assert.deepEqual(error.where, ["chosen: 197"]);
    assert.match(error.fix!, /CLUSTERS="197 198"/);
    return true;
  });
});

// lib/apply/volumes.ts: which volumes grow, in which order, and what is refused before anything is touched.
import assert from "node:assert/strict";
import { growVolumes, volumeGrowth } from "../../../lib/apply/volumes.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { KubectlError } from "../../../lib/kube/kubectl_error.ts";
import { type Manifest, OWNER } from "../../../lib/core/object.ts";
import { Report } from "../../../lib/io/report.ts";
import { runStep, step } from "../../../lib/deploy/step.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { type Call, fakeKubectl, listOf, type Reply } from "../../support/fake_kubectl.ts";
import { inventoryOf, planOf } from "../../support/inventory.ts";
import type { Powers } from "../../../lib/apply/inventory.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });

function object(apiVersion: string, kind: string, name: string, rest: object): Manifest {
  const labels = { "app.kubernetes.io/managed-by": OWNER };
  return { apiVersion, kind, metadata: { name, namespace: "monitoring", labels }, ...rest };
}

function asking(storage: string) {
  return { storageClassName: "longhorn", resources: { requests: { storage } } };
}

function set(storage: string, name = "store", template = "data"): Manifest {
  const volumeClaimTemplates = [{ metadata: { name: template }, spec: asking(storage) }];
  return object("apps/v1", "StatefulSet", name, { spec: { volumeClaimTemplates } });
}

function claim(name: string, storage: string, phase = "Bound"): Manifest {
  const spec = asking(storage);
  return object("v1", "PersistentVolumeClaim", name, { spec, status: { phase } });
}

/** A resource of an operator, and the StatefulSet that it made for it. */
function resource(storage: string): Manifest {
  const spec = { replicas: 1, storage: { volumeClaimTemplate: { spec: asking(storage) } } };
  return object("monitoring.coreos.com/v1", "Prometheus", "main", { spec });
}

function operatorsSet(storage: string): Manifest {
  const made = set(storage, "prometheus-main", "main-db");
  made.metadata.labels = {};
  made.metadata.ownerReferences = [{ kind: "Prometheus", name: "main" }];
  return made;
}

function site(live: Manifest[], allowVolumeExpansion = true): Reply[] {
  const classes = [{ metadata: { name: "longhorn" }, allowVolumeExpansion }];
  return [
    {
      on: "get statefulset.v1.apps,persistentvolumeclaim.v1.",
      stdout: JSON.stringify({ items: live }),
    },
    { on: "get storageclasses", stdout: JSON.stringify({ items: classes }) },
    { on: " patch | delete " },
    { on: " get ", stdout: listOf() },
    { on: "--dry-run=server", stdout: listOf() },
    { on: " apply ", stdout: listOf(resource("20Gi")) },
  ];
}

/** What the calls did, without their common arguments; reading is left out. */
function deeds(calls: Call[]): string[] {
  return calls.map(({ args }) => args.replace(/^.*?--context=\S+ /, ""))
    .filter((args) => !/^(get|api-resources)\b/.test(args))
    .map((args) => args.replace(/^apply .*/, args.includes("dry-run") ? "dry run" : "apply"));
}

const PATCH = (name: string, size: string) =>
  `patch pvc ${name} -n monitoring --field-manager=${OWNER} --type=merge ` +
  `-p {"spec":{"resources":{"requests":{"storage":"${size}"}}}}`;
const ORPHAN = (name: string) =>
  `delete statefulset ${name} -n monitoring --cascade=orphan --ignore-not-found`;

async function refusal(wanted: Manifest[], replies: Reply[]): Promise<DeployError> {
  const calls = await fakeKubectl(replies);
  const error = await grow(wanted).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 2);
  assert.deepEqual(deeds(await calls()), []);
  return error;
}

/** Volumes that grow at the start of a run. */
function grow(objects: Manifest[], powers?: Powers): Promise<string[]> {
  return growVolumes(inventoryOf(cluster, objects, powers), objects);
}

Deno.test("growVolumes() grows every claim of a StatefulSet, then takes it away from its pods", async () => {
  const live = [set("10Gi"), claim("data-store-0", "10Gi"), claim("data-store-1", "10Gi")]
    .concat(claim("data-store-0-copy", "1Gi"), claim("data-other-0", "5Gi"));
  const calls = await fakeKubectl(site(live));
  const said: string[] = [];
  const say = (text: string) => said.push(text);
  assert.deepEqual(await grow([set("20Gi")], { say }), [
    "volume data-store-0 grows from 10Gi to 20Gi",
    "volume data-store-1 grows from 10Gi to 20Gi",
  ]);
  assert.deepEqual(deeds(await calls()), [
    "dry run",
    PATCH("data-store-0", "20Gi"),
    PATCH("data-store-1", "20Gi"),
    ORPHAN("store"),
  ]);
  assert.match(said.join(), /StatefulSet\/monitoring\/store is made again .* pods go on/);
});

Deno.test("growVolumes() holds the operator before it takes a StatefulSet away from it", async () => {
  const live = [operatorsSet("10Gi"), claim("main-db-prometheus-main-0", "10Gi")];
  const calls = await fakeKubectl(site(live));
  await grow([resource("20Gi")]);
  assert.deepEqual(deeds(await calls()), [
    "dry run",
    PATCH("main-db-prometheus-main-0", "20Gi"),
    "apply",
    ORPHAN("prometheus-main"),
  ]);
  const [held] = JSON.parse((await calls()).find(({ stdin }) => stdin)!.stdin).items;
  assert.deepEqual(held.spec, { ...resource("20Gi").spec, paused: true });
});

Deno.test("A36: a volume is never shrunk: exit 2 names the claim, and nothing is touched", async () => {
  const grows = set("20Gi", "ruler");
  const live = [set("10Gi"), claim("data-store-0", "10Gi"), claim("data-ruler-0", "10Gi")];
  const error = await refusal([set("5Gi"), grows], site(live));
  assert.deepEqual(error.where, [
    "PersistentVolumeClaim/monitoring/data-store-0  is 10Gi, wanted 5Gi",
  ]);
  const smaller = [resource("1Gi"), claim("grafana", "512Mi")];
  const others = [operatorsSet("10Gi"), claim("main-db-prometheus-main-0", "10Gi")]
    .concat(claim("grafana", "1Gi"));
  assert.equal((await refusal(smaller, site(others))).where.length, 2);
});

Deno.test("growVolumes() refuses a class that cannot, and a claim that is not bound", async () => {
  const live = (phase: string) => [set("10Gi"), claim("data-store-0", "10Gi", phase)];
  const fixed = await refusal([set("20Gi")], site(live("Bound"), false));
  assert.match(fixed.where[0]!, /data-store-0 .*longhorn has no allowVolumeExpansion/);
  const pending = await refusal([set("20Gi")], site(live("Pending")));
  assert.match(pending.where[0]!, /data-store-0 .*not bound/);
});

Deno.test("growVolumes() does nothing where sizes are equal, however they are written", async () => {
  const live = [set("1Gi"), claim("data-store-0", "1Gi"), claim("grafana", "5Gi")];
  const calls = await fakeKubectl(site(live));
  assert.deepEqual(await grow([set("1024Mi"), claim("grafana", "5Gi")]), []);
  assert.equal((await calls()).length, 1);
});

Deno.test("growVolumes() leaves a claim of its own to the apply, and a foreign StatefulSet alone", async () => {
  const foreign = set("10Gi");
  foreign.metadata.labels = {};
  const theirs = claim("data-store-0", "10Gi");
  const calls = await fakeKubectl(site([claim("grafana", "5Gi"), foreign, theirs]));
  assert.deepEqual(await grow([claim("grafana", "6Gi"), set("20Gi")]), []);
  assert.deepEqual(deeds(await calls()), []);
});

Deno.test("growVolumes() goes on where a run that was cut off ended", async () => {
  const grown = claim("data-store-0", "20Gi");
  const first = await fakeKubectl(site([set("10Gi"), grown]));
  assert.deepEqual(await grow([set("20Gi")]), []);
  assert.deepEqual(deeds(await first()), ["dry run", ORPHAN("store")]);
  const second = await fakeKubectl(site([grown]));
  await grow([set("20Gi")]);
  assert.deepEqual(deeds(await second()), []);
});

Deno.test("growVolumes() tries what the API server may refuse before it touches a volume", async () => {
  const live = [set("10Gi"), claim("data-store-0", "10Gi")];
  const stderr = 'The StatefulSet "store" is invalid: spec.replicas: must not be negative';
  const calls = await fakeKubectl([{ on: "--dry-run=server", stderr, code: 1 }, ...site(live)]);
  const wanted = set("20Gi");
  wanted.spec.replicas = -1;
  await assert.rejects(grow([wanted]), KubectlError);
  assert.deepEqual(deeds(await calls()), ["dry run"]);
  const [tried] = JSON.parse((await calls()).find(({ stdin }) => stdin)!.stdin).items;
  assert.deepEqual(tried.spec, { ...set("10Gi").spec, replicas: -1 });
});

Deno.test("growVolumes() patches and deletes again after a transient failure", async () => {
  const live = [set("10Gi"), claim("data-store-0", "10Gi")];
  const broken = { stderr: "dial tcp: connection refused", code: 1, times: 1 };
  const replies = [{ on: " patch ", ...broken }, { on: " delete ", ...broken }, ...site(live)];
  const calls = await fakeKubectl(replies);
  await grow([set("20Gi")]);
  const patch = PATCH("data-store-0", "20Gi");
  assert.deepEqual(deeds(await calls()), [
    "dry run",
    patch,
    patch,
    ORPHAN("store"),
    ORPHAN("store"),
  ]);
});

Deno.test("growVolumes() applies new definitions before a resource that may need them", async () => {
  const crd = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "prometheuses", {
    spec: {
      group: "monitoring.coreos.com",
      names: { kind: "Prometheus" },
      versions: [{ name: "v1", served: true }],
    },
  });
  delete crd.metadata.namespace;
  const live = [operatorsSet("10Gi"), claim("main-db-prometheus-main-0", "10Gi")];
  const calls = await fakeKubectl([
    { on: "api-resources", stdout: "prometheuses monitoring.coreos.com/v1 true Prometheus\n" },
    { on: "get customresourcedefinition.* --selector" },
    ...site(live).slice(0, 6),
    { on: " apply ", stdout: listOf(crd), times: 1 },
    ...site(live).slice(6),
  ]);
  const told = await grow([resource("20Gi"), crd]);
  assert.match(told[0]!, /^CustomResourceDefinition\/prometheuses created/);
  assert.deepEqual(deeds(await calls()).slice(0, 3), [
    "apply",
    "dry run",
    PATCH("main-db-prometheus-main-0", "20Gi"),
  ]);
  const sent = (await calls()).filter(({ args, stdin }) => stdin && !/ get /.test(args)).map((
    { stdin },
  ) => JSON.parse(stdin).items.map(({ kind }: Manifest) => kind).join());
  assert.deepEqual(sent, ["CustomResourceDefinition", "Prometheus", "Prometheus"]);
});

Deno.test("the step after a cut lets the operator go, also when no volume is left to grow", async () => {
  const grown = [operatorsSet("20Gi"), claim("main-db-prometheus-main-0", "20Gi")];
  const calls = await fakeKubectl(site(grown));
  const again = step({
    name: "99-example",
    objects: () => Promise.resolve([resource("20Gi")]),
    run: ({ objects, apply }) => apply(objects),
  });
  await runStep(again, inventoryOf(cluster, [resource("20Gi")]), new Report("", () => {}));
  assert.deepEqual(deeds(await calls()), ["apply"]);
  const { args, stdin } = (await calls()).findLast(({ stdin }) => stdin)!;
  assert.match(args, new RegExp(`--server-side --field-manager=${OWNER} `)); // as the pause was
  assert.equal("paused" in JSON.parse(stdin).items[0].spec, false);
});

Deno.test("volumeGrowth() asks nothing for objects without volumes", async () => {
  const calls = await fakeKubectl([]);
  const bare = object("apps/v1", "StatefulSet", "bare", { spec: {} });
  assert.deepEqual((await volumeGrowth(cluster, [bare])).resizes, []);
  assert.deepEqual(await calls(), []);
});

Deno.test("runStep() counts volumes that grow, before it applies what asks for them", async () => {
  const calls = await fakeKubectl([
    ...site([set("10Gi"), claim("data-store-0", "10Gi")]).slice(0, 6),
    { on: " apply ", stdout: listOf(set("20Gi")) },
  ]);
  const growing = step({
    name: "99-example",
    objects: () => Promise.resolve([set("20Gi")]),
    run: ({ objects, apply }) => apply(objects),
  });
  const lines: string[] = [];
  const result = await runStep(
    growing,
    inventoryOf(cluster, [set("20Gi")]),
    new Report("", (line) => lines.push(line)),
  );
  assert.equal(result.changed, 2); // the volume, and the StatefulSet
  assert.match(lines.join(""), /changed +volume data-store-0 grows from 10Gi to 20Gi/);
  assert.deepEqual(deeds(await calls()).at(-1), "apply");
});

Deno.test("plan() shows volumes that grow, although the API server refuses the template", async () => {
  const live = set("10Gi");
  const calls = await fakeKubectl([
    {
      on: "get services --all-namespaces",
      stdout: listOf({ kind: "Service", metadata: { name: "prometheus" } }),
    },
    ...site([live, claim("data-store-0", "10Gi")]).slice(0, 2),
    { on: "get statefulset.v1.apps", stdout: JSON.stringify({ items: [live] }) },
    { on: "--dry-run=server", stdout: JSON.stringify(live) },
  ]);
  const entries = await planOf(cluster, [set("20Gi")], [{ name: "30-thanos" }]);
  const size = 'resources.requests.storage: "10Gi" -> "20Gi"';
  assert.deepEqual(entries.map(({ id, action, fields }) => [id, action, ...fields]), [
    ["StatefulSet/monitoring/store", "update", `spec.volumeClaimTemplates[0].spec.${size}`],
    ["PersistentVolumeClaim/monitoring/data-store-0", "update", `spec.${size}`],
  ]);
  const sent = JSON.parse((await calls()).find(({ stdin }) => stdin)!.stdin).items[0];
  assert.deepEqual(sent.spec, live.spec);
});

// lib/apply/inventory.ts and lib/deploy/run.ts: what a component leaves behind when it is switched off.
import assert from "node:assert/strict";
import type { DeployError } from "../../../lib/core/error.ts";
import { Inventory } from "../../../lib/apply/inventory.ts";
import { KEPT } from "../../../lib/kube/target.ts";
import { configMap, type Manifest, OWNER, STEP_LABEL } from "../../../lib/core/object.ts";
import { Report } from "../../../lib/io/report.ts";
import { begun } from "../../../lib/deploy/results.ts";
import { nameSurplus, type Run, type TidyOptions } from "../../../lib/deploy/run.ts";
import { step } from "../../../lib/deploy/step.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf, type Reply } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });

function live(kind: string, name: string, more: Record<string, unknown> = {}): Manifest {
  return {
    apiVersion: kind === "NetworkPolicy" ? "networking.k8s.io/v1" : "v1",
    kind,
    metadata: {
      name,
      namespace: "monitoring",
      labels: { [STEP_LABEL]: "20-prometheus" },
      managedFields: [
        { manager: "kubelet" },
        { manager: OWNER, operation: "Apply", fieldsV1: {} },
      ],
      ...more,
    },
  };
}

function listing(...items: Manifest[]): Reply[] {
  return [
    {
      on: "api-resources",
      stdout:
        "configmaps cm v1 true ConfigMap\nendpoints ep v1 true Endpoints\npods po v1 true Pod\n" +
        "secrets v1 true Secret\nendpointslices discovery.k8s.io/v1 true EndpointSlice\n" +
        "networkpolicies netpol networking.k8s.io/v1 true NetworkPolicy\n",
    },
    { on: " (delete|get) .*--filename" },
    { on: " get ", stdout: JSON.stringify({ items }) },
    { on: " apply ", stdout: JSON.stringify({ kind: "List", items: [] }) },
  ];
}

/** Of a cluster that keeps this text of what is ours. */
function keeping(data: Record<string, string>): Inventory {
  return new Inventory({ cluster, kept: configMap(KEPT, "kube-system", data) });
}

const SECRETS_KEPT = { kinds: "configmap.v1.\nsecret.v1." };

Deno.test("unwanted() looks at every kind where nothing is kept, or what is kept is damaged", async () => {
  for (const data of [undefined, { kinds: "what?", objects: "is this" }]) {
    const calls = await fakeKubectl(listing());
    const inventory = data ? keeping(data) : new Inventory({ cluster });
    await inventory.unwanted(["20-prometheus", "40-logging"], new Set());
    const get = (await calls()).find(({ args }) => / get .*--all-namespaces/.test(args));
    assert.match(get!.args, /get configmap.v1.,secret.v1.,networkpolicy.v1.networking.k8s.io /);
    assert.match(get!.args, new RegExp(`managed-by=${OWNER} `));
  }
});

Deno.test("unwanted() asks for the kinds that the cluster has kept, and for no others", async () => {
  const calls = await fakeKubectl(listing(live("Secret", "left")));
  const found = await keeping(SECRETS_KEPT).unwanted(["20-prometheus"], new Set());
  assert.deepEqual(found.map(({ metadata }) => metadata.name), ["left"]);
  const asked = (await calls()).flatMap(({ args }) => / get (\S+) /.exec(args)?.[1] ?? []);
  assert.deepEqual(asked, ["configmap.v1.,secret.v1."]);
});

Deno.test("unwanted() asks nothing on a cluster that was never deployed to", async () => {
  const calls = await fakeKubectl(listing(live("ConfigMap", "left")));
  const inventory = new Inventory({ cluster, isNew: true });
  assert.deepEqual(await inventory.unwanted(["20-prometheus"], new Set()), []);
  assert.deepEqual(await calls(), []);
});

Deno.test("E16: unwanted() finds by its name what has lost our label, and none that is a copy", async () => {
  const bare = (name: string, manager: string) => ({
    ...live("Secret", name),
    metadata: {
      name,
      namespace: "monitoring",
      managedFields: [{ manager, operation: "Apply", fieldsV1: {} }],
    },
  });
  const calls = await fakeKubectl([
    { on: "get .*--filename", stdout: listOf(bare("left", OWNER), bare("other", "kubectl")) },
    ...listing(),
  ]);
  const objects = ["left", "other", "gone"].map((name) =>
    `20-prometheus v1 Secret/monitoring/${name}`
  );
  const inventory = keeping({ objects: objects.join("\n") });
  const found = await inventory.unwanted(["20-prometheus"], new Set());
  assert.deepEqual(found.map(({ metadata }) => metadata.name), ["left"]);
  const looks = (await calls()).filter(({ args }) => / get /.test(args));
  assert.equal(looks.length, 2, "one list, and one look by name");
});

Deno.test("A59: unwanted() is exactly what is ours and not wanted", async () => {
  await fakeKubectl(listing(
    live("ConfigMap", "wanted"),
    live("NetworkPolicy", "surplus"),
    live("ConfigMap", "copied-labels", { managedFields: [{ manager: "kube-controller-manager" }] }),
    live("ConfigMap", "made-by-another", { ownerReferences: [{ kind: "Prometheus", name: "k" }] }),
    live("ConfigMap", "going", { deletionTimestamp: "2026-11-23T00:00:00Z" }),
  ));
  const found = await keeping(SECRETS_KEPT).unwanted(
    ["20-prometheus"],
    new Set(["ConfigMap/monitoring/wanted"]),
  );
  assert.deepEqual(found.map(({ metadata }) => metadata.name), ["surplus"]);
});

Deno.test("E16: unwanted() of all steps finds what a step has left that is no more; of some it does not", async () => {
  for (const all of [true, false]) {
    const labels = { ...live("ConfigMap", "x").metadata.labels, [STEP_LABEL]: "25-renamed" };
    await fakeKubectl(listing(live("ConfigMap", "left", { labels }), live("ConfigMap", "wanted")));
    const wanted = new Set(["ConfigMap/monitoring/wanted"]);
    const found = await keeping(SECRETS_KEPT).unwanted(["20-prometheus"], wanted, all);
    assert.deepEqual(found.map(({ metadata }) => metadata.name), all ? ["left"] : []);
  }
});

Deno.test("A59: prune() never deletes claims, volumes, namespaces or classes", async () => {
  const kinds = ["PersistentVolumeClaim", "PersistentVolume", "Namespace", "StorageClass"];
  const calls = await fakeKubectl(listing());
  assert.deepEqual(await keeping(SECRETS_KEPT).prune(kinds.map((kind) => live(kind, "x"))), []);
  assert.deepEqual(await calls(), []);
  const changes = await keeping(SECRETS_KEPT).prune([
    live("PersistentVolumeClaim", "x"),
    live("Secret", "y"),
  ]);
  assert.deepEqual(changes, [{ id: "Secret/monitoring/y", action: "deleted" }]);
  const [deletion] = await calls();
  const items = JSON.parse(deletion!.stdin).items;
  assert.deepEqual(items, [
    { apiVersion: "v1", kind: "Secret", metadata: { name: "y", namespace: "monitoring" } },
  ]);
});

Deno.test("E16: keep() writes again what was not written", async () => {
  const wanted = [live("Secret", "new")];
  const inventory = keeping(SECRETS_KEPT);
  await fakeKubectl([
    { on: " get ", stdout: JSON.stringify({ items: [] }) },
    { on: " apply ", code: 1, stderr: "Error from server (Invalid): no" },
  ]);
  await assert.rejects(inventory.keep(wanted), { exitCode: 6 });
  for (const writes of [1, 0]) {
    const calls = await fakeKubectl(listing());
    await inventory.keep(wanted);
    assert.equal((await calls()).filter(({ args }) => args.includes(" apply ")).length, writes);
  }
});

const prometheus = step({
  name: "20-prometheus",
  objects: () => Promise.resolve([configMap("wanted", "monitoring", {})]),
  run: () => Promise.resolve(),
});

async function tidied(
  reason: string | undefined,
  options: TidyOptions,
  { state = "ok", left = 1 } = {},
) {
  const names = Array.from({ length: left }, (_, index) => index === 0 ? "left" : `left-${index}`);
  const calls = await fakeKubectl(
    listing(live("ConfigMap", "wanted"), ...names.map((name) => live("Secret", name))),
  );
  const lines: string[] = [];
  const run: Run = {
    cluster,
    report: new Report("", (line) => void lines.push(line)),
    result: { cluster, steps: [{ ...begun("20-prometheus"), state: state as "ok" }] },
    inventory: keeping(SECRETS_KEPT),
    objects: await prometheus.objects(cluster),
  };
  await nameSurplus([{ ...prometheus, keeps: () => Promise.resolve(reason) }], run, options);
  const rows = run.result.steps.slice(1);
  const deletions = (await calls()).filter(({ args }) => args.includes(" delete "));
  return { rows, said: lines.join(""), deletions: deletions.length };
}

Deno.test("A59: nameSurplus() names what is surplus and deletes nothing, until it is asked to", async () => {
  const named = await tidied(undefined, {});
  assert.deepEqual([named.rows, named.deletions], [[], 0]);
  assert.match(
    named.said,
    /no step wants any more: Secret\/monitoring\/left; delete with: make cluster-197 ARGS=--prune/,
  );
  const pruned = await tidied(undefined, { prune: true });
  assert.equal(pruned.deletions, 1);
  assert.deepEqual(pruned.rows.map(({ step, state, changed }) => [step, state, changed]), [
    ["prune", "ok", 1],
  ]);
});

Deno.test("A59: nameSurplus() refuses (4) to delete more than stays, until it is told so", async () => {
  const refused = await tidied(undefined, { prune: true }, { left: 12 });
  assert.equal(refused.deletions, 0);
  assert.match(refused.said, /Refused: to delete 12 objects on 197 and keep 1\n[^]*--prune-most/);
  assert.equal((refused.rows[0]!.error as DeployError).exitCode, 4);
  assert.equal((await tidied(undefined, { prune: true }, { left: 9 })).deletions, 1);
  const told = await tidied(undefined, { pruneMost: true }, { left: 12 });
  assert.deepEqual([told.deletions, told.rows[0]!.changed], [1, 12]);
});

Deno.test("A59: what a person marks to be kept stays, also with --prune", async () => {
  const marked = live("Secret", "marked", { annotations: { "deploy.miribit.lab/keep": "true" } });
  const calls = await fakeKubectl(listing());
  assert.deepEqual(await keeping(SECRETS_KEPT).prune([marked]), []);
  assert.deepEqual(await calls(), []);
});

Deno.test("nameSurplus() leaves everything of a step that says why", async () => {
  const { rows, said, deletions } = await tidied("3 volumes are still there", { prune: true });
  assert.deepEqual([rows, deletions], [[], 0]);
  assert.match(said, /1 objects? of 20-prometheus stay: 3 volumes are still there/);
});

Deno.test("nameSurplus() looks at a switched-off step, but not at one that failed", async () => {
  assert.equal((await tidied(undefined, { prune: true }, { state: "skipped" })).deletions, 1);
  assert.equal((await tidied(undefined, { prune: true }, { state: "failed" })).deletions, 0);
});

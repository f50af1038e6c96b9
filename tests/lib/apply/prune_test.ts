// lib/apply/prune.ts and lib/deploy/tidy.ts: what a component leaves behind when it is switched off.
import assert from "node:assert/strict";
import type { DeployError } from "../../../lib/core/error.ts";
import { liveOf, shareLooks } from "../../../lib/apply/inventory.ts";
import { nothingBefore } from "../../../lib/kube/kinds.ts";
import { configMap, type Manifest, OWNER, STEP_LABEL } from "../../../lib/core/object.ts";
import { prune, unwanted } from "../../../lib/apply/prune.ts";
import { Report } from "../../../lib/io/report.ts";
import { begun, step } from "../../../lib/deploy/step.ts";
import { nameSurplus, type TidyOptions } from "../../../lib/deploy/remove.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, NO_KINDS, type Reply } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });

function live(kind: string, name: string, more: Record<string, unknown> = {}): Manifest {
  return {
    apiVersion: kind === "NetworkPolicy" ? "networking.k8s.io/v1" : "v1",
    kind,
    metadata: {
      name,
      namespace: "monitoring",
      labels: { [STEP_LABEL]: "20-prometheus" },
      managedFields: [{ manager: "kubelet" }, { manager: OWNER }],
      ...more,
    },
  };
}

function listing(...items: Manifest[]): Reply[] {
  return [
    NO_KINDS,
    {
      on: "api-resources --verbs=list,delete",
      stdout:
        "configmaps\nendpoints\npods\nsecrets\ncustomresourcedefinitions.apiextensions.k8s.io\n" +
        "endpointslices.discovery.k8s.io\nnetworkpolicies.networking.k8s.io\n",
    },
    { on: " get ", stdout: JSON.stringify({ items }) },
    { on: " delete " },
    { on: " apply ", stdout: JSON.stringify({ kind: "List", items: [] }) },
  ];
}

Deno.test("unwanted() asks for every kind, also those that no manifest has any more", async () => {
  const calls = await fakeKubectl(listing());
  await unwanted(cluster, ["20-prometheus", "40-logging"], new Set());
  const [, , get] = await calls();
  assert.match(get!.args, /get configmaps,secrets,networkpolicies\.networking\.k8s\.io /);
  assert.match(get!.args, new RegExp(`managed-by=${OWNER} `));
});

Deno.test("unwanted() asks for the kinds that the cluster has kept, and for no others", async () => {
  const kinds = { data: { kinds: "configmap.v1.\nsecret.v1." } };
  const calls = await fakeKubectl([
    { ...NO_KINDS, stdout: JSON.stringify(kinds) },
    ...listing(live("Secret", "left")),
  ]);
  const site = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const found = await unwanted(site, ["20-prometheus"], new Set());
  assert.deepEqual(found.map(({ metadata }) => metadata.name), ["left"]);
  const asked = (await calls()).map(({ args }) => / get (\S+) --all-namespaces/.exec(args)?.[1]);
  assert.deepEqual(asked.filter(Boolean), ["configmap.v1.,secret.v1."]);
});

Deno.test("unwanted() looks for no other kinds on a cluster that was never deployed to", async () => {
  const calls = await fakeKubectl(listing(live("ConfigMap", "left")));
  const site = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  // As a deploy does it; the look that begins here cannot know yet.
  shareLooks(site);
  await liveOf(site, []);
  await nothingBefore(site);
  assert.deepEqual(await unwanted(site, ["20-prometheus"], new Set()), []);
  assert.equal((await calls()).length, 1, "only whether kinds have been kept");
});

Deno.test("A59: unwanted() is exactly what is ours and not wanted", async () => {
  await fakeKubectl(listing(
    live("ConfigMap", "wanted"),
    live("NetworkPolicy", "surplus"),
    live("ConfigMap", "copied-labels", { managedFields: [{ manager: "kube-controller-manager" }] }),
    live("ConfigMap", "made-by-another", { ownerReferences: [{ kind: "Prometheus", name: "k" }] }),
    live("ConfigMap", "going", { deletionTimestamp: "2026-11-23T00:00:00Z" }),
  ));
  const found = await unwanted(
    cluster,
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
    const site = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
    const found = await unwanted(site, ["20-prometheus"], wanted, { all });
    assert.deepEqual(found.map(({ metadata }) => metadata.name), all ? ["left"] : []);
  }
});

Deno.test("A59: prune() never deletes claims, volumes, namespaces or classes", async () => {
  const kinds = ["PersistentVolumeClaim", "PersistentVolume", "Namespace", "StorageClass"];
  const calls = await fakeKubectl(listing());
  assert.deepEqual(await prune(cluster, kinds.map((kind) => live(kind, "x"))), []);
  assert.deepEqual(await calls(), []);
  const changes = await prune(cluster, [live("PersistentVolumeClaim", "x"), live("Secret", "y")]);
  assert.deepEqual(changes, [{ id: "Secret/monitoring/y", action: "deleted" }]);
  const [deletion] = await calls();
  const items = JSON.parse(deletion!.stdin).items;
  assert.deepEqual(items, [
    { apiVersion: "v1", kind: "Secret", metadata: { name: "y", namespace: "monitoring" } },
  ]);
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
  const result = { ...begun("20-prometheus"), wanted: ["ConfigMap/monitoring/wanted"] };
  const rows = await nameSurplus(
    [{ ...prometheus, keeps: () => Promise.resolve(reason) }],
    [{ ...result, state: state as "ok" }],
    cluster,
    new Report("", (line) => void lines.push(line)),
    options,
  );
  const deletions = (await calls()).filter(({ args }) => args.includes(" delete "));
  return { rows, said: lines.join(""), deletions: deletions.length };
}

Deno.test("A59: nameSurplus() names what is surplus and deletes nothing, until it is asked to", async () => {
  const named = await tidied(undefined, {});
  assert.deepEqual([named.rows, named.deletions], [[], 0]);
  assert.match(
    named.said,
    /no step wants any more: Secret\/monitoring\/left; delete with: make 20-prometheus CLUSTER=197 ARGS=--prune/,
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
  assert.deepEqual(await prune(cluster, [marked]), []);
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

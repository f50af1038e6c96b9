import assert from "node:assert/strict";
import { planCode, planFleet } from "../../../lib/deploy/plan_fleet.ts";
import {
  configMap,
  idOf,
  type Manifest,
  OWNED_LABELS,
  OWNER,
  secret,
  STEP_LABEL,
} from "../../../lib/core/object.ts";
import { lastWriteOf } from "../../../lib/apply/managers.ts";
import { differences, plan } from "../../../lib/deploy/plan.ts";
import { withHash } from "../../../lib/apply/diff.ts";
import { useApi } from "../../../lib/kube/api.ts";
import { applied } from "../../support/applied.ts";
import { fixtureCluster, fixtureFleet } from "../../support/cluster_fixture.ts";
import { fakeKubectl, FLEET_CONFIG, identityReply, listOf } from "../../support/fake_kubectl.ts";
import { fakeApi } from "../../support/fake_api.ts";
import { inventoryOf } from "../../support/inventory.ts";

Deno.test("differences() lists field paths with old and new value, without the server's own fields", () => {
  const before = configMap("a", "n", { x: "1", gone: "z" });
  const after = configMap("a", "n", { x: "2" });
  before.metadata.resourceVersion = "1";
  after.metadata.resourceVersion = "2";
  assert.deepEqual(differences(before, after), ['data.x: "1" -> "2"', 'data.gone: "z" -> (none)']);
});

Deno.test("differences() never shows the data of a Secret", () => {
  const found = differences(secret("a", "n", { key: "old" }), secret("a", "n", { key: "new" }));
  assert.deepEqual(found, ["data.key: changed"]);
});

Deno.test("plan() tolerates kinds and namespaces of the same run, and lists what is no longer wanted", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const kept = configMap("kept", "monitoring", { x: "new" });
  const live = [configMap("kept", "monitoring", { x: "old" }), configMap("gone", "monitoring", {})];
  for (const { metadata } of live) {
    metadata.labels = { [STEP_LABEL]: "20-prometheus" };
    metadata.managedFields = [
      { manager: "controller", operation: "Update", subresource: "status", time: "2026-11-03" },
      { manager: "kubectl-edit", operation: "Update", time: "2026-11-02", fieldsV1: {} },
      { manager: OWNER, operation: "Apply", time: "2026-11-01", fieldsV1: {} },
    ];
  }
  const calls = await fakeKubectl([
    {
      on: "api-resources",
      stdout: "configmaps cm v1 true ConfigMap\nnamespaces ns v1 false Namespace\n",
    },
    { on: "get configmap", stdout: JSON.stringify({ items: live }) },
    { on: "--dry-run=server", stdout: JSON.stringify(kept) },
  ]);
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "not-there-yet" } };
  const entries = await plan(inventoryOf(cluster, [namespace, kept]), [
    namespace,
    kept,
    configMap("new", "not-there-yet", {}),
    {
      apiVersion: "monitoring.coreos.com/v1",
      kind: "Prometheus",
      metadata: { name: "p", namespace: "monitoring" },
    },
  ], [{ name: "20-prometheus" }]);
  assert.deepEqual(entries.map(({ id, action, fields }) => [id, action, ...fields]), [
    ["Namespace/not-there-yet", "create"],
    [
      "ConfigMap/monitoring/kept",
      "update",
      'metadata.labels.deploy.miribit.lab/step: "20-prometheus" -> (none)',
      'data.x: "old" -> "new"',
    ],
    ["ConfigMap/not-there-yet/new", "create"],
    ["Prometheus/monitoring/p", "create"],
    ["ConfigMap/monitoring/gone", "delete"],
  ]);
  // What controllers write to the status is no change.
  const last = { by: "kubectl-edit", at: "2026-11-02" };
  assert.deepEqual(entries.map(({ last }) => last), [undefined, last, undefined, undefined, last]);
  const applied = (await calls()).filter(({ args }) => args.includes(" apply "));
  assert.equal(applied.length, 1);
  assert.match(applied[0]!.args, /--dry-run=server/);
  // The API server would refuse what is in a namespace, or of a kind, that is not there.
  const tried = JSON.parse(applied[0]!.stdin).items.map((item: Manifest) => idOf(item));
  assert.deepEqual(tried, ["Namespace/not-there-yet", "ConfigMap/monitoring/kept"]);
});

Deno.test("lastWriteOf() names nobody where one of the writers has no time, as kubectl scale", () => {
  const live = configMap("c", "n", {});
  const ours = { manager: OWNER, operation: "Apply", time: "2026-11-01T00:00:00Z" };
  live.metadata.managedFields = [ours];
  assert.deepEqual(lastWriteOf(live), { last: { by: OWNER, at: ours.time } });
  live.metadata.managedFields = [ours, {
    manager: "kubectl",
    operation: "Update",
    subresource: "scale",
  }];
  assert.deepEqual(lastWriteOf(live), {});
  assert.deepEqual(lastWriteOf(undefined), {});
});

Deno.test("E1: lastWriteOf() names a person also at the door of the status, and no controller there", () => {
  const live = configMap("c", "n", {});
  const by = (manager: string, time: string, more = {}) => ({ manager, time, ...more });
  const status = { subresource: "status" };
  live.metadata.managedFields = [by(OWNER, "2026-11-01"), by("kubectl-patch", "2026-11-02", status)]
    .concat(by("kube-controller-manager", "2026-11-03", status));
  assert.equal(lastWriteOf(live).last!.by, "kubectl-patch");
});

Deno.test("E1: plan() names no writer of what was scaled to 0: the API server keeps none", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const metadata = { name: "d", namespace: "n", labels: { ...OWNED_LABELS } };
  const spec = { replicas: 1, minReadySeconds: 5 };
  const wanted = { apiVersion: "apps/v1", kind: "Deployment", metadata, spec };
  const live = applied(structuredClone(withHash(wanted)));
  live.spec.replicas = 0;
  Object.assign(live.metadata.managedFields[0], { time: "2026-11-01T00:00:00Z" });
  delete live.metadata.managedFields[0].fieldsV1["f:spec"]["f:replicas"];
  await fakeKubectl([
    { on: "--dry-run=server", stdout: JSON.stringify(withHash(wanted)) },
    { on: " get ", stdout: listOf(live) },
  ]);
  const [entry] = await plan(inventoryOf(cluster, [wanted]), [wanted]);
  assert.equal(entry!.last, undefined);
  const [line, why, ...more] = entry!.fields;
  assert.deepEqual([line, more], ["spec.replicas: 0 -> 1", []]);
  assert.match(why!, /^spec\.replicas: scaled to 0 \(kubectl scale, an autoscaler\), .* no name/);
});

Deno.test("plan() with nothing to do looks at the cluster once", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const wanted = configMap("c", "n", {}, { labels: { ...OWNED_LABELS } });
  await fakeKubectl([{ on: " get ", stdout: listOf(applied(withHash(wanted))) }]);
  let looks = 0;
  useApi((cluster) => {
    looks++;
    return fakeApi(cluster);
  });
  const [entry] = await plan(inventoryOf(cluster, [wanted]), [wanted]);
  assert.deepEqual([entry!.action, looks], ["unchanged", 1]);
});

Deno.test("planFleet() plans the other clusters when one is away, and ends with its code", async () => {
  await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    { on: "mkube-197 get", stderr: "error: Unauthorized", code: 1 },
    identityReply("uid"),
  ]);
  const plans = await planFleet(
    [],
    await fixtureFleet({ KUBECONFIG_FILE: "tests/fixtures/kubeconfig" }),
  );
  assert.deepEqual(plans.map(({ error }) => error === undefined), [true, false, true]);
  assert.equal(planCode(plans), 5);
});

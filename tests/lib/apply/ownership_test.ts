// lib/apply/takeover.ts: what a person has made with plain `kubectl apply` (the smoke job does it for real).
import assert from "node:assert/strict";
import { apply } from "../../../lib/apply/apply.ts";
import { configMap, OWNER } from "../../../lib/core/object.ts";
import { oursNow } from "../../../lib/apply/ownership.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf } from "../../support/fake_kubectl.ts";

const wanted = configMap("a", "n", { x: "1" });
const ours = { manager: OWNER, operation: "Apply", fieldsV1: { "f:data": { "f:x": {} } } };
const others = { manager: "kube-controller-manager", operation: "Update", fieldsV1: {} };
const byHand = {
  manager: "kubectl-client-side-apply",
  operation: "Update",
  fieldsV1: { "f:data": { "f:gone": {} }, "f:metadata": { "f:annotations": {} } },
};

function live(...managedFields: unknown[]) {
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}" };
  const metadata = { ...wanted.metadata, annotations, resourceVersion: "7", managedFields };
  return { ...wanted, metadata };
}

Deno.test("A35: oursNow() adds the fields of a plain apply to ours, and leaves other managers alone", () => {
  assert.deepEqual(oursNow(live(ours, byHand, others)), [{
    ...ours,
    fieldsV1: { "f:data": { "f:x": {}, "f:gone": {} }, "f:metadata": { "f:annotations": {} } },
  }, others]);
});

Deno.test("A35: apply() takes over what a plain apply has had, once, and applies again", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const calls = await fakeKubectl([
    { on: " get .*(--selector|--show-kind)", stdout: listOf() },
    { on: " get configmap.v1. a ", stdout: JSON.stringify(live(ours, byHand)) },
    { on: " patch configmap.v1. a " },
    { on: " apply ", stdout: listOf(live()), times: 1 },
    { on: " apply ", stdout: listOf(wanted) },
  ]);
  const said: string[] = [];
  await apply(cluster, [wanted], { say: (text) => said.push(text) });
  const verbs = (await calls()).map(({ args }) => / (get|apply|patch) /.exec(args)![1]);
  assert.deepEqual(verbs, ["get", "get", "apply", "get", "patch", "apply"]);
  assert.match((await calls())[4]!.args, /"path":"\/metadata\/resourceVersion","value":"7"/);
  assert.deepEqual(said, ["taking ConfigMap/n/a over from a plain kubectl apply"]);
});

// lib/apply/apply.ts, where it takes over: what people have made or changed (tests/apiserver does it for real).
import assert from "node:assert/strict";
import { configMap } from "../../../lib/core/object.ts";
import { applied } from "../../support/applied.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf } from "../../support/fake_kubectl.ts";
import { applyTo } from "../../support/inventory.ts";

const wanted = configMap("a", "n", { x: "1" });
const byHand = {
  manager: "kubectl-client-side-apply",
  operation: "Update" as const,
  time: "2026-11-29T00:00:00Z",
  fieldsV1: { "f:data": { "f:gone": {} } },
};
const live = structuredClone(applied(wanted, byHand));
live.data.gone = "x";
live.metadata.resourceVersion = "7";

Deno.test("A35: apply() takes over what a person has made, once, and applies again", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const calls = await fakeKubectl([
    { on: " get .*--selector", stdout: listOf() },
    { on: " get .*--filename - ", stdout: listOf(), times: 1 },
    { on: " get .*--filename - ", stdout: JSON.stringify(live) },
    { on: " patch configmap.v1. a " },
    { on: " apply ", stdout: listOf(live), times: 1 },
    { on: " apply ", stdout: listOf(applied(wanted)) },
  ]);
  const said: string[] = [];
  await applyTo(cluster, [wanted], { say: (text) => said.push(text) });
  const verbs = (await calls()).map(({ args }) => / (get|apply|patch) /.exec(args)![1]);
  assert.deepEqual(verbs, ["get", "get", "apply", "get", "patch", "apply"]);
  assert.match((await calls())[4]!.stdin, /"path":"\/metadata\/resourceVersion","value":"7"/);
  assert.deepEqual(said, [
    "taking data.gone (kubectl-client-side-apply, 2026-11-29T00:00:00Z) from ConfigMap/n/a",
  ]);
});

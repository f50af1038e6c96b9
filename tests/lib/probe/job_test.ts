// lib/probe/job.ts, where the cluster does nothing with a Job; what its pods say is in tests/checks.
import assert from "node:assert/strict";
import { readJob } from "../../../lib/probe/job.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf } from "../../support/fake_kubectl.ts";

Deno.test("readJob() says that nobody makes pods, as when the controller manager is away", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const job = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "look-1", namespace: "default", uid: "1" },
    spec: { activeDeadlineSeconds: -15, template: { spec: { containers: [] } } },
  };
  await fakeKubectl([
    { on: "apply", stdout: JSON.stringify(job) },
    { on: "get jobs,pods", stdout: listOf(job) },
    { on: "delete job", stdout: "deleted" },
  ]);
  const error = await readJob(cluster, job, { does: "looks" }).catch((error) => error);
  assert.deepEqual(error.where, [
    "Job default/look-1: no pod was made for it, does the controller manager run?",
  ]);
});

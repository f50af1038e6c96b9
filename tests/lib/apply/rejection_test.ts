// What is refused at render, and what an API server refuses by its own rules.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeployError } from "../../../lib/core/error.ts";
import { kubectl, useKubectl } from "../../../lib/kube/kubectl.ts";
import { KubectlError } from "../../../lib/kube/kubectl_error.ts";
import { configMap, type Manifest } from "../../../lib/core/object.ts";
import { unready } from "../../../lib/apply/readiness.ts";
import { render } from "../../../lib/render/render.ts";
import { webhooksBehind } from "../../../lib/apply/rejection.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf } from "../../support/fake_kubectl.ts";
import { applyTo } from "../../support/inventory.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });

function workload(
  kind: string,
  container: Record<string, unknown>,
  status: unknown = {},
): Manifest {
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name: "store", namespace: "n", generation: 1 },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: "store" } },
      template: { spec: { containers: [{ name: "main", ...container }] } },
    },
    status,
  };
}

Deno.test("A37: render() refuses a port that stands twice, with object, container and key", async () => {
  useKubectl("kubectl");
  const root = await mkdtemp(join(tmpdir(), "render-"));
  const ports = [{ name: "http", containerPort: 80 }, { name: "web", containerPort: 80 }];
  const files = {
    "kustomization.yaml": { resources: ["store.json"] },
    "store.json": workload("Deployment", { ports }),
  };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(root, name), JSON.stringify(content));
  }
  const env = [{ name: "A", value: "1" }, { name: "A", value: "2" }];
  const add = [workload("StatefulSet", { env })];
  const error = await render("", cluster, { root, add }).catch((error) => error);
  await rm(root, { recursive: true });
  assert.ok(error instanceof DeployError, String(error));
  assert.equal(error.exitCode, 2);
  assert.deepEqual(error.where, [
    "Deployment/n/store  spec.template.spec.containers[main].ports: 80/TCP twice",
    "StatefulSet/n/store  spec.template.spec.containers[main].env: A twice",
  ]);
});

/** The API server's words about a webhook of an install that is gone. */
const STALE =
  "Error from server (InternalError): Internal error occurred: failed calling webhook " +
  '"mutate.monitoring.coreos.com": failed to call webhook: Post "https://old-operator.old.svc:443/' +
  'mutate?timeout=10s": no endpoints available for service "old-operator"';

Deno.test("A42: a webhook that nobody is behind is a rejection (6), and its Service is named", async () => {
  await fakeKubectl([{ on: " apply ", stderr: STALE, code: 1 }]);
  const error = await kubectl(["apply", "-f", "-"], { cluster }).catch((error) => error);
  assert.ok(error instanceof KubectlError);
  assert.equal(error.exitCode, 6);
  assert.match(error.stderr, /no endpoints available for service "old-operator"/);
});

Deno.test("A42: webhooksBehind() names the configuration that asks, and deletes nothing", async () => {
  const asking = (kind: string, name: string, ...webhooks: unknown[]) => (
    { kind, metadata: { name }, webhooks }
  );
  const at = (name: string) => (
    { name, clientConfig: { service: { namespace: "old", name: "old-operator" } } }
  );
  const items = [
    asking("ValidatingWebhookConfiguration", "other", at("validate.other.io")),
    asking("ValidatingWebhookConfiguration", "empty"),
    asking("MutatingWebhookConfiguration", "old-admission", at("mutate.monitoring.coreos.com")),
  ];
  const calls = await fakeKubectl([{
    on: "get .*webhookconfigurations",
    stdout: listOf(...items),
  }]);
  assert.deepEqual(await webhooksBehind(cluster, STALE), [
    "MutatingWebhookConfiguration/old-admission asks Service/old/old-operator; if an old install " +
    "left it: kubectl --context mkube-197 delete MutatingWebhookConfiguration old-admission",
  ]);
  assert.equal((await calls()).length, 1);
  assert.deepEqual(await webhooksBehind(cluster, "Error from server (Invalid)"), []);
  assert.equal((await calls()).length, 1, "other words ask nothing");
});

const QUOTA = "exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=1, " +
  "limited: requests.cpu=2";

Deno.test("A48: apply() names object, quota, used and limit of what a quota refuses, and applies the rest", async () => {
  const stderr = `Error from server (Forbidden): configmaps "a" is forbidden: ${QUOTA}`;
  const calls = await fakeKubectl([
    { on: " get ", stdout: listOf() },
    { on: "-o json -f -", stderr, code: 1 },
    { on: " apply ", stderr, stdout: "configmap/b serverside-applied\n", code: 1 },
  ]);
  const objects = ["a", "b"].map((name) => configMap(name, "n", {}));
  const error = await applyTo(cluster, objects).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 6);
  assert.equal(error.message, "Cannot apply 1 of 2 objects on 197");
  assert.equal(error.where[0]!.startsWith("ConfigMap/n/a: "), true);
  assert.ok(error.where[0]!.endsWith(QUOTA), error.where[0]);
  // The List, the same to see what was refused, and that object alone: a quota is not waited for.
  assert.equal((await calls()).filter(({ args }) => args.includes(" apply ")).length, 3);
});

const REFUSED = `pods "store-x" is forbidden: ${QUOTA}`;

Deno.test("A48: unready() says what a quota keeps a workload from making", async () => {
  const condition = { type: "ReplicaFailure", status: "True", reason: "FailedCreate" };
  const event = {
    kind: "Event",
    reason: "FailedCreate",
    message: REFUSED,
    involvedObject: { kind: "DaemonSet", name: "store", uid: "now" },
  };
  const before = {
    ...event,
    message: "of an earlier one",
    involvedObject: { ...event.involvedObject, uid: "before" },
  };
  const deployment = workload("Deployment", {}, {
    observedGeneration: 1,
    conditions: [{ ...condition, message: REFUSED }],
  });
  const daemons = workload("DaemonSet", {}, { observedGeneration: 1, desiredNumberScheduled: 1 });
  daemons.metadata.uid = "now";
  await fakeKubectl([
    { on: "get pods ", stdout: listOf() },
    { on: "get events ", stdout: listOf(event, before) },
    { on: "get ", stdout: listOf(deployment, daemons) },
  ]);
  assert.deepEqual(await unready(cluster, [deployment, daemons]), [
    `Deployment/n/store: FailedCreate: ${REFUSED}`,
    `DaemonSet/n/store: FailedCreate: ${REFUSED}`,
  ]);
});

// removeFleet() of lib/deploy/fleet.ts: what goes, in which order, and what stays.
import assert from "node:assert/strict";
import { type Manifest, OWNER, STEP_LABEL } from "../../../lib/core/object.ts";
import { removeFleet } from "../../../lib/deploy/fleet.ts";
import { type Step, step } from "../../../lib/deploy/step.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  FREE,
  identityReply,
  listOf,
} from "../../support/fake_kubectl.ts";

function live(of: string, apiVersion: string, kind: string, name: string): Manifest {
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      namespace: "monitoring",
      labels: { [STEP_LABEL]: of },
      managedFields: [{ manager: OWNER, operation: "Apply", fieldsV1: {} }],
    },
  };
}

const LIVE = [
  live("20-prometheus", "apps/v1", "Deployment", "operator"),
  live("20-prometheus", "v1", "PersistentVolumeClaim", "data"),
  live("20-prometheus", "monitoring.coreos.com/v1", "Prometheus", "main"),
  live("10-longhorn", "apps/v1", "DaemonSet", "longhorn-manager"),
  live("40-logging", "v1", "Service", "opensearch"),
];

function named(name: string, more: Partial<Step> = {}): Step {
  const rest = { objects: () => Promise.resolve([]), run: () => Promise.resolve() };
  return step({ name, ...rest, ...more });
}

const STEPS = [
  named("10-longhorn", { keeps: () => Promise.resolve("volumes are still there") }),
  named("20-prometheus"),
  named("40-logging"),
  named("50-verify", { afterFleet: true }),
];

async function removed(really: boolean) {
  const kinds = ["deployment.v1.apps", "persistentvolumeclaim.v1.", "service.v1."];
  const calls = await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    identityReply("uid", undefined, kinds),
    ...FREE,
    { on: " get .*--selector", stdout: listOf(...LIVE) },
    { on: " (delete|get) .*--filename" },
    { on: " apply ", stdout: listOf() },
  ]);
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
  const [result] = await removeFleet(STEPS, [cluster], { really });
  const deletions = (await calls()).filter(({ args }) => args.includes(" delete ")).map((
    { stdin },
  ) => JSON.parse(stdin).items.map(({ metadata }: Manifest) => metadata.name).join());
  return { result: result!, deletions, calls: await calls() };
}

Deno.test("removeFleet() deletes the last step first, custom resources before their operator, and no data", async () => {
  const { result, deletions } = await removed(true);
  assert.deepEqual(deletions, ["opensearch", "main", "operator"]);
  assert.deepEqual(result.steps.map(({ step, objects, changed }) => [step, objects, changed]), [
    ["40-logging", 1, 1],
    ["20-prometheus", 3, 2],
    ["10-longhorn", 1, 0],
  ]);
});

Deno.test("removeFleet() only looks until it is really meant, and takes no lock for that", async () => {
  const { deletions, calls } = await removed(false);
  assert.deepEqual(deletions, []);
  assert.ok(calls.every(({ args }) => !/ (create|replace|patch|delete) /.test(args)));
});

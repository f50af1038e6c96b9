// NETWORK_POLICIES: with them everything still works, strangers are refused where the site's network
// plugin carries them out, and switched off again nothing of them stays.
import assert from "node:assert/strict";
import { type Cluster, flag } from "../../lib/core/cluster.ts";
import { runJob, runName } from "../../lib/probe/job.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { enforcerOf } from "../../scripts/components/network/network.ts";
import { check, eventually, figure, fleet, kube, make } from "./site.ts";

const on = { NETWORK_POLICIES: "true" };
const NAMES = "networkpolicies.networking.k8s.io";
// Where the settings want policies anyway, the rest of the suite has run with them.
const always = fleet.some((cluster) => flag(cluster, "NETWORK_POLICIES"));

check("NETWORK_POLICIES=true: every check of verify passes on every cluster", async () => {
  for (const cluster of fleet) assert.equal(await strangerReaches(cluster), true);
  await make(["all"], on);
  for (const cluster of fleet) {
    const { items } = await kube(cluster, NAMES, "--all-namespaces");
    assert.ok(items.length >= 12, `${cluster.id} has ${items.length} policies`);
  }
  // Once more, when nothing stands open from before.
  await make(["verify"], on);
}, always);

for (const cluster of fleet) {
  check(
    `${cluster.id}: a pod of another namespace is refused, where policies are enforced`,
    async () => {
      const reaches = await strangerReaches(cluster);
      figure(`${cluster.id}: NetworkPolicies enforced`, reaches ? "no" : "yes");
      if (await enforcerOf(cluster)) assert.equal(reaches, false);
    },
    always,
  );
}

check("NETWORK_POLICIES=false and --prune leave none, and everything open", async () => {
  await make(["all", "ARGS=--prune"]);
  for (const cluster of fleet) {
    const { items } = await kube(cluster, NAMES, "--all-namespaces");
    assert.deepEqual(
      items.map(({ metadata }: { metadata: { name: string } }) => metadata.name),
      [],
    );
    await eventually(1, async () => assert.equal(await strangerReaches(cluster), true));
  }
}, always);

/** Whether a pod in the namespace default gets a connection to OpenSearch, which asks for no login. */
async function strangerReaches(cluster: Cluster): Promise<boolean> {
  const { items: services } = await kube(cluster, "services", "-n", "logging");
  const service = services.find(({ metadata }: Manifest) => metadata.name === "opensearch");
  const { items: [exporter] } = await kube(cluster, "deployments", "-n", "logging");
  const [{ image }] = exporter.spec.template.spec.containers; // it has BusyBox
  const { clusterIP } = service.spec;
  const command = ["/bin/busybox", "nc", "-w", "5", clusterIP, "9200"];
  const container = { name: "stranger", image, command };
  return await runJob(cluster, {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: runName("stranger"), namespace: "default" },
    spec: {
      backoffLimit: 0,
      activeDeadlineSeconds: 60,
      ttlSecondsAfterFinished: 60,
      template: { spec: { restartPolicy: "Never", containers: [container] } },
    },
  }, { does: "looks for OpenSearch" });
}

// scripts/components/network: the policies let through what the rendered objects need, and nothing else.
import assert from "node:assert/strict";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { ingress } from "../../../scripts/05-ingress.ts";
import { longhorn } from "../../../scripts/10-longhorn.ts";
import { prometheus } from "../../../scripts/20-prometheus.ts";
import { thanos } from "../../../scripts/30-thanos.ts";
import { logging } from "../../../scripts/40-logging.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { matches, neededFlows, type Pods, podsOf } from "./flows.ts";

const FENCED = ["monitoring", "logging", "node-agents", "ingress-nginx"];

async function rendered(cluster: Cluster): Promise<Manifest[]> {
  const steps = [ingress, longhorn, prometheus, thanos, logging];
  const wanted = steps.filter((step) => !step.skips?.(cluster));
  return (await Promise.all(wanted.map((step) => step.objects(cluster)))).flat();
}

/** What the policies of our namespaces allow, judged as a CNI does: both ends must let it through. */
function allowedFlows(objects: Manifest[]): Set<string> {
  const policies = objects.filter(({ kind, metadata }) =>
    kind === "NetworkPolicy" && FENCED.includes(metadata.namespace!)
  );
  const pods = podsOf(objects);
  const found = new Set<string>();
  for (const from of pods) {
    for (const rule of rulesOf(from, policies, "egress")) {
      for (const [end, port] of ends(rule.to, rule.ports, pods)) {
        const to = pods.find(({ id }) => id === end);
        const open = !to || !FENCED.includes(to.namespace) ||
          rulesOf(to, policies, "ingress").some((rule) => admits(rule, from, port));
        if (open) found.add(`${from.id} -> ${end}:${port}`);
      }
    }
  }
  for (const to of pods.filter(({ namespace }) => FENCED.includes(namespace))) {
    for (const { from, ports } of rulesOf(to, policies, "ingress")) {
      for (const { ipBlock } of from) {
        if (!ipBlock) continue;
        for (const { port } of ports) found.add(`${ipBlock.cidr} -> ${to.id}:${port}`);
      }
    }
  }
  return found;
}

// deno-lint-ignore no-explicit-any
function rulesOf(pods: Pods, policies: Manifest[], way: "ingress" | "egress"): any[] {
  return policies.filter(({ metadata, spec }) =>
    metadata.namespace === pods.namespace &&
    matches(spec.podSelector.matchLabels ?? {}, pods.labels)
  ).flatMap(({ spec }) => spec[way]);
}

// deno-lint-ignore no-explicit-any
function admits({ from, ports }: any, who: Pods, port: number): boolean {
  // deno-lint-ignore no-explicit-any
  return ports.some((one: any) => one.port === port) && from.some((peer: any) => isPeer(peer, who));
}

// deno-lint-ignore no-explicit-any
function isPeer({ namespaceSelector, podSelector }: any, { namespace, labels }: Pods): boolean {
  return podSelector !== undefined &&
    namespaceSelector.matchLabels["kubernetes.io/metadata.name"] === namespace &&
    matches(podSelector.matchLabels, labels);
}

// deno-lint-ignore no-explicit-any
function ends(to: any[], ports: any[], pods: Pods[]): [string, number][] {
  const names = to.flatMap((peer) =>
    peer.ipBlock ? [peer.ipBlock.cidr] : pods.filter((one) => isPeer(peer, one)).map(({ id }) => id)
  );
  return names.flatMap((name) => ports.map(({ port }): [string, number] => [name, port]));
}

for (const id of ["196", "197", "198"]) {
  for (const controller of ["nginx", "traefik", "existing"]) {
    Deno.test(`NETWORK_POLICIES: no flow of ${id} is missing with INGRESS=${controller}, and none too many`, async () => {
      const cluster = await fixtureCluster(id, { NETWORK_POLICIES: "true", INGRESS: controller });
      const objects = await rendered(cluster);
      const needed = neededFlows(cluster, objects), allowed = allowedFlows(objects);
      assert.deepEqual([...needed].filter((flow) => !allowed.has(flow)), [], "missing");
      assert.deepEqual([...allowed].filter((flow) => !needed.has(flow)), [], "too many");
      assert.ok(needed.size > 30);
    });
  }
}

Deno.test("NETWORK_POLICIES: every pod of our namespaces is refused everything but its flows", async () => {
  const cluster = await fixtureCluster("196", { NETWORK_POLICIES: "true" });
  const policies = (await rendered(cluster)).filter(({ kind }) => kind === "NetworkPolicy");
  for (const policy of policies) new NetworkPolicy(policy as never).validate();
  const ids = policies.map(idOf);
  assert.equal(new Set(ids).size, ids.length);
  for (const namespace of FENCED) {
    const deny = policies.find((one) => idOf(one) === `NetworkPolicy/${namespace}/default-deny`);
    assert.deepEqual(deny?.spec, {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: [],
    });
  }
});

Deno.test("NETWORK_POLICIES=false renders none: everything is open", async () => {
  const objects = await rendered(await fixtureCluster("197"));
  assert.deepEqual(objects.filter(({ kind }) => kind === "NetworkPolicy"), []);
});

Deno.test("NETWORK_POLICIES: a webhook, an S3 with a name and a CA of one's own change the flows", async () => {
  const cluster = await fixtureCluster("197", {
    NETWORK_POLICIES: "true",
    ALERT_WEBHOOK_URL: "http://hooks.example:8080/x",
    S3_ENDPOINT: "https://s3.example",
    OPENSEARCH_IMAGE: "registry.example/opensearch:3.9.0",
    ADMIN_CIDR: "192.168.101.0/24,10.8.0.0/16",
  });
  const allowed = allowedFlows(await rendered(cluster));
  assert.ok(allowed.has("monitoring/alertmanager -> 0.0.0.0/0:8080"));
  assert.ok(allowed.has("logging/opensearch -> 0.0.0.0/0:443"), "its S3");
  assert.ok(allowed.has("10.8.0.0/16 -> ingress-nginx/ingress-nginx:80"));
  assert.ok(!allowed.has("0.0.0.0/0 -> ingress-nginx/ingress-nginx:80"));
});

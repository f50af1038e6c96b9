// scripts/components/network: the policies let through what the rendered objects need, and nothing else.
import assert from "node:assert/strict";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1";
import { SETTINGS } from "../../../lib/config/schema.ts";
import { type Cluster, isCase } from "../../../lib/core/cluster.ts";
import { idOf, type Manifest, signed } from "../../../lib/core/object.ts";
import { desired } from "../../../lib/deploy/step.ts";
import { ingress } from "../../../scripts/05-ingress.ts";
import { longhorn } from "../../../scripts/10-longhorn.ts";
import { prometheus } from "../../../scripts/20-prometheus.ts";
import { thanos } from "../../../scripts/30-thanos.ts";
import { logging } from "../../../scripts/40-logging.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { endsOf, portsOf } from "../../../scripts/components/network/network.ts";
import { longhornPolicies } from "../../../scripts/components/longhorn/objects.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fleetWith } from "../../support/project_fixture.ts";
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

Deno.test("flows.yaml: every word is a workload that is rendered, an end or a port, and none is left over", async () => {
  const fleet = await Promise.all(["196", "197"].map((id) => fixtureCluster(id)));
  const pods = new Map(
    await Promise.all(
      fleet.map(async (cluster) =>
        [cluster.role, podsOf(await rendered(cluster)).map(({ id }) => id)] as const
      ),
    ),
  );
  const { workloads, flows } = renderFile("flows.yaml", fleet[0]!).spec;
  const known: string[] = [];
  for (const { namespace, pods: names, when, ...others } of workloads) {
    assert.deepEqual(others, {});
    const isThere = fleet.filter(({ vars }) => isCase(vars, when));
    for (const { role } of isThere) {
      for (const name of names) {
        const id = `${namespace}/${name}`;
        assert.ok(pods.get(role)!.includes(id), `${id} at the ${role}`);
      }
    }
    const settings = Object.keys(when ?? {});
    assert.ok(isThere.length > 0 || settings.join() === "INGRESS", settings.join());
    assert.ok(settings.every((name) => name in SETTINGS), settings.join());
    known.push(...names);
  }
  const ends = new Set<string>(), ports = new Set<string>();
  for (const { from, to, ports: own = [], when = {}, ...others } of flows) {
    assert.deepEqual(others, {});
    assert.ok(Object.keys(when).every((name) => name in SETTINGS), Object.keys(when).join());
    for (const name of [from, to].flat()) if (!known.includes(name)) ends.add(name);
    for (const port of own) if (typeof port === "string") ports.add(port);
  }
  assert.deepEqual([...ends].sort(), Object.keys(endsOf(fleet[0]!)).sort());
  assert.deepEqual([...ports].sort(), Object.keys(portsOf(fleet[0]!)).sort());
});

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

const NODES = "192.168.101.0/29,10.244.0.0/16";

/** One cluster of a fleet in which those with a word for their nodes have several. */
async function clusterOf(
  id: string,
  nodes: Record<string, string>,
  environment: Record<string, string>,
): Promise<Cluster> {
  const lines = Object.entries(nodes).map(([id, networks]) => [id, `NODE_NETWORKS=${networks}`]);
  const fleet = await fleetWith(Object.fromEntries(lines), environment);
  return fleet.find((cluster) => cluster.id === id)!;
}

Deno.test("P6: with several nodes every door answers on each of them, with one it stays as sites have it", async () => {
  for (const INGRESS of ["nginx", "traefik"]) {
    const doors = async (nodes: Record<string, string>) => {
      const objects = await rendered(await clusterOf("197", nodes, { INGRESS }));
      return objects.filter(({ spec }) => spec?.type === "NodePort")
        .map(({ spec }) => spec.externalTrafficPolicy);
    };
    assert.deepEqual(await doors({}), ["Local", "Local"]);
    assert.deepEqual(await doors({ "196": NODES }), ["Local", "Local"]);
    assert.deepEqual(await doors({ "197": NODES }), ["Cluster", "Cluster"]);
  }
});

Deno.test("P6: policies know the addresses of all nodes, own ones and those of the centre", async () => {
  const flows = async (nodes: Record<string, string>) =>
    allowedFlows(await rendered(await clusterOf("197", nodes, { NETWORK_POLICIES: "true" })));
  const edge = await flows({ "197": NODES });
  for (const network of ["192.168.101.197/32", ...NODES.split(",")]) {
    assert.ok(edge.has(`monitoring/prometheus -> ${network}:9100`), network);
    assert.ok(edge.has(`monitoring/kube-state-metrics -> ${network}:8443`), network);
    assert.ok(edge.has(`${network} -> monitoring/grafana:3000`), "our own tools");
    assert.ok(edge.has(`${network} -> monitoring/prometheus:10901`), "a call that is passed on");
  }
  const callers = [...await flows({ "196": NODES })].filter((flow) =>
    flow.endsWith("/prometheus:10901") && /^[0-9]/.test(flow)
  ).map((flow) => flow.split(" ")[0]);
  assert.deepEqual(callers, ["192.168.101.196/32", ...NODES.split(",")]);
});

Deno.test("NETWORK_POLICIES: the centre reaches a sidecar where it is dialled, by a name on one port alone", async () => {
  const lines = {
    "197": "SIDECAR_ADDRESS=203.0.113.7:9443",
    "198": "SIDECAR_ADDRESS=edge.example",
  };
  const [centre] = await fleetWith(lines, { NETWORK_POLICIES: "true" });
  const out = [...allowedFlows(await rendered(centre!))].filter((flow) =>
    /^monitoring\/thanos-query -> \d/.test(flow)
  );
  assert.deepEqual(out.sort(), [
    "monitoring/thanos-query -> 0.0.0.0/0:30901",
    "monitoring/thanos-query -> 203.0.113.7/32:9443",
  ]);
});

Deno.test("P6: the host of every node reaches its volumes", async () => {
  const cluster = await clusterOf("197", { "197": NODES }, { NETWORK_POLICIES: "true" });
  const [, iscsi] = longhornPolicies(cluster);
  assert.deepEqual(
    iscsi!.spec.ingress[0].from,
    ["192.168.101.197/32", ...NODES.split(",")].map((cidr) => ({ ipBlock: { cidr } })),
  );
});

Deno.test("NETWORK_POLICIES: an edge that is deployed alone opens the centre's way to it, as a whole deploy does", async () => {
  const part = prometheus.centralPart!(["197"]);
  const closed = await fixtureCluster("196", { NETWORK_POLICIES: "true" });
  const [way, ...others] = await desired(part, closed);
  assert.deepEqual(others, []);
  const whole = signed(await prometheus.objects(closed), prometheus.name);
  assert.deepEqual(way, whole.find((object) => idOf(object) === idOf(way!)));
  assert.match(JSON.stringify(way!.spec.egress), /192\.168\.101\.197\/32/);
  assert.deepEqual(await desired(part, await fixtureCluster("196")), []);
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

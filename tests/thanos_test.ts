import assert from "node:assert/strict";
import { parse } from "yaml";
import type { Cluster, Peer } from "../lib/cluster.ts";
import { idOf, type Manifest } from "../lib/manifest.ts";
import { thanos } from "../scripts/30-thanos.ts";
import { missingEndpoints, type Stores } from "../scripts/thanos/stores.ts";
import { fixtureCluster } from "./cluster_fixture.ts";

function byId(objects: Manifest[], id: string): Manifest {
  const object = objects.find((object) => idOf(object) === id);
  assert.ok(object, `${id} is missing`);
  return object;
}

function argsOf(objects: Manifest[], id: string): string[] {
  return byId(objects, id).spec.template.spec.containers[0].args;
}

function addressesOf(objects: Manifest[]): string[] {
  const file = byId(objects, "ConfigMap/monitoring/thanos-query-endpoints").data["endpoints.yml"];
  return parse(file).endpoints.map(({ address }: { address: string }) => address);
}

/** The cluster in a fleet with one more edge. */
function grown(cluster: Cluster): Cluster {
  const peer: Peer = {
    ...cluster.fleet[1]!,
    id: "199",
    name: "cluster-199-edge",
    ip: "192.168.101.199",
  };
  return { ...cluster, fleet: [...cluster.fleet, peer] };
}

const STORE = "StatefulSet/monitoring/thanos-store";
const QUERY = "Deployment/monitoring/thanos-query";

Deno.test("30-thanos gives an edge its sidecar's alerts and nothing else", async () => {
  const objects = await thanos.objects(await fixtureCluster("197"));
  assert.deepEqual(objects.map(idOf), ["PrometheusRule/monitoring/thanos-sidecar"]);
});

Deno.test("30-thanos points Query at its own programs and at every edge", async () => {
  const objects = await thanos.objects(await fixtureCluster("196"));
  assert.deepEqual(addressesOf(objects), [
    "dnssrv+_grpc._tcp.thanos-sidecar.monitoring.svc.cluster.local",
    "dnssrv+_grpc._tcp.thanos-store.monitoring.svc.cluster.local",
    "dnssrv+_grpc._tcp.thanos-ruler.monitoring.svc.cluster.local",
    "192.168.101.197:30901",
    "192.168.101.198:30901",
  ]);
});

Deno.test("30-thanos discovers by SRV only headless Services with a port named grpc", async () => {
  const objects = await thanos.objects(await fixtureCluster("196"));
  for (const name of ["thanos-store", "thanos-ruler"]) {
    const { spec } = byId(objects, `Service/monitoring/${name}`);
    assert.equal(spec.clusterIP, "None");
    assert.ok(
      spec.ports.some(({ name, port }: { name: string; port: number }) =>
        name === "grpc" && port === 10901
      ),
    );
  }
});

Deno.test("30-thanos: a new edge changes the lists and restarts nothing", async () => {
  const cluster = await fixtureCluster("196");
  const before = await thanos.objects(cluster), after = await thanos.objects(grown(cluster));
  const changed = after.filter((object) =>
    JSON.stringify(object) !== JSON.stringify(byId(before, idOf(object)))
  );
  assert.deepEqual(changed.map(idOf).sort(), [
    "ConfigMap/monitoring/thanos-query-endpoints",
    "ConfigMap/monitoring/thanos-ruler-fleet-rules",
    "PrometheusRule/monitoring/thanos-fleet",
  ]);
  assert.ok(addressesOf(after).includes("192.168.101.199:30901"));
});

Deno.test("30-thanos watches every cluster of the fleet", async () => {
  const objects = await thanos.objects(grown(await fixtureCluster("196")));
  const rules = byId(objects, "ConfigMap/monitoring/thanos-ruler-fleet-rules").data["fleet.yaml"];
  const [group] = parse(rules).groups;
  assert.equal(group.partial_response_strategy, "warn");
  const clusters = ["196-central", "197-edge", "198-edge", "199-edge"];
  for (const name of clusters.map((name) => `cluster-${name}`)) {
    const about = group.rules.filter(({ expr }: { expr: string }) => expr.includes(`"${name}"`));
    assert.deepEqual(
      about.map(({ alert }: { alert: string }) => alert),
      ["ClusterMetricsMissing", "ClusterWatchdogMissing"],
    );
  }
  const { spec } = byId(objects, "PrometheusRule/monitoring/thanos-fleet");
  assert.deepEqual(
    spec.groups[0].rules.map(({ labels }: { labels: { edge: string } }) => labels.edge),
    clusters.slice(1).map((name) => `cluster-${name}`),
  );
});

Deno.test("30-thanos shards the Store by as many as it has replicas", async () => {
  const objects = await thanos.objects(await fixtureCluster("196", { STORE_REPLICAS: "3" }));
  const relabel = argsOf(objects, STORE).find((arg) => arg.startsWith("--selector.relabel-config"));
  const [hash, keep] = parse(relabel!.slice(relabel!.indexOf("=") + 1));
  assert.equal(byId(objects, STORE).spec.replicas, 3);
  assert.deepEqual([hash.action, hash.modulus], ["hashmod", 3]);
  assert.deepEqual([keep.action, keep.regex], ["keep", "$(SHARD)"]);
});

Deno.test("30-thanos uses no flag that Thanos 0.42 has removed or deprecated", async () => {
  const objects = await thanos.objects(await fixtureCluster("196"));
  const flags = argsOf(objects, QUERY).join("\n");
  assert.doesNotMatch(flags, /--(store|endpoint|endpoint-strict|endpoint-group|grpc-client-\S+)=/);
  assert.doesNotMatch(flags, /--store\.sd-files/);
});

Deno.test("30-thanos never gives the Ruler a label that replaces the clusters' own", async () => {
  const args = argsOf(
    await thanos.objects(await fixtureCluster("196")),
    "StatefulSet/monitoring/thanos-ruler",
  );
  assert.ok(args.includes('--label=ruler_cluster="cluster-196-central"'));
  assert.equal(args.find((arg) => /^--label=(cluster|region)=/.test(arg)), undefined);
});

Deno.test("30-thanos runs one Compactor, of a kind that never runs two", async () => {
  const objects = await thanos.objects(await fixtureCluster("196"));
  const compactors = objects.filter(({ spec }) =>
    spec?.template?.spec.containers[0].args?.[0] === "compact"
  );
  assert.deepEqual(compactors.map(({ kind, spec }) => [kind, spec.replicas]), [["StatefulSet", 1]]);
});

Deno.test("30-thanos leaves volumeClaimTemplates free of labels: nobody may change them later", async () => {
  const objects = await thanos.objects(await fixtureCluster("196"));
  const templates = objects.flatMap(({ spec }) => spec?.volumeClaimTemplates ?? []);
  assert.equal(templates.length, 3);
  for (const { metadata } of templates) assert.deepEqual(metadata, { name: "data" });
});

Deno.test("30-thanos: a new S3 key restarts Store, Compactor and Ruler, not Query", async () => {
  const templates = async (key: string) => {
    const cluster = await fixtureCluster("196", { S3_SECRET_KEY: key });
    const objects = await thanos.objects(cluster);
    return new Map(
      objects.filter(({ spec }) => spec?.template).map((object) => [
        object.metadata.name,
        JSON.stringify(object.spec.template),
      ]),
    );
  };
  const [before, after] = [await templates("first-secret-key"), await templates("second-secret")];
  const restarted = [...after].filter(([name, text]) => before.get(name) !== text);
  assert.deepEqual(
    restarted.map(([name]) => name).sort(),
    ["thanos-compactor", "thanos-ruler", "thanos-store"],
  );
});

function endpoint(name: string, labelSets: Record<string, string>[], lastError: string | null) {
  return { name, labelSets, lastError };
}

const CONNECTED: Stores = {
  sidecar: [
    endpoint("10.244.0.9:10901", [{ cluster: "cluster-196-central", region: "miribit-lab" }], null),
    endpoint("192.168.101.197:30901", [{ cluster: "cluster-197-edge" }], null),
    endpoint("192.168.101.198:30901", [{ cluster: "cluster-198-edge" }], null),
  ],
  store: [endpoint("10.244.0.11:10901", [], null)],
  rule: [endpoint("10.244.0.12:10901", [{ ruler_cluster: "cluster-196-central" }], null)],
};

Deno.test("missingEndpoints() is empty when everything is connected", async () => {
  const cluster = await fixtureCluster("196");
  assert.deepEqual(missingEndpoints(CONNECTED, cluster), { own: [], edges: [] });
});

Deno.test("missingEndpoints() names an edge with its address and last error", async () => {
  const cluster = await fixtureCluster("196");
  const [own, first] = CONNECTED.sidecar!;
  const refused = {
    ...first!,
    lastError: "rpc error: code = Unavailable desc = connection refused",
  };
  const { edges } = missingEndpoints({ ...CONNECTED, sidecar: [own!, refused] }, cluster);
  assert.equal(edges.length, 2);
  assert.match(edges[0]!, /cluster-197-edge at 192\.168\.101\.197:30901: .*connection refused/);
  assert.match(edges[1]!, /cluster-198-edge at 192\.168\.101\.198:30901: not connected/);
});

Deno.test("missingEndpoints() counts shards and misses the Ruler", async () => {
  const cluster = await fixtureCluster("196", { STORE_REPLICAS: "2" });
  const { own } = missingEndpoints(
    { sidecar: CONNECTED.sidecar!, store: CONNECTED.store! },
    cluster,
  );
  assert.deepEqual(own, ["store: 1 of 2 shards connected", "ruler: not connected"]);
});

Deno.test("missingEndpoints() misses everything before the first poll", async () => {
  const { own, edges } = missingEndpoints({}, await fixtureCluster("196"));
  assert.equal(own.length, 3);
  assert.equal(edges.length, 2);
});

import assert from "node:assert/strict";
import { parse } from "yaml";
import { Prometheus } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { base64, idOf, type Manifest } from "../../../lib/core/object.ts";
import { prometheus } from "../../../scripts/20-prometheus.ts";
import { thanos } from "../../../scripts/30-thanos.ts";
import { edgesOf } from "../../../scripts/components/thanos/fleet.ts";
import {
  missingEdges,
  missingPrograms,
  type Stores,
  whyMissing,
} from "../../../scripts/components/thanos/stores.ts";
import { fixtureCluster, fixtureFleet } from "../../support/cluster_fixture.ts";
import { grpcFile, grpcFolder } from "../../support/grpc_fixture.ts";
import { fleetWith } from "../../support/project_fixture.ts";

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
  const peer: Cluster = {
    ...cluster.fleet[1]!,
    id: "199",
    name: "cluster-199-edge",
    sidecar: "192.168.101.199:30901",
  };
  return { ...cluster, fleet: [...cluster.fleet, peer] };
}

const PAUSE = 'PAUSED="rack move"\nPAUSED_UNTIL=2099-12-31';
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

Deno.test("30-thanos dials an edge where its own file says, and names that place", async () => {
  const fleet = await fleetWith({
    "197": "SIDECAR_ADDRESS=Edge.Example\nSIDECAR_NODE_PORT=30999",
    "198": "SIDECAR_ADDRESS=203.0.113.7:9443",
  });
  const objects = await thanos.objects(fleet[0]!);
  assert.deepEqual(addressesOf(objects).slice(3), ["edge.example:30999", "203.0.113.7:9443"]);
  const { spec } = byId(objects, "PrometheusRule/monitoring/thanos-fleet");
  assert.match(spec.groups[0].rules[1].annotations.description, /Look .* at 203\.0\.113\.7:9443:/);
  const [, edge] = edgesOf(fleet[0]!);
  assert.match(whyMissing({}, edge!), /cluster-198-edge at 203\.0\.113\.7:9443: not connected/);
});

Deno.test("P11: 30-thanos names Services as CLUSTER_DOMAIN ends", async () => {
  const cluster = await fixtureCluster("196");
  const vars = { ...cluster.vars, CLUSTER_DOMAIN: "k8s.example" };
  assert.equal(
    addressesOf(await thanos.objects({ ...cluster, vars }))[1],
    "dnssrv+_grpc._tcp.thanos-store.monitoring.svc.k8s.example",
  );
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
  const { groups } = parse(rules);
  for (const { partial_response_strategy, rules } of groups) {
    assert.deepEqual([partial_response_strategy, rules.length], ["warn", 1]);
  }
  const all = groups.flatMap(({ rules }: { rules: unknown[] }) => rules);
  const clusters = ["196-central", "197-edge", "198-edge", "199-edge"];
  for (const name of clusters.map((name) => `cluster-${name}`)) {
    const about = all.filter(({ expr }: { expr: string }) => expr.includes(`"${name}"`));
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

Deno.test("30-thanos misses a paused edge only when its day is over, goes on dialling it, and restarts nothing", async () => {
  const [plain] = await fleetWith({}), [central] = await fleetWith({ "198": PAUSE });
  const [before, after] = [await thanos.objects(plain!), await thanos.objects(central!)];
  const changed = after.filter((object) =>
    JSON.stringify(object) !== JSON.stringify(byId(before, idOf(object)))
  );
  const [config, rule] = ["thanos-ruler-fleet-rules", "thanos-fleet"];
  assert.deepEqual(changed.map(idOf).sort(), [
    `ConfigMap/monitoring/${config}`,
    `PrometheusRule/monitoring/${rule}`,
  ]);
  const groups = [
    ...byId(after, `PrometheusRule/monitoring/${rule}`).spec.groups,
    ...parse(byId(after, `ConfigMap/monitoring/${config}`).data["fleet.yaml"]).groups,
  ];
  for (const { alert, expr } of groups.flatMap(({ rules }) => rules)) {
    const end = Date.UTC(2100, 0, 1) / 1000;
    const wanted = expr.includes("198-edge") ? `) and on () (vector(time()) >= ${end})` : ")";
    assert.ok(expr.slice(expr.lastIndexOf("}")).slice(1) === wanted, `${alert}: ${expr}`);
  }
});

Deno.test("30-thanos shards the Store by as many as it has replicas", async () => {
  const objects = await thanos.objects(await fixtureCluster("196", { STORE_REPLICAS: "3" }));
  const relabel = argsOf(objects, STORE).find((arg) => arg.startsWith("--selector.relabel-config"));
  const [hash, keep] = parse(relabel!.slice(relabel!.indexOf("=") + 1));
  assert.equal(byId(objects, STORE).spec.replicas, 3);
  assert.deepEqual([hash.action, hash.modulus], ["hashmod", 3]);
  assert.deepEqual(hash.source_labels, ["cluster"]);
  assert.deepEqual([keep.action, keep.regex], ["keep", "$(SHARD)"]);
});

Deno.test("P17: 30-thanos leaves a Store of one shard as sites have it: it restarts for nothing", async () => {
  const args = argsOf(await thanos.objects(await fixtureCluster("196")), STORE);
  const relabel = args.find((arg) => arg.startsWith("--selector.relabel-config"));
  assert.equal(
    relabel,
    `--selector.relabel-config=- action: hashmod
  source_labels: [__block_id]
  target_label: shard
  modulus: 1
- action: keep
  source_labels: [shard]
  regex: $(SHARD)`,
  );
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

Deno.test("missingPrograms() and missingEdges() are empty when everything is connected", async () => {
  const cluster = await fixtureCluster("196");
  assert.deepEqual(missingPrograms(CONNECTED, cluster), []);
  assert.deepEqual(missingEdges(CONNECTED, edgesOf(cluster)), []);
});

Deno.test("whyMissing() names an edge with its address and last error", async () => {
  const cluster = await fixtureCluster("196");
  const [own, first] = CONNECTED.sidecar!;
  const refused = {
    ...first!,
    lastError: "rpc error: code = Unavailable desc = connection refused",
  };
  const stores = { ...CONNECTED, sidecar: [own!, refused] };
  const edges = missingEdges(stores, edgesOf(cluster)).map((edge) => whyMissing(stores, edge));
  assert.equal(edges.length, 2);
  assert.match(edges[0]!, /cluster-197-edge at 192\.168\.101\.197:30901: .*connection refused/);
  assert.match(edges[1]!, /cluster-198-edge at 192\.168\.101\.198:30901: not connected/);
});

Deno.test("missingPrograms() counts shards and misses the Ruler", async () => {
  const cluster = await fixtureCluster("196", { STORE_REPLICAS: "2" });
  const stores = { sidecar: CONNECTED.sidecar!, store: CONNECTED.store! };
  const own = missingPrograms(stores, cluster);
  assert.deepEqual(own, ["store: 1 of 2 shards connected", "ruler: not connected"]);
});

Deno.test("missingPrograms() and missingEdges() miss everything before the first poll", async () => {
  const cluster = await fixtureCluster("196");
  assert.equal(missingPrograms({}, cluster).length, 3);
  assert.equal(missingEdges({}, edgesOf(cluster)).length, 2);
});

function endpointsOf(objects: Manifest[]): Record<string, unknown>[] {
  const file = byId(objects, "ConfigMap/monitoring/thanos-query-endpoints").data["endpoints.yml"];
  return parse(file).endpoints;
}

Deno.test("30-thanos dials edges with a certificate and by their name, its own programs plainly", async () => {
  await using folder = await grpcFolder();
  const [central, edge] = await fixtureFleet(folder.environment);
  const objects = await thanos.objects(central!);
  const [sidecar, store, ruler, ...edges] = endpointsOf(objects);
  for (const own of [sidecar!, store!, ruler!]) assert.deepEqual(Object.keys(own), ["address"]);
  assert.deepEqual(
    edges,
    ["197", "198"].map((id) => ({
      address: `192.168.101.${id}:30901`,
      client_config: {
        tls_config: {
          ca_file: "/etc/thanos/grpc/ca.crt",
          cert_file: "/etc/thanos/grpc/tls.crt",
          key_file: "/etc/thanos/grpc/tls.key",
          min_version: "1.3",
        },
        server_name: `cluster-${id}-edge`,
      },
    })),
  );
  const { type, data } = byId(objects, "Secret/monitoring/thanos-grpc-tls");
  assert.equal(type, "kubernetes.io/tls");
  assert.equal(data["tls.key"], base64(await grpcFile("196.key")));
  assert.deepEqual((await thanos.objects(edge!)).filter(({ kind }) => kind === "Secret"), []);
});

Deno.test("30-thanos asks edges for compressed answers, with TLS or without", async () => {
  await using folder = await grpcFolder();
  for (const [environment, tls] of [[{}, false], [folder.environment, true]] as const) {
    const asked = { ...environment, SIDECAR_COMPRESSION: "true" };
    const [, store, , ...edges] = endpointsOf(
      await thanos.objects(await fixtureCluster("196", asked)),
    );
    assert.deepEqual(Object.keys(store!), ["address"]);
    for (const { client_config } of edges as { client_config: Record<string, never> }[]) {
      assert.equal(client_config.compression, "snappy");
      // Without a word about TLS Query leaves the compression alone.
      if (tls) assert.ok(client_config.tls_config!["cert_file"]);
      else assert.deepEqual(client_config.tls_config, { enabled: false });
    }
  }
  const plain = endpointsOf(await thanos.objects(await fixtureCluster("196")));
  for (const endpoint of plain) assert.deepEqual(Object.keys(endpoint), ["address"]);
});

Deno.test("30-thanos mounts at Query what its endpoint file names, and lives without it", async () => {
  const { spec } = byId(await thanos.objects(await fixtureCluster("196")), QUERY).spec.template;
  const mount = spec.containers[0].volumeMounts.find(({ name }: { name: string }) =>
    name === "grpc-tls"
  );
  const { projected } = spec.volumes.find(({ name }: { name: string }) => name === "grpc-tls");
  assert.equal(mount.mountPath, "/etc/thanos/grpc");
  assert.deepEqual(
    projected.sources.map(({ secret }: { secret: unknown }) => secret),
    ["thanos-grpc-tls", "thanos-grpc-ca"].map((name) => ({ name, optional: true })),
  );
});

Deno.test("30-thanos: a new client certificate restarts Query and nothing else", async () => {
  await using before = await grpcFolder();
  await using after = await grpcFolder({
    "196.crt": await grpcFile("nameless-197.crt"),
    "196.key": await grpcFile("nameless-197.key"),
  });
  const [first, second] = await Promise.all(
    [before, after].map(async ({ environment }) =>
      (await thanos.objects(await fixtureCluster("196", environment))).filter(({ spec }) =>
        spec?.template
      )
    ),
  );
  const changed = second!.filter((object) =>
    JSON.stringify(object) !== JSON.stringify(byId(first!, idOf(object)))
  );
  assert.deepEqual(changed.map(idOf), [QUERY]);
});

const PROMETHEUS = "Prometheus/monitoring/kube-prometheus-stack-prometheus";

Deno.test("20-prometheus: the sidecar of an edge asks for a certificate, that of central does not", async () => {
  await using folder = await grpcFolder();
  const [central, edge] = await fixtureFleet(folder.environment);
  const objects = await prometheus.objects(edge!);
  const { volumes, thanos: sidecar } = byId(objects, PROMETHEUS).spec;
  assert.deepEqual(sidecar.grpcServerTlsConfig, {
    certFile: "/etc/thanos/grpc/tls.crt",
    keyFile: "/etc/thanos/grpc/tls.key",
    caFile: "/etc/thanos/grpc/ca.crt",
    minVersion: "TLS13",
  });
  assert.ok(
    sidecar.volumeMounts.some(({ name, mountPath }: Record<string, string>) =>
      name === "grpc-tls" && mountPath === "/etc/thanos/grpc"
    ),
  );
  const plain = byId(await prometheus.objects(await fixtureCluster("197")), PROMETHEUS).spec;
  assert.deepEqual(volumes.slice(0, -1), plain.volumes);
  assert.equal(plain.thanos.grpcServerTlsConfig, undefined);
  const valid = structuredClone(byId(objects, PROMETHEUS));
  delete valid.spec.storage; // the models want more of it than the definition does
  new Prometheus(valid as never).validate();
  const own = await prometheus.objects(central!);
  assert.equal(byId(own, PROMETHEUS).spec.thanos.grpcServerTlsConfig, undefined);
  assert.ok(!own.some(({ metadata }) => metadata.name.startsWith("thanos-grpc")));
});

Deno.test("20-prometheus: a new certificate of an edge restarts nothing, a new CA does", async () => {
  await using good = await grpcFolder();
  const cluster = await fixtureCluster("197", good.environment);
  const identity = cluster.grpcIdentity!;
  const podsWith = async (changes: Partial<typeof identity>) => {
    const objects = await prometheus.objects({
      ...cluster,
      grpcIdentity: { ...identity, ...changes },
    });
    return JSON.stringify(objects.filter(({ kind }) => kind !== "Secret"));
  };
  const before = await podsWith({});
  assert.equal(await podsWith({ certificate: "new", key: "new" }), before);
  assert.notEqual(await podsWith({ authority: "new" }), before);
});

// The verdicts of 50-verify over answers in the shape that the programs give them.
import assert from "node:assert/strict";
import { idOf, type Manifest, signed } from "../../lib/core/object.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError } from "../../lib/core/error.ts";
import { readJson } from "../../lib/probe/http.ts";
import type { Delta, State } from "../../lib/apply/diff.ts";
import { type Finding, findingsOf } from "../../lib/core/check.ts";
import { alertmanager } from "../../scripts/checks/metrics.ts";
import { claims, existing, readyObjects } from "../../scripts/checks/verify.ts";
import { defaultClass } from "../../scripts/checks/storage.ts";
import { fresh } from "../../scripts/checks/logs.ts";
import { health, lifecycle, logRepository, plugins } from "../../scripts/checks/opensearch.ts";
import {
  dashboards,
  login,
  rules,
  type ScrapeTarget,
  targets,
} from "../../scripts/checks/prometheus.ts";
import { clusters, endpoints } from "../../scripts/checks/thanos.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { fakeKubectl, FLEET_CONFIG, identityReply, listOf } from "../support/fake_kubectl.ts";
import { answering, found, subjectWith } from "../support/subject.ts";
import { alert } from "../support/world.ts";

const CENTRAL = await fixtureCluster("196", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const EDGE = await fixtureCluster("197");

function whats(problems: Finding[]): string[] {
  for (const { what, cause, fix } of problems) assert.ok(what && cause && fix);
  return problems.map(({ what }) => what);
}

function object(kind: string, name: string, rest: Record<string, unknown>): Manifest {
  return { apiVersion: "v1", kind, metadata: { name, namespace: "monitoring" }, ...rest };
}

function target(scrapePool: string, health: ScrapeTarget["health"], lastError = ""): ScrapeTarget {
  const labels = { job: "kubelet", namespace: "kube-system" };
  const times = { scrapeInterval: "30s", scrapeTimeout: "10s" };
  const scrapeUrl = "https://10.0.0.1:10250/metrics";
  return { scrapePool, scrapeUrl, health, lastError, labels, ...times };
}

/** What the check Targets finds, with these stand-ins. */
function ofTargets(activeTargets: ScrapeTarget[], objects: Manifest[], STAND_INS = "") {
  const cluster = { ...EDGE, vars: { ...EDGE.vars, STAND_INS } };
  return found(targets, cluster, { "/api/v1/targets": { data: { activeTargets } } }, objects);
}

/** What the check Rules finds. */
function ofRules(groups: unknown[], objects: Manifest[]) {
  return found(rules, EDGE, { "/api/v1/rules": { data: { groups } } }, objects);
}

const MONITOR = object("ServiceMonitor", "kubelet", { spec: { endpoints: [{}, {}] } });

Deno.test("targets() names a target that is down with its error", async () => {
  const active = [
    target("serviceMonitor/monitoring/kubelet/0", "up"),
    target("serviceMonitor/monitoring/kubelet/1", "down", "server returned HTTP status 403"),
  ];
  const problems = await ofTargets(active, [MONITOR]);
  assert.deepEqual(whats(problems), [
    "target kubelet at https://10.0.0.1:10250/metrics is down: server returned HTTP status 403",
  ]);
  assert.match(problems[0]!.cause!, /right/);
});

Deno.test("V1: targets() has patience for one more scrape, whatever the target's interval", async () => {
  const slow = {
    ...target("serviceMonitor/monitoring/kubelet/1", "unknown"),
    scrapeInterval: "4m",
  };
  const active = [target("serviceMonitor/monitoring/kubelet/0", "down"), slow];
  const found = await ofTargets(active, [MONITOR]);
  assert.deepEqual(found.map(({ patience }) => patience), [50, 260]);
});

Deno.test("targets() names every endpoint of a monitor that found no target", async () => {
  const active = [target("serviceMonitor/monitoring/kubelet/0", "up")];
  const scrape = object("ScrapeConfig", "minio", { spec: {} });
  assert.deepEqual(whats(await ofTargets(active, [MONITOR, scrape])), [
    "serviceMonitor/monitoring/kubelet/1 has no targets",
    "scrapeConfig/monitoring/minio has no targets",
  ]);
});

Deno.test("targets() expects no metrics of a stand-in, and still finds its monitor", async () => {
  const down = target("serviceMonitor/monitoring/grafana/0", "down", "EOF");
  down.labels.job = "kube-prometheus-stack-grafana";
  const monitor = object("ServiceMonitor", "grafana", { spec: { endpoints: [{}] } });
  assert.deepEqual(await ofTargets([down], [monitor], "grafana"), []);
  assert.equal((await ofTargets([], [monitor], "grafana")).length, 1);
  assert.equal((await ofTargets([down], [monitor], "fluent-bit")).length, 1);
});

const LOADED = {
  file:
    "/etc/prometheus/rules/prometheus-x-rulefiles-0/monitoring-thanos-0f04bab0-0b6a-49a1-a1e2-8b5dec61c487.yaml",
  name: "thanos",
  rules: [{ name: "ThanosCompactHalted", health: "ok" as const }],
};

Deno.test("rules() accepts loaded rules and empty objects", async () => {
  const rule = object("PrometheusRule", "thanos", { spec: { groups: [{}] } });
  const empty = object("PrometheusRule", "thanos-fleet", { spec: { groups: [] } });
  assert.deepEqual(await ofRules([LOADED], [rule, empty]), []);
});

Deno.test("rules() names failing rules and objects that were not loaded", async () => {
  const failing = {
    ...LOADED,
    rules: [{ name: "X", health: "err" as const, lastError: "many-to-many matching" }],
  };
  const other = object("PrometheusRule", "node", { spec: { groups: [{}] } });
  const own = object("PrometheusRule", "thanos", { spec: { groups: [{}] } });
  // Its name is the beginning of another's.
  const longer = { ...LOADED, file: LOADED.file.replace("thanos-", "thanos-fleet-") };
  assert.deepEqual(whats(await ofRules([longer], [own])).length, 1);
  assert.deepEqual(whats(await ofRules([failing], [own, other])), [
    "rule X of group thanos fails: many-to-many matching",
    "PrometheusRule monitoring/node is not loaded",
  ]);
});

Deno.test("alertmanager() wants the Watchdog; a single replica is fine", async () => {
  const ask = (status: string, ...alerts: unknown[]) =>
    found(alertmanager, EDGE, {
      "/api/v2/status": { cluster: { status } },
      "/api/v2/alerts": alerts,
    });
  assert.deepEqual(await ask("disabled", alert("Watchdog")), []);
  assert.match(whats(await ask("disabled"))[0]!, /no Watchdog/);
  assert.equal((await ask("settling")).length, 2);
});

/** Query's answers: sidecars of these clusters, and what it gives for an expression. */
function query(sidecars: string[], values: Record<string, unknown[]> = {}) {
  const sidecar = sidecars.map((cluster) => (
    { name: cluster, lastError: null, labelSets: [{ cluster }] }
  ));
  return {
    "/api/v1/stores": { data: { sidecar } },
    ...Object.fromEntries(
      Object.entries(values).map(([expression, result]) => [
        `/api/v1/query?query=${encodeURIComponent(expression)}`,
        { data: { result } },
      ]),
    ),
  };
}

/** Every edge of the centre answers, and was deployed. */
async function deployedEdges(): Promise<void> {
  const edges = ["197", "198"].map((id) => {
    const marker = { id, name: `cluster-${id}-edge`, role: "edge", uid: "uid" };
    return { ...identityReply("uid", marker), on: `mkube-${id} get namespace/kube-system` };
  });
  const services = {
    on: "get services",
    stdout: listOf({ kind: "Service", metadata: { name: "thanos-sidecar" } }),
  };
  await fakeKubectl([{ on: "config view", stdout: FLEET_CONFIG }, ...edges, services]);
}

Deno.test("endpoints() tells local programs from edges", async () => {
  await deployedEdges();
  const problems = await found(endpoints, CENTRAL, query(["cluster-197-edge"]));
  assert.equal(problems.length, 4);
  assert.match(problems.at(-1)!.what, /cluster-198-edge at 192\.168\.101\.198:30901/);
  assert.match(problems.at(-1)!.cause!, /firewall/);
});

Deno.test("endpoints() says why an edge that is lost cannot be asked itself", async () => {
  await fakeKubectl([{ on: ".", stderr: "dial tcp: no route to host", code: 1 }]);
  const problems = await found(endpoints, CENTRAL, query(["cluster-197-edge"]));
  assert.match(problems.at(-1)!.cause!, /cannot be asked either: .*no route/);
});

Deno.test("clusters() misses clusters, and sees replicas only by their label", async () => {
  await deployedEdges();
  const sample = (metric: Record<string, string>) => ({ metric, value: [1, "9"] });
  const counts = ["cluster-196-central", "cluster-198-edge"]
    .map((cluster) => sample({ cluster }));
  const ask = async (replica: Record<string, string>) =>
    whats(
      await found(
        clusters,
        CENTRAL,
        query(["cluster-196-central", "cluster-197-edge", "cluster-198-edge"], {
          "count by (cluster) (up)": counts,
          "count by (prometheus_replica) (up)": [sample(replica)],
        }),
      ),
    );
  assert.deepEqual(await ask({}), ["Thanos Query has no samples of cluster-197-edge"]);
  assert.equal((await ask({ prometheus_replica: "prometheus-0" })).length, 2);
});

Deno.test("health() counts nodes and wants green", async () => {
  const ask = (OPENSEARCH_NODES: number, status: string, unassigned_shards: number) =>
    found(health, { ...EDGE, vars: { ...EDGE.vars, OPENSEARCH_NODES } }, {
      "/_cluster/health": { status, number_of_nodes: 1, unassigned_shards },
    });
  assert.deepEqual(await ask(1, "green", 0), []);
  assert.deepEqual(whats(await ask(3, "yellow", 2)), [
    "OpenSearch has 1 of 3 nodes",
    "OpenSearch is yellow: 2 shards have no node",
  ]);
});

Deno.test("plugins() names the plugin that is missing", async () => {
  const installed = [{ component: "opensearch-index-management", version: "3.9.0.0" }];
  assert.deepEqual(whats(await found(plugins, EDGE, { "/_cat/plugins": installed })), [
    "OpenSearch has no plugin repository-s3",
  ]);
});

Deno.test("logRepository() compares folder and nodes", async () => {
  const ask = (base_path: string, nodes: Record<string, unknown>) =>
    found(logRepository, EDGE, {
      "/_snapshot/opensearch-logs/_verify": { nodes },
      "/_snapshot/opensearch-logs": {
        "opensearch-logs": { settings: { base_path, shard_path_type: "FIXED" } },
      },
    });
  assert.deepEqual(await ask("cluster-197", { "a1B2": { name: "opensearch-0" } }), []);
  const problems = whats(await ask("cluster-196", {}));
  assert.match(problems[0]!, /writes to cluster-196 \(FIXED\), wanted cluster-197/);
  assert.match(problems[1]!, /0 of 1 nodes/);
});

Deno.test("lifecycle() names stuck and unmanaged indices and failed deletions", async () => {
  const explain = {
    "logs-k8s-2026.11.01": {
      "index.plugins.index_state_management.policy_id": "logs-retention",
      action: { name: "snapshot", failed: true },
      info: { message: "Snapshot failed" },
    },
    "logs-k8s-2026.11.22": { "index.plugins.index_state_management.policy_id": null },
    "logs-host-2026.11.22": {
      "index.plugins.index_state_management.policy_id": "logs-retention",
      action: { name: "x", failed: false },
    },
    total_managed_indices: 2,
  };
  const ask = (indices: string[], policies: unknown[]) =>
    found(lifecycle, EDGE, {
      "/_plugins/_ism/policies": {},
      "/_cat/indices": indices.map((index) => ({ index, "creation.date": "0" })),
      "/_plugins/_ism/explain": explain,
      "/_plugins/_sm/policies": { policies },
    });
  const failed = { name: "logs-snapshots", deletion: { latest_execution: { status: "FAILED" } } };
  assert.deepEqual(whats(await ask(Object.keys(explain), [failed])), [
    "index logs-k8s-2026.11.01 is stuck at snapshot (no step): Snapshot failed",
    "index logs-k8s-2026.11.22 is under no policy and is never deleted",
    "snapshot policy logs-snapshots failed to delete: ",
  ]);
  assert.deepEqual(whats(await ask([], [])), ["no policy deletes old snapshots"]);
});

Deno.test("fresh() names silent streams and foreign lines", async () => {
  const hits = (value: number) => ({ hits: { total: { value }, hits: [] } });
  const growth = { data: { result: [{ metric: {}, value: [1, "0"] }] } };
  const ask = (host: number, foreign: number) =>
    found(fresh, EDGE, {
      "/logs-k8s-*/": hits(12),
      "/logs-host-*/": hits(host),
      "/logs-*/": hits(foreign),
      "/api/v1/query": growth,
    });
  assert.deepEqual(await ask(3, 0), []);
  assert.deepEqual(whats(await ask(0, 4)), [
    "no line was ever stored in logs-host-*",
    "4 lines of the last 5 minutes carry another cluster's name",
  ]);
});

Deno.test("login() tells a wrong password from a Grafana that starts", async () => {
  const ask = (database: string, status: number, body: string) =>
    found(login, EDGE, {
      "/api/health": { database },
      "/login": new Response(body, { status }),
    });
  assert.deepEqual(await ask("ok", 200, '{"message":"Logged in"}'), []);
  assert.match(whats(await ask("ok", 401, "{}"))[0]!, /refuses admin/);
  assert.match(whats(await ask("failing", 503, "no endpoints"))[1]!, /503: no endpoints/);
});

Deno.test("dashboards() wants dashboards and sources that answer", async () => {
  const source = { uid: "thanos", name: "Thanos", type: "prometheus" };
  const ask = (sources: unknown[], count: number, answer: Response) =>
    found(dashboards, EDGE, {
      "/login": {},
      "/api/datasources/uid/thanos/health": answer,
      "/api/datasources": sources,
      "/api/search": Array(count).fill({}),
    });
  const good = new Response('{"status":"OK"}');
  assert.deepEqual(await ask([source], 20, good), []);
  const bad = new Response("connection refused", { status: 502 });
  assert.deepEqual(whats(await ask([source], 0, bad)), [
    "Grafana has no dashboards",
    "Grafana's data source Thanos does not answer: connection refused",
  ]);
  assert.match(whats(await ask([], 1, good))[0]!, /no data source/);
  const away = { "/login": new Response("no endpoints", { status: 503 }) };
  assert.match(whats(await found(dashboards, EDGE, away))[0]!, /cannot be looked at: 503/);
});

Deno.test("existing() gives one line per step, with the command that puts the objects right", async () => {
  const maps = ["a", "b", "c", "d"].map((name) => object("ConfigMap", name, {}));
  const all = [
    ...signed(maps, "30-thanos"),
    ...signed([object("Secret", "e", {}), object("Secret", "f", {})], "40-logging"),
  ];
  const states: State[] = ["missing", "missing", "deleting", "missing", "drifted", "current"];
  const deltas = all.map((one, index): [string, Delta] => [
    idOf(one),
    { state: states[index]!, astray: [], others: [] },
  ]);
  const inventory = { deltas: () => Promise.resolve(new Map(deltas)) };
  const findings = findingsOf(await existing(subjectWith(EDGE, { objects: all }), inventory));
  assert.deepEqual(whats(findings), [
    "missing of 30-thanos: ConfigMap/monitoring/a, ConfigMap/monitoring/b, " +
    "ConfigMap/monitoring/c and 1 more",
    "not as wanted of 40-logging: Secret/monitoring/e",
  ]);
  assert.deepEqual(findings.map(({ state }) => state), ["fail", "warn"]);
  assert.match(findings[0]!.fix!, /make 30-thanos CLUSTER=197$/);
});

Deno.test("readyObjects() warns of a workload that is ready with fewer replicas than are wanted", async () => {
  const [wanted] = signed([{ ...object("Deployment", "e", {}), spec: { replicas: 1 } }], "40-x");
  const live = structuredClone(wanted!);
  const inventory = { live: () => Promise.resolve(new Map([[idOf(live), live]])) };
  const ask = async () =>
    findingsOf(await readyObjects(subjectWith(EDGE, { objects: [wanted!] }), inventory));
  live.metadata.generation = 2;
  live.status = { observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1 };
  assert.deepEqual(await ask(), []);
  live.spec.replicas = 0;
  live.status = { observedGeneration: 2, replicas: 0, updatedReplicas: 0, availableReplicas: 0 };
  assert.deepEqual(await ask(), [{
    state: "warn",
    what: "Deployment/monitoring/e: asks for 0 of the 1 replicas that are wanted",
    fix: "make 40-x CLUSTER=197",
  }]);
});

/** What the check Volume claims finds, where only an Alertmanager has volumes. */
async function ofClaims(...items: Manifest[]): Promise<Finding[]> {
  await fakeKubectl([{ on: "get persistentvolumeclaims", stdout: JSON.stringify({ items }) }]);
  return await found(claims, CENTRAL, {}, [object("Alertmanager", "main", {})]);
}

Deno.test("claims() names a claim that waits", async () => {
  const spec = { storageClassName: "longhorn" };
  const claim = (name: string, phase: string) =>
    object("PersistentVolumeClaim", name, { spec, status: { phase } });
  const all = [claim("data-thanos-store-0", "Pending"), claim("data-thanos-ruler-0", "Bound")];
  assert.deepEqual(whats(await ofClaims(...all)), [
    "PersistentVolumeClaim/monitoring/data-thanos-store-0 is Pending",
  ]);
});

Deno.test("claims() names a claim that has less than it asks for", async () => {
  const claim = (name: string, storage: string) =>
    object("PersistentVolumeClaim", name, {
      spec: { storageClassName: "longhorn", resources: { requests: { storage: "20Gi" } } },
      status: { phase: "Bound", capacity: { storage } },
    });
  const claims = [claim("db-0", "10Gi"), claim("db-1", "20Gi"), claim("db-2", "21474836480")];
  assert.deepEqual(whats(await ofClaims(...claims)), [
    "PersistentVolumeClaim/monitoring/db-0 asked for 20Gi, has 10Gi",
  ]);
});

Deno.test("defaultClass() wants exactly one default, and ours, unless the site has its own class", async () => {
  const storageClass = (name: string, isDefault: boolean): Manifest => ({
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name,
      annotations: { "storageclass.kubernetes.io/is-default-class": String(isDefault) },
    },
  });
  const ours = storageClass("longhorn", true);
  const standard = (isDefault: boolean) => storageClass("standard", isDefault);
  const judge = async (cluster: Cluster, ...classes: Manifest[]) => {
    await fakeKubectl([{ on: "get storageclasses", stdout: listOf(...classes) }]);
    return (await found(defaultClass, cluster))[0]!;
  };
  assert.equal((await judge(CENTRAL, ours, standard(false))).state, "ok");
  assert.deepEqual(whats([await judge(CENTRAL, ours, standard(true))]), [
    "default: longhorn and standard, wanted only longhorn",
  ]);
  assert.match(whats([await judge(CENTRAL)])[0]!, /default: none/);
  const existing = { ...CENTRAL.vars, STORAGE: "existing", STORAGE_CLASS: "nfs" };
  assert.equal((await judge({ ...CENTRAL, vars: existing }, standard(true))).state, "ok");
});

Deno.test("readJson() names Service, path, status and words of a refusal", async () => {
  const service = { namespace: "logging", name: "opensearch", port: 9200 };
  for (const [body, status] of [["no endpoints available", 503], ["<html>", 200]] as const) {
    const way = answering({ "/x": new Response(body, { status }) });
    const error = await readJson(way, service, "/x").catch((error) => error);
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, 8);
    assert.match(error.message, /\/x of opensearch/);
    assert.deepEqual(error.where, [`${status} ${body}`]);
  }
});

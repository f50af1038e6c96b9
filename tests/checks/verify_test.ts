// The verdicts of 50-verify over answers in the shape that the programs give them.
import assert from "node:assert/strict";
import { idOf, type Manifest, signed } from "../../lib/core/object.ts";
import { DeployError } from "../../lib/core/error.ts";
import { readJson } from "../../lib/probe/http.ts";
import type { Delta, State } from "../../lib/apply/diff.ts";
import type { ClusterProxy, Finding } from "../../lib/core/check.ts";
import { alertProblems } from "../../scripts/checks/alertmanager.ts";
import { dashboardProblems, loginProblems } from "../../scripts/checks/grafana.ts";
import { claimProblems, claims, objectFindings } from "../../scripts/checks/objects.ts";
import { judgeDefault } from "../../scripts/checks/disk.ts";
import { freshProblems } from "../../scripts/checks/logs.ts";
import {
  healthProblems,
  lifecycleProblems,
  pluginProblems,
  repositoryProblems,
} from "../../scripts/checks/opensearch.ts";
import {
  ruleProblems,
  type ScrapeTarget,
  targetProblems,
} from "../../scripts/checks/prometheus.ts";
import { endpointProblems, sampleProblems } from "../../scripts/checks/thanos.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { fakeKubectl } from "../support/fake_kubectl.ts";
import { subjectWith } from "../support/subject.ts";
import { alert } from "../support/world.ts";

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

const MONITOR = object("ServiceMonitor", "kubelet", { spec: { endpoints: [{}, {}] } });

Deno.test("targetProblems() names a target that is down with its error", () => {
  const active = [
    target("serviceMonitor/monitoring/kubelet/0", "up"),
    target("serviceMonitor/monitoring/kubelet/1", "down", "server returned HTTP status 403"),
  ];
  const problems = targetProblems(active, [MONITOR]);
  assert.deepEqual(whats(problems), [
    "target kubelet at https://10.0.0.1:10250/metrics is down: server returned HTTP status 403",
  ]);
  assert.match(problems[0]!.cause!, /right/);
});

Deno.test("V1: targetProblems() has patience for one more scrape, whatever the target's interval", () => {
  const slow = {
    ...target("serviceMonitor/monitoring/kubelet/1", "unknown"),
    scrapeInterval: "4m",
  };
  const active = [target("serviceMonitor/monitoring/kubelet/0", "down"), slow];
  assert.deepEqual(targetProblems(active, [MONITOR]).map(({ patience }) => patience), [50, 260]);
});

Deno.test("targetProblems() names every endpoint of a monitor that found no target", () => {
  const active = [target("serviceMonitor/monitoring/kubelet/0", "up")];
  const scrape = object("ScrapeConfig", "minio", { spec: {} });
  assert.deepEqual(whats(targetProblems(active, [MONITOR, scrape])), [
    "serviceMonitor/monitoring/kubelet/1 has no targets",
    "scrapeConfig/monitoring/minio has no targets",
  ]);
});

Deno.test("targetProblems() expects no metrics of a stand-in, and still finds its monitor", () => {
  const down = target("serviceMonitor/monitoring/grafana/0", "down", "EOF");
  down.labels.job = "kube-prometheus-stack-grafana";
  const monitor = object("ServiceMonitor", "grafana", { spec: { endpoints: [{}] } });
  assert.deepEqual(targetProblems([down], [monitor], ["grafana"]), []);
  assert.equal(targetProblems([], [monitor], ["grafana"]).length, 1);
  assert.equal(targetProblems([down], [monitor], ["fluent-bit"]).length, 1);
});

const LOADED = {
  file:
    "/etc/prometheus/rules/prometheus-x-rulefiles-0/monitoring-thanos-0f04bab0-0b6a-49a1-a1e2-8b5dec61c487.yaml",
  name: "thanos",
  rules: [{ name: "ThanosCompactHalted", health: "ok" as const }],
};

Deno.test("ruleProblems() accepts loaded rules and empty objects", () => {
  const rule = object("PrometheusRule", "thanos", { spec: { groups: [{}] } });
  const empty = object("PrometheusRule", "thanos-fleet", { spec: { groups: [] } });
  assert.deepEqual(ruleProblems([LOADED], [rule, empty]), []);
});

Deno.test("ruleProblems() names failing rules and objects that were not loaded", () => {
  const failing = {
    ...LOADED,
    rules: [{ name: "X", health: "err" as const, lastError: "many-to-many matching" }],
  };
  const other = object("PrometheusRule", "node", { spec: { groups: [{}] } });
  const own = object("PrometheusRule", "thanos", { spec: { groups: [{}] } });
  // Its name is the beginning of another's.
  const longer = { ...LOADED, file: LOADED.file.replace("thanos-", "thanos-fleet-") };
  assert.deepEqual(whats(ruleProblems([longer], [own])).length, 1);
  assert.deepEqual(whats(ruleProblems([failing], [own, other])), [
    "rule X of group thanos fails: many-to-many matching",
    "PrometheusRule monitoring/node is not loaded",
  ]);
});

Deno.test("alertProblems() wants the Watchdog; a single replica is fine", () => {
  const status = { cluster: { status: "disabled" as const } };
  assert.deepEqual(alertProblems(status, [alert("Watchdog")]), []);
  assert.match(whats(alertProblems(status, []))[0]!, /no Watchdog/);
  assert.equal(alertProblems({ cluster: { status: "settling" } }, []).length, 2);
});

Deno.test("endpointProblems() tells local programs from edges", async () => {
  const cluster = await fixtureCluster("196");
  const sidecar = {
    name: "192.168.101.197:30901",
    lastError: null,
    labelSets: [{ cluster: "cluster-197-edge" }],
  };
  const edge = cluster.fleet.at(-1)!;
  const lost = (reason?: string) => ({ lost: [{ edge, reason }], excused: [], notes: [] });
  const problems = endpointProblems({ sidecar: [sidecar] }, lost(), cluster);
  assert.equal(problems.length, 4);
  assert.match(problems.at(-1)!.what, /cluster-198-edge at 192\.168\.101\.198:30901/);
  assert.match(problems.at(-1)!.cause!, /firewall/);
  const [unasked] = endpointProblems({ sidecar: [sidecar] }, lost("no route"), cluster).slice(-1);
  assert.match(unasked!.cause!, /cannot be asked either: no route/);
});

Deno.test("sampleProblems() misses clusters, and sees replicas only by their label", async () => {
  const cluster = await fixtureCluster("196");
  const counts = ["cluster-196-central", "cluster-198-edge"]
    .map((name) => ({ metric: { cluster: name }, value: [1, "9"] as [number, string] }));
  const merged = [{ metric: {}, value: [1, "9"] as [number, string] }];
  assert.deepEqual(whats(sampleProblems(counts, merged, cluster.fleet)), [
    "Thanos Query has no samples of cluster-197-edge",
  ]);
  const visible = [{ metric: { prometheus_replica: "prometheus-0" }, value: merged[0]!.value }];
  assert.equal(sampleProblems(counts, visible, cluster.fleet).length, 2);
});

Deno.test("healthProblems() counts nodes and wants green", () => {
  const green = { status: "green" as const, number_of_nodes: 1, unassigned_shards: 0 };
  assert.deepEqual(healthProblems(green, 1), []);
  const yellow = { status: "yellow" as const, number_of_nodes: 1, unassigned_shards: 2 };
  assert.deepEqual(whats(healthProblems(yellow, 3)), [
    "OpenSearch has 1 of 3 nodes",
    "OpenSearch is yellow: 2 shards have no node",
  ]);
});

Deno.test("pluginProblems() names the plugin that is missing", () => {
  const installed = [{ component: "opensearch-index-management", version: "3.9.0.0" }];
  assert.deepEqual(whats(pluginProblems(installed)), ["OpenSearch has no plugin repository-s3"]);
});

Deno.test("repositoryProblems() compares folder and nodes", async () => {
  const cluster = await fixtureCluster("197");
  const settings = {
    base_path: "cluster-197",
    shard_path_type: "FIXED",
    bucket: "opensearch-logs",
  };
  const nodes = { "a1B2": { name: "opensearch-0" } };
  assert.deepEqual(repositoryProblems({ "opensearch-logs": { settings } }, { nodes }, cluster), []);
  const foreign = { ...settings, base_path: "cluster-196" };
  const found = repositoryProblems(
    { "opensearch-logs": { settings: foreign } },
    { nodes: {} },
    cluster,
  );
  assert.match(whats(found)[0]!, /writes to cluster-196 \(FIXED\), wanted cluster-197/);
  assert.match(whats(found)[1]!, /0 of 1 nodes/);
});

Deno.test("lifecycleProblems() names stuck and unmanaged indices and failed deletions", () => {
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
  const failed = { name: "logs-snapshots", deletion: { latest_execution: { status: "FAILED" } } };
  assert.deepEqual(whats(lifecycleProblems(explain, { policies: [failed] }, "197")), [
    "index logs-k8s-2026.11.01 is stuck at snapshot (no step): Snapshot failed",
    "index logs-k8s-2026.11.22 is under no policy and is never deleted",
    "snapshot policy logs-snapshots failed to delete: ",
  ]);
  assert.deepEqual(whats(lifecycleProblems({}, { policies: [] }, "197")), [
    "no policy deletes old snapshots",
  ]);
});

Deno.test("freshProblems() names silent streams and foreign lines", () => {
  const pods = { indices: "logs-k8s-*", stored: 12, read: 12, newest: "2026-11-29T10:00:00Z" };
  const host = { indices: "logs-host-*", stored: 3, read: 3 };
  assert.deepEqual(freshProblems([pods, host], 0), []);
  assert.deepEqual(whats(freshProblems([pods, { ...host, stored: 0, read: 0 }], 4)), [
    "no line was ever stored in logs-host-*",
    "4 lines of the last 5 minutes carry another cluster's name",
  ]);
});

Deno.test("loginProblems() tells a wrong password from a Grafana that starts", () => {
  assert.deepEqual(loginProblems("ok", 200, '{"message":"Logged in"}'), []);
  assert.match(whats(loginProblems("ok", 401, "{}"))[0]!, /refuses admin/);
  assert.match(whats(loginProblems("failing", 503, "no endpoints"))[1]!, /503: no endpoints/);
});

Deno.test("dashboardProblems() wants dashboards and sources that answer", () => {
  const good = { name: "Thanos", ok: true, text: '{"status":"OK"}' };
  assert.deepEqual(dashboardProblems(20, [good]), []);
  const bad = { name: "Thanos", ok: false, text: "connection refused" };
  assert.deepEqual(whats(dashboardProblems(0, [bad])), [
    "Grafana has no dashboards",
    "Grafana's data source Thanos does not answer: connection refused",
  ]);
  assert.match(whats(dashboardProblems(1, []))[0]!, /no data source/);
});

Deno.test("objectFindings() gives one line per step, with the command that puts the objects right", () => {
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
  const findings = objectFindings(new Map(deltas), all, "197");
  assert.deepEqual(whats(findings), [
    "missing of 30-thanos: ConfigMap/monitoring/a, ConfigMap/monitoring/b, " +
    "ConfigMap/monitoring/c and 1 more",
    "not as wanted of 40-logging: Secret/monitoring/e",
  ]);
  assert.deepEqual(findings.map(({ state }) => state), ["fail", "warn"]);
  assert.match(findings[0]!.fix!, /make 30-thanos CLUSTER=197$/);
});

Deno.test("claimProblems() names a claim that waits", () => {
  const spec = { storageClassName: "longhorn" };
  const claims = [
    object("PersistentVolumeClaim", "data-thanos-store-0", { spec, status: { phase: "Pending" } }),
    object("PersistentVolumeClaim", "data-thanos-ruler-0", { spec, status: { phase: "Bound" } }),
  ];
  assert.deepEqual(whats(claimProblems(claims)), [
    "PersistentVolumeClaim/monitoring/data-thanos-store-0 is Pending",
  ]);
});

Deno.test("claimProblems() names a claim that has less than it asks for", () => {
  const claim = (name: string, storage: string) =>
    object("PersistentVolumeClaim", name, {
      spec: { storageClassName: "longhorn", resources: { requests: { storage: "20Gi" } } },
      status: { phase: "Bound", capacity: { storage } },
    });
  const claims = [claim("db-0", "10Gi"), claim("db-1", "20Gi"), claim("db-2", "21474836480")];
  assert.deepEqual(whats(claimProblems(claims)), [
    "PersistentVolumeClaim/monitoring/db-0 asked for 20Gi, has 10Gi",
  ]);
});

Deno.test("claims() looks where only an Alertmanager has volumes", async () => {
  const spec = { storageClassName: "longhorn" };
  const items = [object("PersistentVolumeClaim", "db-0", { spec, status: { phase: "Lost" } })];
  await fakeKubectl([{ on: "get persistentvolumeclaims", stdout: JSON.stringify({ items }) }]);
  const cluster = await fixtureCluster("196", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const objects = [object("Alertmanager", "main", {})];
  const problems = await claims(subjectWith(cluster, { objects }));
  assert.deepEqual(whats(problems), ["PersistentVolumeClaim/monitoring/db-0 is Lost"]);
});

Deno.test("judgeDefault() wants exactly one default, and ours, unless the site has its own class", async () => {
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
  const cluster = await fixtureCluster("196");
  const judge = (...classes: Manifest[]) => judgeDefault(classes, cluster, "after");
  assert.equal(judge(ours, standard(false)).state, "ok");
  assert.deepEqual(whats([judge(ours, standard(true))]), [
    "default: longhorn and standard, wanted only longhorn",
  ]);
  assert.match(whats([judge()])[0]!, /default: none/);
  const existing = { STORAGE: "existing", STORAGE_CLASS: "nfs" };
  const own = await fixtureCluster("196", existing);
  assert.equal(judgeDefault([standard(true)], own, "after").state, "ok");
});

function answering(body: string, status = 200): ClusterProxy {
  return {
    fetch: () => Promise.resolve(new Response(body, { status })),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

Deno.test("readJson() names Service, path, status and words of a refusal", async () => {
  const service = { namespace: "logging", name: "opensearch", port: 9200 };
  for (const [body, status] of [["no endpoints available", 503], ["<html>", 200]] as const) {
    const error = await readJson(answering(body, status), service, "/x").catch((error) => error);
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, 8);
    assert.match(error.message, /\/x of opensearch/);
    assert.deepEqual(error.where, [`${status} ${body}`]);
  }
});

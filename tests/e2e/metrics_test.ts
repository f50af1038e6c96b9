// What Prometheus scrapes on each cluster, and what the centre sees of all of them.
import assert from "node:assert/strict";
import { type Cluster, list, text } from "../../lib/core/cluster.ts";
import { desired } from "../../lib/deploy/step.ts";
import { STEPS } from "../../scripts/steps.ts";
import { readStores } from "../../scripts/components/thanos/stores.ts";
import { poolsOf, type ScrapeTarget } from "../../scripts/checks/prometheus.ts";
import {
  ask,
  central,
  check,
  edges,
  eventually,
  figure,
  fleet,
  get,
  labelValues,
  names,
  PROMETHEUS,
  QUERY,
  way,
} from "./site.ts";

/** Jobs by the names that the default rules and dashboards look for (after our own renaming). */
const JOBS = {
  every: [
    "apiserver",
    "fluent-bit",
    "kube-dns",
    "kube-prometheus-stack-alertmanager",
    "kube-prometheus-stack-grafana",
    "kube-prometheus-stack-operator",
    "kube-prometheus-stack-prometheus",
    "kube-state-metrics",
    "kubelet",
    "minio",
    "node-exporter",
    "opensearch-exporter",
    "thanos-sidecar",
  ],
  central: ["thanos-compactor", "thanos-frontend", "thanos-query", "thanos-ruler", "thanos-store"],
  edge: [],
};

for (const cluster of fleet) {
  check(`${cluster.id}: every monitor has targets, and nothing else is scraped`, async () => {
    const objects = (await Promise.all(STEPS.map((step) => desired(step, cluster)))).flat();
    const path = "/api/v1/targets?state=active";
    const { data } = await get<{ data: { activeTargets: ScrapeTarget[] } }>(
      cluster,
      PROMETHEUS,
      path,
    );
    const scraped = new Set(data.activeTargets.map(({ scrapePool }) => scrapePool));
    assert.deepEqual([...scraped].sort(), poolsOf(objects).sort());
  });

  check(`${cluster.id}: every target is up, under the job names that rules look for`, async () => {
    await eventually(3, async () => {
      const { result } = await ask(cluster, PROMETHEUS, "min by (job) (up)");
      const up = (wanted: string) =>
        result.filter(({ value }) => value[1] === wanted).map(({ metric }) => metric.job!);
      assert.deepEqual(up("0").filter((job) => !isStandIn(cluster, job)), []);
      const wanted = [...JOBS.every, ...JOBS[cluster.role]];
      const missing = wanted.filter((job) => !up("1").includes(job));
      assert.deepEqual(missing.filter((job) => !isStandIn(cluster, job)), []);
    });
  });
}

function isStandIn(cluster: Cluster, job: string): boolean {
  return list(cluster, "STAND_INS").some((program) => job.includes(program));
}

check("Query is in touch with every program and edge, under the right labels", async () => {
  const stores = await readStores(await way(central));
  const labels = (component: string, name: string) =>
    (stores[component] ?? []).filter(({ lastError }) => !lastError)
      .flatMap(({ labelSets }) => labelSets.map((set) => set[name])).sort();
  assert.deepEqual(labels("sidecar", "cluster"), names);
  assert.deepEqual([...new Set(labels("sidecar", "region"))], [text(central, "REGION")]);
  assert.deepEqual(labels("rule", "ruler_cluster"), [text(central, "CLUSTER_NAME")]);
  const shards = stores.store?.filter(({ lastError }) => !lastError);
  assert.equal(shards?.length, Number(central.vars.STORE_REPLICAS));
  const addresses = stores.sidecar!.map(({ name }) => name);
  for (const edge of edges) {
    assert.ok(addresses.includes(edge.fleet.find(({ id }) => id === edge.id)!.sidecar));
  }
});

check("one query counts all clusters, without a warning and without duplicates", async () => {
  const { result, warnings } = await ask(central, QUERY, "count by (cluster) (up)");
  assert.deepEqual(result.map(({ metric }) => metric.cluster).sort(), names);
  assert.deepEqual(warnings, []);
  assert.deepEqual(await labelValues("up", "prometheus_replica"), [""]);
});

for (
  const [metric, where] of [
    ["prometheus_tsdb_storage_blocks_bytes", names],
    ["thanos_objstore_bucket_operations_total", names],
    ["thanos_query_concurrent_queries", [text(central, "CLUSTER_NAME")]],
    ["opensearch_cluster_health_status", names],
  ] as const
) {
  check(`${metric} answers at the centre`, async () => {
    // The pod of an exporter that a rotation has just restarted is scraped for the first time within its interval.
    await eventually(5, async () => {
      assert.deepEqual(await labelValues(metric, "cluster"), where);
    });
  });
}

check("what each component takes on an idle cluster", async () => {
  const own = 'container!="",container!="POD",namespace=~"monitoring|logging|node-agents"';
  const memory = `max by (cluster, container) (container_memory_working_set_bytes{${own}})`;
  const cpu = `sum by (cluster, container) (rate(container_cpu_usage_seconds_total{${own}}[5m]))`;
  const [bytes, cores] = await Promise.all([memory, cpu].map((q) => ask(central, QUERY, q)));
  assert.ok(bytes!.result.length > 0, "no container metrics");
  for (const { metric: { cluster, container }, value } of bytes!.result.sort(byCluster)) {
    if (isStandIn(central, container!)) continue;
    const used = cores!.result.find(({ metric }) =>
      metric.cluster === cluster && metric.container === container
    );
    const cores1 = used ? `${(Number(used.value[1]) * 1000).toFixed(0)}m` : "?";
    figure(
      `${cluster} ${container}`,
      `${(Number(value[1]) / 2 ** 20).toFixed(0)} MiB, ${cores1} CPU`,
    );
  }
});

function byCluster(a: { metric: Record<string, string> }, b: { metric: Record<string, string> }) {
  const key = ({ metric }: typeof a) => `${metric.cluster} ${metric.container}`;
  return key(a) < key(b) ? -1 : 1;
}

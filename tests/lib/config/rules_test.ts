// env/rules.json: every row holds what it says, and names settings that there are; and a rule beside it.
import assert from "node:assert/strict";
import rules from "../../../env/rules.json" with { type: "json" };
import { clusterProblems } from "../../../lib/config/rules.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import type { Vars } from "../../../lib/core/cluster.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

/** By the first words of its reason: settings that break a row, and such that are as near and fine. */
const CASES: Record<string, { broken: Vars; fine: Vars }> = {
  "the centre watches": {
    broken: { PAUSED: "rack move", PAUSED_UNTIL: "2099-12-31", CLUSTER_ROLE: "central" },
    fine: { PAUSED: "rack move", PAUSED_UNTIL: "2099-12-31" },
  },
  "set both, why": {
    broken: { PAUSED: "rack move", PAUSED_UNTIL: "" },
    fine: { PAUSED: "rack move", PAUSED_UNTIL: "2099-12-31" },
  },
  "set both, or none": {
    broken: { PAUSED: "", PAUSED_UNTIL: "2099-12-31" },
    fine: { PAUSED: "", PAUSED_UNTIL: "" },
  },
  "the centre does not dial": {
    broken: { SIDECAR_ADDRESS: "vpn.lab:30901", CLUSTER_ROLE: "central" },
    fine: { SIDECAR_ADDRESS: "vpn.lab:30901" },
  },
  "two nodes lose": { broken: { OPENSEARCH_NODES: 2 }, fine: { OPENSEARCH_NODES: 12 } },
  "Longhorn makes": {
    broken: { STORAGE_CLASS: "longhorn-fast" },
    fine: { STORAGE_CLASS: "fast", STORAGE: "existing" },
  },
  "doors that answer": {
    broken: { ADMIN_CIDR: "10.0.0.0/8,10.1.0.0/16", NODE_NETWORKS: "10.2.0.0/24" },
    fine: { ADMIN_CIDR: "10.0.0.0/8,0.0.0.0/0", NODE_NETWORKS: "10.2.0.0/24" },
  },
  "ingress-nginx has": { broken: { INGRESS: "nginx" }, fine: { INGRESS: "traefik" } },
  "programs replaced": { broken: { STAND_INS: "grafana" }, fine: { STAND_INS: "" } },
  "the default is public": {
    broken: { GRAFANA_ADMIN_PASSWORD: "prom-operator" },
    fine: { GRAFANA_ADMIN_PASSWORD: "prom-operator-2" },
  },
  "alerts are sent nowhere": {
    broken: { ALERT_WEBHOOK_URL: "" },
    fine: { ALERT_WEBHOOK_URL: "https://x" },
  },
  "SCRAPE_TIMEOUT must": {
    broken: { SCRAPE_TIMEOUT: "61s", SCRAPE_INTERVAL: "1m" },
    fine: { SCRAPE_TIMEOUT: "60s", SCRAPE_INTERVAL: "1m" },
  },
  "RETENTION_RAW must": {
    broken: { RETENTION_RAW: "31d", RETENTION_5M: "30d" },
    fine: { RETENTION_RAW: "2w", RETENTION_5M: "14d" },
  },
  "RETENTION_5M must": {
    broken: { RETENTION_5M: "91d", RETENTION_1H: "90d" },
    fine: { RETENTION_5M: "90d", RETENTION_1H: "90d" },
  },
  "both caches must fit into the limit and leave room, or Store": {
    broken: { STORE_INDEX_CACHE: "1GB", STORE_CHUNK_POOL: "1GB", STORE_MEMORY_LIMIT: "2Gi" },
    fine: { STORE_INDEX_CACHE: "1GB", STORE_CHUNK_POOL: "1023MB", STORE_MEMORY_LIMIT: "2Gi" },
  },
  "the cache must fit": {
    broken: { QUERY_FRONTEND_CACHE: "512MB", QUERY_FRONTEND_MEMORY_LIMIT: "512Mi" },
    fine: { QUERY_FRONTEND_CACHE: "511MB", QUERY_FRONTEND_MEMORY_LIMIT: "512Mi" },
  },
  "both caches must fit into the limit and leave room": {
    broken: { QUERY_FRONTEND_LABEL_CACHE: "256MB", QUERY_FRONTEND_CACHE: "256MB" },
    // An empty one is none.
    fine: { QUERY_FRONTEND_LABEL_CACHE: "", QUERY_FRONTEND_CACHE: "600MB" },
  },
  "the heap may be half": {
    broken: { OPENSEARCH_HEAP: "1537m", OPENSEARCH_MEMORY_LIMIT: "3Gi" },
    fine: { OPENSEARCH_HEAP: "1536m", OPENSEARCH_MEMORY_LIMIT: "3Gi" },
  },
  "a snapshot must outlive": {
    broken: { LOG_SNAPSHOT_RETENTION: "14d", LOG_RETENTION: "2w" },
    fine: { LOG_SNAPSHOT_RETENTION: "15d", LOG_RETENTION: "2w" },
  },
  "blocks are lost": {
    broken: { PROMETHEUS_RETENTION: "359m" },
    fine: { PROMETHEUS_RETENTION: "6h" },
  },
  "one cluster that hangs holds up the alerts about all: take less than SCRAPE": {
    broken: { QUERY_RESPONSE_TIMEOUT: "30s" },
    fine: { QUERY_RESPONSE_TIMEOUT: "29s" },
  },
  "one cluster that hangs holds up the alerts about all: take less than QUERY": {
    broken: { QUERY_RESPONSE_TIMEOUT: "2m" },
    fine: { QUERY_RESPONSE_TIMEOUT: "119s" },
  },
  "the Compactor gets": {
    broken: { COMPACTOR_CONCURRENCY: 2, COMPACTOR_CPU_LIMIT: "1500m" },
    fine: { COMPACTOR_CONCURRENCY: "", COMPACTOR_CPU_LIMIT: "500m" },
  },
};

const { vars, sources } = await fixtureCluster("197");

function found(change: Vars): { problems: string[]; warnings: string[] } {
  const about = { id: "197", file: "env/cluster-197.env", sources, missing: [] };
  const warnings: string[] = [];
  const problems = clusterProblems({ ...about, vars: { ...vars, ...change }, warnings });
  return { problems, warnings };
}

for (const [list, told] of [["refused", "problems"], ["warned", "warnings"]] as const) {
  for (const { because } of rules[list]) {
    Deno.test(`env/rules.json, ${list}: ${because}`, () => {
      const [, { broken, fine }] = Object.entries(CASES).find(([words]) =>
        because.startsWith(words)
      )!;
      const lines = (change: Vars) => found(change)[told].filter((line) => line.endsWith(because));
      assert.equal(lines(broken).length, 1);
      assert.deepEqual(lines(fine), []);
    });
  }
}

Deno.test("doors that answer on every node are not closed by ADMIN_CIDR", () => {
  const lines = (ADMIN_CIDR: string) =>
    found({ ADMIN_CIDR, NODE_NETWORKS: "10.2.0.0/24" }).problems
      .filter((line) => line.includes("doors that answer on every node"));
  assert.equal(lines("10.1.0.0/16").length, 1);
  assert.deepEqual(lines("10.1.0.0/16,0.0.0.0/0"), []);
});

Deno.test("env/rules.json names settings that there are, and the default that is public", () => {
  const named = ({ when = {}, amounts = "" }: { when?: object; amounts?: string }) =>
    [...Object.keys(when), ...amounts.split(/ [+<>=]+ /)].filter((name) => /^[A-Z]/.test(name));
  const names = [...rules.refused, ...rules.warned].flatMap(named)
    .concat(Object.keys(rules.unique), Object.keys(rules.equal));
  assert.deepEqual(names.filter((name) => !(name in SETTINGS)), []);
  assert.match(String(SETTINGS.GRAFANA_ADMIN_PASSWORD!.default), /^prom-operator$/);
});

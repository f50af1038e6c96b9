// Every check of 50-verify against one well cluster: what breaks it, and nothing else, makes it fail; and what is
// merely uncommon makes none fail.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { projectPath } from "../../lib/core/cluster.ts";
import { checksOf } from "../../lib/core/check.ts";
import { checksOfCluster } from "../../scripts/50-verify.ts";
import { rules, targets } from "../../scripts/checks/prometheus.ts";
import { criticalAlerts } from "../../scripts/checks/thanos.ts";
import { CHECKS_BEFORE } from "../../scripts/operate/preflight.ts";
import { STEPS } from "../../scripts/steps.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { inventoryOf } from "../support/inventory.ts";
import { listOf } from "../support/fake_kubectl.ts";
import { found } from "../support/subject.ts";
import {
  alert,
  block,
  type Change,
  ELSEWHERE,
  index,
  targetSpec,
  up,
  verdicts,
  volumeOf,
} from "../support/world.ts";

const OF_CLUSTER = checksOfCluster(inventoryOf(await fixtureCluster("196"), []));
const MONITOR = "serviceMonitor/monitoring/kubelet/0";

/** What breaks a check, by its name; the pattern is of what it says then. */
const BREAKS: [check: string, what: string, change: Change, says: RegExp][] = [
  ["Default StorageClass", "no class is the default", {
    kubectl: [{ on: "get storageclasses", stdout: listOf() }],
  }, /default: none/],
  ["Backup target", "Longhorn has not looked for an hour", {
    kubectl: [{
      on: "get backuptargets",
      stdout: listOf({
        metadata: { name: "default" },
        spec: targetSpec("196"),
        status: { available: true, lastSyncedAt: "2026-11-29T09:00:00Z" },
      }),
    }],
  }, /not looked at it since/],
  ["Volume backups", "one volume was never backed up", {
    kubectl: [{
      on: "get volumes",
      stdout: listOf(volumeOf("alertmanager-a", 8), volumeOf("alertmanager-b")),
    }],
  }, /^volume monitoring\/alertmanager-b has no backup at all$/],
  ["Volume backups", "the last backup of one is three days old", {
    kubectl: [{
      on: "get volumes",
      stdout: listOf(volumeOf("alertmanager-a", 8), volumeOf("alertmanager-b", 72)),
    }],
  }, /^volume monitoring\/alertmanager-b has no backup since/],
  ["Targets", "every monitor has lost its targets", {
    answers: [[/prometheus .*targets/, { data: { activeTargets: [] } }]],
  }, /has no targets/],
  ["Rules", "no rule is loaded", {
    answers: [[/prometheus .*rules/, { data: { groups: [] } }]],
  }, /is not loaded/],
  ["Alerts", "the Watchdog does not arrive", {
    answers: [[/alertmanager .*alerts/, [alert("GlobalWatchdog")]]],
  }, /no Watchdog/],
  ["Notifications", "the receiver refuses", {
    values: [[/notifications_failed.*15m/, 3]],
  }, /3 notifications have failed/],
  ["Block upload", "ten hours without an upload: the blocks wait", {
    answers: [[/prometheus .*blocks/, {
      data: { blocks: [{ ulid: block(9.5) }, { ulid: block(2) }] },
    }]],
    bucket: [[`${block(90)}/meta.json`, 90], [`${block(1)}/meta.json`, 1]],
  }, /2 blocks of Prometheus are not in the bucket, the oldest since 9\.5 h/],
  ["Block upload", "ten hours without an upload: no block is cut", {
    answers: [
      [/prometheus .*blocks/, { data: { blocks: [{ ulid: block(10) }] } }],
      [/thanos-store-0/, { data: { blocks: [{ ulid: block(10) }] } }],
    ],
    bucket: [[`${block(10)}/meta.json`, 10]],
  }, /the last block was uploaded 10\.0 h ago/],
  ["Grafana login", "the database is away", {
    answers: [[/grafana \/api\/health/, { database: "failing" }]],
  }, /database is failing/],
  ["Grafana data", "there are no dashboards", {
    answers: [[/grafana \/api\/search/, []]],
  }, /no dashboards/],
  ["Thanos endpoints", "the Ruler is not connected", {}, /ruler: not connected/],
  ["Clusters in Query", "one cluster has no samples", {
    values: [[/by \(cluster\)/, 9]],
  }, /no samples of cluster-197-edge/],
  ["Compactor", "it has halted", { values: [[/halted/, undefined]] }, /has halted/],
  ["Blocks in Store", "Store lacks a block of the bucket", {
    answers: [[/thanos-store-0/, { data: { blocks: [{ ulid: block(1) }] } }]],
  }, /lacks 1 of 2 blocks/],
  ["Blocks in Store", "a block cannot be opened", {
    values: [[/blocks_loaded/, 1]],
  }, /has opened 1 of the 2/],
  ["Global rules", "the Ruler has no rules", {
    answers: [[/ruler .*rules/, { data: { groups: [] } }]],
  }, /has not the rules of group/],
  ["Global rules", "the GlobalWatchdog does not arrive", {
    answers: [[/alertmanager .*alerts/, [alert("Watchdog")]]],
  }, /no GlobalWatchdog/],
  ["Critical alerts", "S3 is away", {
    answers: [[/alertmanager .*alerts/, [
      alert("Watchdog"),
      alert("GlobalWatchdog"),
      alert("S3EndpointDown", { severity: "critical" }),
    ]]],
  }, /^S3EndpointDown fires since 2026-11-29T10:45Z: something is broken$/],
  ["OpenSearch", "it is yellow", {
    answers: [[/_cluster\/health/, { status: "yellow", number_of_nodes: 1, unassigned_shards: 2 }]],
  }, /is yellow/],
  ["OpenSearch plugins", "one is missing", {
    answers: [[/_cat\/plugins/, [{ component: "repository-s3" }]]],
  }, /no plugin opensearch-index-management/],
  ["Room for logs", "4 GiB a day since Friday, little before", {
    answers: [[
      /_cat\/indices/,
      [
        ...[13, 12, 11, 10, 9, 8, 7, 6, 5, 4].map((days) => index(days, 2 ** 20)),
        ...[3, 2, 1].map((days) => index(days, 4 * 2 ** 30)),
        index(0, 2 ** 20),
      ],
    ]],
  }, /will not fit: 4\.0 GiB a day/],
  ["Log snapshots", "no node reaches the bucket", {
    answers: [[/_verify/, { nodes: {} }]],
  }, /0 of 1 nodes/],
  ["Log archive", "an index is three weeks old", {
    answers: [[/_cat\/indices/, [index(21, 1), index(0, 1)]]],
  }, /should be on S3 and gone/],
  ["Log lifecycle", "an index is under no policy", {
    answers: [[/_ism\/explain/, { "logs-k8s-2026.11.01": {} }]],
  }, /under no policy/],
  ["Fresh logs", "lines are read, and none is stored", {
    answers: [[/logs-k8s-\*\/_search .*range/, { hits: { total: { value: 0 }, hits: [] } }]],
    values: [[/input_records.*tail_containers/, 200]],
  }, /has read 200 lines for logs-k8s-\*/],
  ["Dropped logs", "lines are dropped", {
    values: [[/dropped_records.*15m/, 40]],
  }, /^fluent-bit has dropped 40 log lines/],
  ["Dropped logs", "events are dropped, and no line", {
    values: [[/dropped_records.*"fluent-bit-events".*15m/, 7]],
  }, /^fluent-bit-events has dropped 7 events/],
  ["OpenSearch metrics", "the exporter does not reach it", {
    values: [[/health_status/, undefined]],
  }, /no green/],
];

for (const [name, what, change, says] of BREAKS) {
  Deno.test(`V3: ${name} fails when ${what}, and no other`, async () => {
    const all = await verdicts(name === "Thanos endpoints" ? await withoutRuler() : change);
    const failed = [...all].filter(([, { state }]) => state === "fail").map(([name]) => name);
    assert.deepEqual(failed, [name]);
    assert.ok(all.get(name)!.findings.some(({ what }) => says.test(what)));
  });
}

async function withoutRuler(): Promise<Change> {
  const { fleet } = await fixtureCluster("196");
  const sidecar = fleet.map(({ name }) => ({
    name,
    lastError: null,
    labelSets: [{ cluster: name }],
  }));
  const store = [{ name: "x", lastError: null, labelSets: [] }];
  return { answers: [[/query .*stores/, { data: { sidecar, store } }]] };
}

/** What is uncommon, and well. */
const VARIETIES: [what: string, change: Change][] = [
  ["as it was recorded", {}],
  ["STORAGE=existing with a class that is not the default", {
    settings: { STORAGE: "existing", STORAGE_CLASS: "nfs" },
  }],
  ["an S3 that is no MinIO", { settings: { S3_IS_MINIO: "false" } }],
  ["a cluster ten minutes old", {
    answers: [
      [/prometheus .*blocks/, { data: { blocks: [] } }],
      [/_cat\/indices/, [index(0, 1000)]],
      [/thanos-store-0/, { data: { blocks: [] } }],
    ],
    values: [[/head_min_time/, Date.now() / 1000 - 600], [/blocks_loaded/, 0]],
    bucket: [],
    kubectl: [{ on: "get volumes", stdout: listOf() }],
  }],
  ["a weekend without logs", {
    answers: [
      [/logs-\w+-\*\/_search .*range/, { hits: { total: { value: 0 }, hits: [] } }],
      [/_cat\/indices/, [index(4, 2 ** 30), index(3, 2 ** 30)]],
    ],
  }],
  ["LOG_RETENTION and LOG_SNAPSHOT_RETENTION shortened an hour ago", {
    settings: { LOG_RETENTION: "3d", LOG_SNAPSHOT_RETENTION: "30d" },
    answers: [
      [/_cat\/indices/, [9, 6, 2, 1, 0].map((days) => index(days, 1000))],
      [/_snapshot\/opensearch-logs\/logs/, {
        snapshots: [{
          snapshot: "logs-k8s-old",
          state: "SUCCESS",
          start_time_in_millis: Date.now() - 100 * 86_400_000,
        }],
      }],
      [/_ism\/policies/, { policy: { last_updated_time: Date.now() - 3_600_000 } }],
      [/_sm\/policies\/logs/, { sm_policy: { last_updated_time: Date.now() - 3_600_000 } }],
    ],
  }],
  ["midnight UTC: the new index is not under its policy yet", {
    answers: [
      [/_ism\/explain/, { [index(0, 1).index]: {} }],
    ],
  }],
  ["a volume without new data, of which Longhorn makes no new backup", {
    kubectl: [{
      on: "get volumes",
      stdout: listOf(volumeOf("alertmanager-idle", 200), {
        kind: "Engine",
        metadata: { name: "idle-e-0" },
        spec: { volumeName: "alertmanager-idle" },
        status: { snapshots: { "volume-head": { size: "0" } } },
      }),
    }],
  }],
  ["notifications and lines that were lost hours ago", {
    values: [[/(notifications_failed|dropped_records).*6h/, 5]],
  }],
];

for (const [what, change] of VARIETIES) {
  Deno.test(`V2: nothing fails on a cluster that is well: ${what}`, async () => {
    const all = await verdicts(change);
    const failed = [...all].filter(([, { state }]) => state === "fail");
    assert.deepEqual(failed, []);
  });
}

Deno.test("V2: other people's broken monitors, rules and critical alerts are notes", async () => {
  const healthy = await verdicts();
  assert.equal(healthy.get("Critical alerts")!.state, "ok");
  const theirs = { ...up("serviceMonitor/shop/cart/0"), health: "down" as const, labels: {} };
  const edge = await fixtureCluster("197");
  const [silent] = await found(targets, edge, {
    "/api/v1/targets": { data: { activeTargets: [theirs] } },
  });
  assert.deepEqual([silent!.state, silent!.what], [
    "note",
    "not ours, and down: serviceMonitor/shop/cart/0",
  ]);
  const rule = { name: "Cart", health: "err" as const };
  const groups = [{ file: "shop-cart-x.yaml", name: "cart", rules: [rule] }];
  const [failing] = await found(rules, edge, { "/api/v1/rules": { data: { groups } } });
  assert.deepEqual([failing!.state, failing!.what], ["note", "not ours, and failing: Cart"]);
  const all = await verdicts({
    answers: [[/alertmanager .*alerts/, [
      alert("Watchdog"),
      alert("GlobalWatchdog"),
      alert("CartIsEmpty", { severity: "critical" }),
    ]]],
  });
  // A stand-in is ours, and nothing that it lacks is looked for.
  const standing = { ...edge, vars: { ...edge.vars, STAND_INS: "fluent-bit" } };
  const down = alert("FluentBitDown", { severity: "critical", job: "fluent-bit" });
  const groupsOf = [{ name: "g", rules: [{ alert: "FluentBitDown", expr: "vector(1)" }] }];
  const metadata = { name: "r", namespace: "logging" };
  const made = { apiVersion: "v1", kind: "PrometheusRule", metadata, spec: { groups: groupsOf } };
  const [, stand] = await found(criticalAlerts, standing, { "/api/v2/alerts": [down] }, [made]);
  assert.equal(stand!.what, "FluentBitDown: about a stand-in");
  const { state, findings: [, told] } = all.get("Critical alerts")!;
  assert.deepEqual([state, told!.what], ["note", "CartIsEmpty: not about what is ours here"]);
});

Deno.test("P8: verify asks for backups of the chosen claims alone, and tells whose else it leaves out", async () => {
  const volumes = [
    volumeOf("kube-prometheus-stack-grafana", 8),
    volumeOf("kube-prometheus-stack-grafana", undefined, "shop"),
    volumeOf("data-thanos-compactor-0"),
    { ...volumeOf("gone"), status: { state: "attached" } },
  ];
  const kubectl = [{ on: "get volumes", stdout: listOf(...volumes) }];
  const { findings } = (await verdicts({ kubectl })).get("Volume backups")!;
  assert.deepEqual(findings.map(({ state, what }) => `${state} ${what}`), [
    "ok 1 volumes have one, the oldest 8 hours ago",
    "note LONGHORN_BACKUP_CLAIMS leaves out shop/kube-prometheus-stack-grafana",
  ]);
  const all = await verdicts({ kubectl, settings: { LONGHORN_BACKUP_CLAIMS: "*/*" } });
  assert.deepEqual(all.get("Volume backups")!.findings.map(({ what }) => what), [
    "volume shop/kube-prometheus-stack-grafana has no backup at all",
    "volume monitoring/data-thanos-compactor-0 has no backup at all",
  ]);
});

Deno.test("P9: Targets names the Service that doubles the targets of the kubelet", async () => {
  const labels = { job: "kubelet", namespace: "kube-system" };
  const objects = [
    {
      apiVersion: "v1",
      kind: "ServiceMonitor",
      metadata: { name: "kubelet", namespace: "monitoring" },
      spec: { endpoints: [{}] },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "operator" },
      spec: { args: ["--kubelet-service=kube-system/kubelet"] },
    },
  ];
  const both = ["kubelet", "prom-kube-prometheus-kubelet"]
    .map((service) => ({
      ...up(MONITOR, { ...labels, service }),
      health: "up" as const,
      labels: { ...labels, service },
    }));
  const answers = { "/api/v1/targets": { data: { activeTargets: both } } };
  const [double, ...rest] = await found(targets, await fixtureCluster("197"), answers, objects);
  assert.deepEqual(rest, []);
  assert.match(double!.what, /1 targets of kubelet are scraped more than once/);
  assert.equal(double!.fix, "kubectl -n kube-system delete service prom-kube-prometheus-kubelet");
});

Deno.test("every check of 50-verify is broken here, or where its test is named", async () => {
  const cluster = await fixtureCluster("196");
  const names = checksOf(STEPS, cluster, "after", OF_CLUSTER).map(({ name }) => name);
  // An S3 that refuses is one of many faults in tests/lib/s3.
  const buckets = names.filter((name) => name.startsWith("Bucket of "));
  const broken = new Set([...BREAKS.map(([name]) => name), ...Object.keys(ELSEWHERE), ...buckets]);
  assert.deepEqual([...names].sort(), [...broken].sort());
  for (const file of Object.values(ELSEWHERE)) await readFile(projectPath(`tests/${file}`));
});

Deno.test("docs/checks.md has a whole row for every check, and no other", async () => {
  const text = await readFile(projectPath("docs/checks.md"), "utf8");
  const rows = text.split("\n").filter((line) => /^\| (?!Check)/.test(line))
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  const every = [...CHECKS_BEFORE, ...OF_CLUSTER, ...STEPS.flatMap(({ checks = [] }) => checks)];
  const names = new Set(every.map(({ name }) => name));
  assert.deepEqual(rows.map(([name]) => name).sort(), [...names].sort());
  for (const [name, ...cells] of rows) {
    assert.equal(cells.filter((cell) => cell.length > 3).length, 3, `${name} lacks a cell`);
  }
});

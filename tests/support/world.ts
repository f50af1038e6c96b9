// A well central cluster as its programs answer, recorded in the lab: what a check of 50-verify is asked in a test.
import {
  type Check,
  checksOf,
  type CheckState,
  type ClusterProxy,
  type Finding,
  findingsOf,
} from "../../lib/core/check.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { ensureBucket, PROBE_PREFIX } from "../../lib/s3/bucket.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { bucketsOf } from "../../scripts/components/minio/buckets.ts";
import { checksOfCluster } from "../../scripts/50-verify.ts";
import { rulerGroups } from "../../scripts/checks/thanos.ts";
import { poolsOf } from "../../scripts/checks/prometheus.ts";
import { STEPS } from "../../scripts/steps.ts";
import { inventoryOf } from "./inventory.ts";
import { fixtureFleet } from "./cluster_fixture.ts";
import { fakeKubectl, listOf, type Reply } from "./fake_kubectl.ts";
import { renderedFleet } from "./rendered_fixture.ts";
import { fakeS3, KEY, pem } from "./s3.ts";
import { subjectWith } from "./subject.ts";

const HOUR = 3_600_000, DAY = 24 * HOUR;
const STARTED = Date.now();

/** What makes a world another one. */
export interface Change {
  /** Settings of the cluster. */
  settings?: Record<string, string>;
  /** Answers of programs, which come before the healthy ones: a pattern over `name path body`. */
  answers?: [on: RegExp, body: unknown][];
  /** Values that Prometheus and Query give for an expression; undefined: none. */
  values?: [on: RegExp, value: number | undefined][];
  kubectl?: Reply[];
  /** Keys of the bucket thanos, with the hours since they were written. */
  bucket?: [key: string, hours: number][];
}

/** The name of a block that was made so many hours ago. */
export function block(hours: number): string {
  const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let time = STARTED - hours * HOUR, name = "";
  for (let index = 0; index < 10; index++, time = Math.floor(time / 32)) {
    name = digits[time % 32] + name;
  }
  return name + "X".repeat(16);
}

/** An alert as Alertmanager lists it. */
export function alert(alertname: string, labels: Record<string, string> = {}) {
  return {
    labels: { alertname, severity: "none", ...labels },
    annotations: { summary: "something is broken", runbook_url: "runbooks/x.md" },
    startsAt: "2026-11-29T10:45:06.838Z",
    status: { state: "active" as const },
  };
}

/** A log index of so many days ago, in bytes. */
export function index(days: number, bytes: number, stream = "k8s") {
  const at = Date.now() - days * DAY;
  const day = new Date(at).toISOString().slice(0, 10).replaceAll("-", ".");
  return {
    index: `logs-${stream}-${day}`,
    "creation.date": String(at),
    "store.size": String(bytes),
  };
}

/** A target as Prometheus lists it. */
export function up(scrapePool: string, labels: Record<string, string> = {}) {
  return {
    scrapePool,
    scrapeUrl: `http://10.244.0.5/${scrapePool}`,
    health: "up",
    lastError: "",
    labels: { job: scrapePool.split("/")[2], namespace: "monitoring", ...labels },
    scrapeInterval: "30s",
    scrapeTimeout: "10s",
  };
}

/** The groups that Prometheus has of these objects. */
export function loaded(objects: Manifest[]) {
  return objects.filter(({ kind }) => kind === "PrometheusRule").flatMap(({ metadata, spec }) =>
    spec.groups.map(({ name }: { name: string }) => ({
      name,
      file: `/etc/prometheus/rules/x/${metadata.namespace}-${metadata.name}-` +
        "08bcfa7e-22d6-4979-af97-06e6f66cd4d1.yaml",
      rules: [{ name: "X", health: "ok" }],
    }))
  );
}

const GREEN = { status: "green", number_of_nodes: 1, unassigned_shards: 0 };
const NODE_DISK = {
  name: "opensearch-0",
  fs: { total: { total_in_bytes: 30 * 2 ** 30, available_in_bytes: 25 * 2 ** 30 } },
};
const MANAGED = { "index.plugins.index_state_management.policy_id": "logs-retention" };

function healthy(cluster: Cluster, objects: Manifest[]): [RegExp, unknown][] {
  const sidecars = cluster.fleet.map(({ name, role, sidecar }) => (
    {
      name: role === "central" ? "10.244.0.12:10901" : sidecar,
      lastError: null,
      labelSets: [{ cluster: name }],
    }
  ));
  const other = { name: "10.244.0.16:10901", lastError: null, labelSets: [] };
  const ruler = rulerGroups(objects).map(({ name, rules }) => (
    { name, file: "x", rules: rules.map(() => ({ name: "X", health: "ok" })) }
  ));
  return [
    [/prometheus .*targets/, { data: { activeTargets: poolsOf(objects).map((pool) => up(pool)) } }],
    [/prometheus .*rules/, { data: { groups: loaded(objects) } }],
    [/prometheus .*blocks/, { data: { blocks: [{ ulid: block(1) }] } }],
    [/alertmanager .*status/, { cluster: { status: "disabled" } }],
    [/alertmanager .*alerts/, [alert("Watchdog"), alert("GlobalWatchdog")]],
    [/grafana \/api\/health/, { database: "ok" }],
    [/grafana \/login/, {}],
    [/grafana \/api\/datasources$/, [{ uid: "thanos", name: "Thanos", type: "prometheus" }]],
    [/grafana \/api\/search/, [{}]],
    [/grafana .*uid\/thanos\/health/, {}],
    [/query .*stores/, { data: { sidecar: sidecars, store: [other], rule: [other] } }],
    [/thanos-store-0 .*blocks/, { data: { blocks: [{ ulid: block(1) }, { ulid: block(90) }] } }],
    [/ruler .*rules/, { data: { groups: ruler } }],
    [/opensearch \/_cluster\/health/, GREEN],
    [/opensearch \/_cat\/plugins/, [{ component: "repository-s3" }, {
      component: "opensearch-index-management",
    }]],
    [/opensearch \/_nodes\/stats/, { nodes: { a: NODE_DISK } }],
    [/opensearch \/_cat\/indices/, [3, 2, 1, 0].map((days) => index(days, 2 ** 30))],
    [/opensearch .*_verify/, { nodes: { a: {} } }],
    [/opensearch \/_snapshot\/opensearch-logs\/logs/, { snapshots: [] }],
    [/opensearch \/_snapshot\/opensearch-logs/, {
      "opensearch-logs": { settings: { base_path: "cluster-196", shard_path_type: "FIXED" } },
    }],
    [/opensearch .*_ism\/policies/, { policy: { last_updated_time: Date.now() - 90 * DAY } }],
    [/opensearch .*_sm\/policies\/\*/, { policies: [{ name: "logs-snapshots" }] }],
    [/opensearch .*_sm\/policies/, { sm_policy: { last_updated_time: Date.now() - 90 * DAY } }],
    [/opensearch .*_ism\/explain/, { [index(0, 1).index]: MANAGED, total_managed_indices: 1 }],
    [/opensearch \/logs-\*\/_search/, { hits: { total: { value: 0 }, hits: [] } }],
    [/opensearch .*_search .*range/, { hits: { total: { value: 12 }, hits: [] } }],
    [/opensearch .*_search/, {
      hits: {
        total: { value: 9 },
        hits: [{ _source: { "@timestamp": new Date().toISOString() } }],
      },
    }],
  ];
}

const VALUES: [RegExp, number | undefined][] = [
  [/halted/, 0],
  [/health_status/, 1],
  [/increase/, 0],
  [/head_min_time/, Date.now() / 1000 - 3600],
  [/blocks_loaded/, 2],
];

const DEFAULT = { "storageclass.kubernetes.io/is-default-class": "true" };

/** A volume of Longhorn, of the claim of the same name, that was backed up so many hours ago; undefined: never. */
export function volumeOf(name: string, hours?: number, namespace = "monitoring") {
  const ago = (hours: number) => new Date(Date.now() - hours * HOUR).toISOString();
  return {
    kind: "Volume",
    metadata: { name, creationTimestamp: ago(900), labels: {} },
    status: {
      state: "attached",
      lastBackupAt: hours === undefined ? "" : ago(hours),
      kubernetesStatus: { namespace, pvcName: name },
    },
  };
}

/** Where the backups of a cluster go. */
export function targetSpec(id: string) {
  return {
    backupTargetURL: `s3://longhorn-backups@us-east-1/cluster-${id}/`,
    credentialSecret: "longhorn-s3-secret",
  };
}

const KUBECTL: Reply[] = [
  {
    on: "get storageclasses",
    stdout: listOf({ kind: "StorageClass", metadata: { name: "longhorn", annotations: DEFAULT } }),
  },
  {
    on: "get backuptargets",
    stdout: listOf({
      kind: "BackupTarget",
      metadata: { name: "default" },
      spec: targetSpec("196"),
      status: { available: true, lastSyncedAt: new Date().toISOString() },
    }),
  },
  { on: "get volumes", stdout: listOf(volumeOf("kube-prometheus-stack-grafana", 8)) },
];

/** Checks whose question is more than these answers, and the test that breaks each. */
export const ELSEWHERE: Record<string, string> = {
  "Objects": "checks/verify_test.ts",
  "Readiness": "lib/apply/readiness_test.ts",
  "Volume claims": "checks/verify_test.ts",
  "Client certificate": "checks/preflight_test.ts",
  "API server certificate": "checks/preflight_test.ts",
  "S3 certificates": "checks/preflight_test.ts",
  "Doors": "components/ingress_test.ts",
  "New volume": "checks/volume_test.ts",
  "Marker line": "checks/logs_test.ts",
  "Events": "checks/events_test.ts",
};

/** What every check that a world can answer finds there: the worst state by name, and the findings. */
export async function verdicts(
  { settings = {}, answers = [], values = [], kubectl = [], bucket }: Change = {},
): Promise<Map<string, { state: CheckState; findings: Finding[] }>> {
  const listing: [string, number][] = bucket ??
    [[`${block(1)}/meta.json`, 1], [`${block(1)}/index`, 1], [`${block(90)}/meta.json`, 90]];
  await using s3 = fakeS3({
    fault({ bucket, query }) {
      const asked = new URLSearchParams(query), prefix = asked.get("prefix");
      // Whether the bucket is there, and about a probe, the fake answers itself.
      const itself = asked.has("max-keys") || prefix?.startsWith(PROBE_PREFIX);
      if (bucket !== "thanos" || !query.startsWith("list-type=2") || itself) return;
      const items = listing.filter(([key]) => key.startsWith(prefix ?? "")).map(([key, hours]) =>
        `<Contents><Key>${key}</Key><LastModified>${
          new Date(Date.now() - hours * HOUR).toISOString()
        }</LastModified></Contents>`
      );
      return new Response(`<ListBucketResult>${items.join("")}</ListBucketResult>`);
    },
  });
  const environment = { KUBECONFIG_FILE: "kubeconfig", ...settings };
  const fleet = await fixtureFleet({
    ...environment,
    S3_ENDPOINT: s3.endpoint,
    S3_ACCESS_KEY: KEY.id,
    S3_SECRET_KEY: KEY.secret,
  });
  const cluster = { ...fleet[0]!, s3Ca: pem("ca.pem") };
  using site = s3Of(cluster);
  for (const { name } of bucketsOf(cluster)) await ensureBucket(site, name);
  const objects = await objectsWith(environment);
  await fakeKubectl([...kubectl, ...KUBECTL]);
  const proxy = answering(
    [...answers, ...healthy(cluster, objects)],
    [...values, ...VALUES],
    cluster,
  );
  const subject = { ...subjectWith(cluster, { objects, proxy }), fleet };
  const found = new Map<string, { state: CheckState; findings: Finding[] }>();
  for (
    const check of checksOf(STEPS, cluster, "after", checksOfCluster(inventoryOf(cluster, [])))
  ) {
    if (check.name in ELSEWHERE) continue;
    const findings = await asked(check, subject);
    const states = findings.map(({ state = "fail" }) => state);
    const worst = (["fail", "warn", "note"] as const).find((state) => states.includes(state));
    found.set(check.name, { state: worst ?? "ok", findings });
  }
  return found;
}

const rendered = new Map<string, Promise<Manifest[]>>();

/** What the steps render for central with these settings. */
function objectsWith(environment: Record<string, string>): Promise<Manifest[]> {
  const name = JSON.stringify(environment);
  const render = async () =>
    (await renderedFleet(environment)).filter(({ cluster: { id } }) => id === "196")
      .flatMap(({ objects }) => objects);
  if (!rendered.has(name)) rendered.set(name, render());
  return rendered.get(name)!;
}

async function asked(check: Check, subject: Parameters<Check["run"]>[0]): Promise<Finding[]> {
  return findingsOf(await check.run(subject).catch((error) => ({ what: String(error) })));
}

function answering(
  answers: [RegExp, unknown][],
  values: [RegExp, number | undefined][],
  { fleet }: Cluster,
): ClusterProxy {
  const sample = (value: number, metric = {}) => ({
    metric,
    value: [Date.now() / 1000, `${value}`],
  });
  function valuesOf(expression: string): unknown[] {
    const value = values.find(([on]) => on.test(expression));
    if (value) return value[1] === undefined ? [] : [sample(value[1])];
    if (expression.includes("by (cluster)")) {
      return fleet.map(({ name }) => sample(9, { cluster: name }));
    }
    return [sample(1)];
  }
  return {
    fetch({ name }, path, init) {
      const words = `${name} ${decodeURIComponent(path)} ${init?.body ?? ""}`.trim();
      const [, expression] = /\/api\/v1\/query\?query=(.*)/.exec(words) ?? [];
      const found = expression
        ? { data: { result: valuesOf(expression) } }
        : answers.find(([on]) => on.test(words))?.[1];
      const status = found === undefined ? 503 : 200;
      return Promise.resolve(Response.json(found ?? `no answer for ${words}`, { status }));
    },
  };
}

// Checks of the fleet as the central Thanos Query sees it, of blocks on their way through the bucket, and of critical alerts.
import { parse } from "yaml";
import type { Finding, Findings, Subject } from "../../lib/core/check.ts";
import { isStandIn, note, ok } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { shortList } from "../../lib/core/short_list.ts";
import { readJson } from "../../lib/probe/http.ts";
import { listObjects } from "../../lib/s3/bucket.ts";
import { keyOf, s3Of } from "../../lib/s3/client.ts";
import { thanosKey } from "../components/prometheus/objects.ts";
import { runbookAt } from "../components/prometheus/dashboards.ts";
import { edgesOf } from "../components/thanos/fleet.ts";
import * as query from "../components/thanos/stores.ts";
import { type Alert, alertsOf, ask, groupsOf, PROMETHEUS, valueOf } from "./metrics.ts";
import { failingRules } from "./prometheus.ts";

/** The Ruler of the central cluster. */
export const RULER = { namespace: "monitoring", name: "thanos-ruler", port: 10902 };

async function seenByQuery({ cluster, proxy }: Subject) {
  const stores = await query.readStores(proxy);
  return { stores, ...await query.absenceOf(stores, edgesOf(cluster)) };
}

/** Query is in touch with its own programs and with every edge that is deployed. */
export async function endpoints(subject: Subject): Promise<Findings> {
  const { stores, lost, notes } = await seenByQuery(subject);
  return [
    notes.map(note),
    query.missingPrograms(stores, subject.cluster).map((line) => ({
      what: line,
      cause: "its pod is not ready, or the headless Service has no port grpc",
      fix: "kubectl -n monitoring get pods,endpointslices; logs of deploy/thanos-query",
    })),
    lost.map(({ edge, reason }) => ({
      what: query.whyMissing(stores, edge),
      cause: reason
        ? `the edge, or the way to it, is down; it cannot be asked either: ${reason}`
        : "the edge is down, or a firewall closes the NodePort",
      fix: `on the central node: nc -vz ${edge.sidecar.replace(":", " ")}; make verify-${edge.id}`,
    })),
  ];
}

/** Samples of every cluster that is deployed are visible, and replicas are merged. */
export async function clusters(subject: Subject): Promise<Findings> {
  const { cluster, proxy } = subject;
  const { excused } = await seenByQuery(subject);
  const counts = await ask(proxy, query.QUERY, "count by (cluster) (up)");
  const replicas = await ask(proxy, query.QUERY, "count by (prometheus_replica) (up)");
  const seen = new Set(counts.map(({ metric }) => metric.cluster));
  const wanted = cluster.fleet.filter(({ id }) => !excused.some((edge) => edge.id === id));
  return [
    wanted.filter(({ name }) => !seen.has(name)).map(({ id, name }) => ({
      what: `Thanos Query has no samples of ${name}`,
      cause: "its sidecar is not connected, or its external label cluster is another",
      fix: `make verify-${id}, then look at the check Thanos endpoints`,
    })),
    replicas.some(({ metric }) => metric.prometheus_replica) && {
      what: "Thanos Query does not merge replicas: prometheus_replica is still visible",
      cause: "--query.replica-label and replicaExternalLabelName of Prometheus differ",
      fix: "make 20-prometheus and 30-thanos; compare the two names",
    },
  ];
}

/** The Ruler has its rules, they evaluate, and what they find arrives at Alertmanager. */
export async function globalRules({ objects, proxy }: Subject): Promise<Findings> {
  const [groups, alerts] = await Promise.all([groupsOf(proxy, RULER), alertsOf(proxy)]);
  const make = "make 30-thanos";
  const isThere = ({ name, rules }: Group) =>
    groups.some((group) => group.name === name && group.rules.length === rules.length);
  return [
    rulerGroups(await objects()).filter((group) => !isThere(group)).map(({ name }) => ({
      what: `the Ruler has not the rules of group ${name} as they are wanted`,
      cause: "its ConfigMap was changed by hand, or the Ruler has not read it again",
      fix: `${make}; kubectl -n monitoring logs thanos-ruler-0 --all-containers | grep -i rule`,
    })),
    failingRules(groups, make),
    !alerts.some(({ labels }) => labels.alertname === "GlobalWatchdog") && {
      what: "Alertmanager has no GlobalWatchdog: no alert of the Ruler arrives there",
      cause: "the Ruler is down, gets no answer from Query, or --alertmanagers.url leads elsewhere",
      fix: "kubectl -n monitoring logs thanos-ruler-0 -c thanos-ruler --tail=50",
    },
  ];
}

/** No critical alert of ours fires that is not silenced; one about what is not there, or not ours, is a note. */
export async function criticalAlerts(subject: Subject): Promise<Findings> {
  const { cluster, objects, proxy } = subject;
  const excused = cluster.role === "central" ? (await seenByQuery(subject)).excused : [];
  const groups = (await objects()).flatMap((object): Group[] =>
    object.kind === "PrometheusRule" ? object.spec.groups : rulerGroups([object])
  );
  const known = new Set(groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? [])));
  const excuseOf = ({ labels: { alertname, cluster: of, edge, job } }: Alert) => {
    if (!known.has(alertname!)) return "not about what is ours here";
    const isExcused = excused.some(({ name }) => name === of || name === edge);
    if (isExcused) return "about an edge that is not deployed";
    return isStandIn(cluster, job) ? "about a stand-in" : "none";
  };
  const firing = (await alertsOf(proxy)).filter(({ labels, status }) =>
    labels.severity === "critical" && status.state !== "suppressed"
  );
  const { none: ours = [], ...others } = Object.groupBy(firing, excuseOf);
  return [
    ok(`none fires, of ${known.size} alerts`),
    Object.entries(others).map(([excuse, those]) =>
      note(`${[...new Set(those.map(({ labels }) => labels.alertname))].join(", ")}: ${excuse}`)
    ),
    ours.map(({ labels, annotations: { summary = "", runbook_url }, startsAt }) => ({
      what: `${labels.alertname} fires since ${startsAt.slice(0, 16)}Z: ${summary}`,
      cause: "what the alert says; Alertmanager forgets it a few minutes after that is mended",
      fix: runbook_url ? runbookAt(runbook_url, cluster) : "look at it in Alertmanager",
    })),
  ];
}

type Group = { name: string; rules: { alert?: string }[] };

/** Groups of rules that the Ruler reads from its ConfigMaps. */
export function rulerGroups(objects: Manifest[]): Group[] {
  return objects.filter(({ kind, metadata }) =>
    kind === "ConfigMap" && metadata.labels?.["app.kubernetes.io/name"] === "thanos-ruler"
  ).flatMap(({ data }) => Object.values<string>(data ?? {}).flatMap((file) => parse(file).groups));
}

const HOUR = 3_600_000;
/** Ms between two blocks at most: one is cut every two hours, the first of a Prometheus after three. */
const LATEST = 3.5 * HOUR;
/** The Compactor deletes a block that it has merged two days later; of older ones nothing is known here. */
const LOOKBACK = 24 * HOUR;

type Blocks = { data: { blocks: { ulid: string }[] | null } };

/** Every block that Prometheus has cut in a day is in the bucket, the last one not too old; how many came `since` (ms). */
export async function uploads({ cluster, proxy }: Subject, since?: number): Promise<Finding> {
  const { data } = await readJson<Blocks>(proxy, PROMETHEUS, "/api/v1/status/tsdb/blocks");
  const head = await valueOf(proxy, "min(prometheus_tsdb_head_min_time_seconds)") ?? 0;
  using s3 = s3Of(cluster, { key: keyOf(cluster, thanosKey.program) });
  const bucket = text(cluster, "THANOS_BUCKET"), now = Date.now();
  const recent = (data.blocks ?? []).filter(({ ulid }) => madeAt(ulid) > now - LOOKBACK);
  const blocks = await Promise.all(recent.map(async ({ ulid }) => {
    const [meta] = await listObjects(s3, bucket, `${ulid}/meta.json`);
    return { ulid, uploaded: meta?.at };
  }));
  const ago = (time: number) => `${((now - time) / HOUR).toFixed(1)} h`;
  const logs = "kubectl -n monitoring logs prometheus-kube-prometheus-stack-prometheus-0";
  const waiting = blocks.filter(({ uploaded }) => uploaded === undefined);
  if (waiting.length > 0) {
    const age = ago(Math.min(...waiting.map(({ ulid }) => madeAt(ulid))));
    return {
      what: `${waiting.length} blocks of Prometheus are not in the bucket, the oldest since ${age}`,
      cause: "the sidecar is down, S3 is away, its certificate is not trusted, or the key lacks " +
        "s3:PutObject; what is not uploaded within PROMETHEUS_RETENTION is lost",
      fix: `${logs} -c thanos-sidecar | grep -i err`,
    };
  }
  const last = Math.max(...blocks.map(({ uploaded }) => uploaded!));
  const count = blocks.filter(({ uploaded }) => uploaded! > (since ?? now)).length;
  const meanwhile = since === undefined ? "" : `${count} meanwhile, `;
  if (now - last <= LATEST) return ok(`${meanwhile}the last block was uploaded ${ago(last)} ago`);
  const isNew = blocks.length === 0, oldest = head * 1000;
  if (isNew && now - oldest <= LATEST) {
    return ok(`no block yet: the samples are ${ago(oldest)} old`);
  }
  return {
    what: isNew
      ? "Prometheus has cut no block for a day, so none is uploaded"
      : `the last block was uploaded ${ago(last)} ago, one is due every two hours`,
    cause: "Prometheus scrapes nothing, or cannot write blocks: its volume is full",
    fix: `${logs} -c prometheus | grep -i 'block\\|err'`,
  };
}

const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** When a block was made (ms): its name begins with that. */
function madeAt(ulid: string): number {
  return [...ulid.slice(0, 10)].reduce((time, digit) => time * 32 + BASE32.indexOf(digit), 0);
}

/** Every block of the bucket is in a shard of Store. */
export async function stored({ cluster, proxy }: Subject): Promise<Finding> {
  const wanted = await wholeBlocks(cluster);
  const shards = Array.from({ length: number(cluster, "STORE_REPLICAS") }, (_, index) => (
    { kind: "pods" as const, namespace: "monitoring", name: `thanos-store-${index}`, port: 10902 }
  ));
  const answers = await Promise.all(
    shards.map((shard) => readJson<Blocks>(proxy, shard, "/api/v1/blocks?view=loaded")),
  );
  const found = answers.flatMap(({ data }) => data.blocks ?? []).map(({ ulid }) => ulid);
  const missing = wanted.filter((ulid) => !found.includes(ulid));
  const open = await valueOf(proxy, 'sum(thanos_bucket_store_blocks_loaded{job="thanos-store"})');
  if (missing.length === 0 && open !== undefined && open >= found.length) {
    return ok(`all ${wanted.length} blocks of the bucket are in Store`);
  }
  const lacks = `lacks ${missing.length} of ${wanted.length} blocks of the bucket`;
  const opened = `has opened ${open ?? "none"} of the ${found.length} blocks that it has found`;
  return {
    what: `Store ${missing.length > 0 ? `${lacks}: ${shortList(missing)}` : opened}`,
    cause: missing.length > 0
      ? "its key may not read them, it cannot list the bucket, or a shard is away"
      : "a block is damaged, or the volume of a shard is full",
    fix:
      "kubectl -n monitoring logs -l app.kubernetes.io/name=thanos-store --tail=-1 | grep -i err",
  };
}

/** Blocks that are whole in the bucket for so long that a shard has seen them, and not marked for deletion. */
async function wholeBlocks(cluster: Cluster): Promise<string[]> {
  using s3 = s3Of(cluster, { key: keyOf(cluster, thanosKey.program) });
  const files = await listObjects(s3, text(cluster, "THANOS_BUCKET"));
  const seconds = durationSeconds(text(cluster, "STORE_SYNC_INTERVAL")) + 120;
  const keys = new Set(files.map(({ key }) => key));
  return files.filter(({ key, at }) =>
    /^\w{26}\/meta\.json$/.test(key) && at <= Date.now() - seconds * 1000
  ).map(({ key }) => key.slice(0, 26)).filter((ulid) => !keys.has(`${ulid}/deletion-mark.json`));
}

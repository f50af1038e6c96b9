// Checks of blocks of metrics: what Prometheus has cut is in the bucket, and what is there Store can give.
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { type Listed, listObjects } from "../../lib/s3/bucket.ts";
import { keyOf, s3Of } from "../../lib/s3/client.ts";
import { thanosKey } from "../components/prometheus/access.ts";
import { ask } from "./metrics.ts";
import { PROMETHEUS } from "./prometheus.ts";
import { shortList } from "../../lib/core/short_list.ts";

const HOUR = 3_600_000;
/** Ms between two blocks at most: one is cut every two hours, the first of a Prometheus after three. */
const LATEST = 3.5 * HOUR;
/** The Compactor deletes a block that it has merged two days later; of older ones nothing is known here. */
const LOOKBACK = 24 * HOUR;

/** What Prometheus and the bucket have of each other; times in ms as of `Date.now()`. */
export interface Upload {
  /** Blocks on the disk of Prometheus, with the time at which the bucket got each. */
  blocks: { ulid: string; uploaded?: number }[];
  /** The oldest sample that is in no block yet; undefined when Prometheus does not say. */
  head?: number;
}

/** Every block that Prometheus has cut is in the bucket, and the last one is not too old. */
export async function uploads({ cluster, proxy }: Subject): Promise<Finding[]> {
  return uploadProblems(await uploadOf(cluster, await proxy()), Date.now());
}

/** The blocks of a cluster's Prometheus of the last day, and what the bucket has of them. */
export async function uploadOf(cluster: Cluster, way: ClusterProxy): Promise<Upload> {
  const path = "/api/v1/status/tsdb/blocks";
  const answer = readJson<{ data: { blocks: { ulid: string }[] } }>(way, PROMETHEUS, path);
  const begins = ask(way, PROMETHEUS, "min(prometheus_tsdb_head_min_time_seconds)");
  const [{ data }, [head]] = await Promise.all([answer, begins]);
  using s3 = s3Of(cluster, { key: keyOf(cluster, thanosKey.program) });
  const bucket = text(cluster, "THANOS_BUCKET");
  const blocks = data.blocks.filter(({ ulid }) => madeAt(ulid) > Date.now() - LOOKBACK)
    .map(async ({ ulid }) => {
      const [meta] = await listObjects(s3, bucket, `${ulid}/meta.json`);
      return { ulid, uploaded: meta?.at };
    });
  return { blocks: await Promise.all(blocks), head: head && Number(head.value[1]) * 1000 };
}

/** Blocks that wait, and a last one that is too old. */
export function uploadProblems({ blocks, head = 0 }: Upload, now: number): Finding[] {
  const fix = "kubectl -n monitoring logs prometheus-kube-prometheus-stack-prometheus-0 " +
    "-c thanos-sidecar | grep -i err";
  const waiting = blocks.filter(({ uploaded }) => uploaded === undefined);
  if (waiting.length > 0) {
    const oldest = Math.min(...waiting.map(({ ulid }) => madeAt(ulid)));
    return [{
      what: `${waiting.length} blocks of Prometheus are not in the bucket, the oldest since ` +
        hours(now - oldest),
      cause: "the sidecar is down, S3 is away, its certificate is not trusted, or the key lacks " +
        "s3:PutObject; what is not uploaded within PROMETHEUS_RETENTION is lost",
      fix,
    }];
  }
  const last = Math.max(...blocks.map(({ uploaded }) => uploaded!));
  if (now - last <= LATEST) return [ok(`the last block was uploaded ${hours(now - last)} ago`)];
  if (blocks.length === 0 && now - head <= LATEST) {
    return [ok(`no block yet: the samples are ${hours(now - head)} old`)];
  }
  return [{
    what: blocks.length === 0
      ? "Prometheus has cut no block for a day, so none is uploaded"
      : `the last block was uploaded ${hours(now - last)} ago, one is due every two hours`,
    cause: "Prometheus scrapes nothing, or cannot write blocks: its volume is full",
    fix: "kubectl -n monitoring logs prometheus-kube-prometheus-stack-prometheus-0 -c prometheus " +
      "| grep -i 'block\\|err'",
  }];
}

function hours(ms: number): string {
  return `${(ms / HOUR).toFixed(1)} h`;
}

const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** When a block was made, in ms as of `Date.now()`: its name begins with that. */
export function madeAt(ulid: string): number {
  return [...ulid.slice(0, 10)].reduce((time, digit) => time * 32 + BASE32.indexOf(digit), 0);
}

/** Every block of the bucket is in a shard of Store. */
export async function stored({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  using s3 = s3Of(cluster, { key: keyOf(cluster, thanosKey.program) });
  const objects = await listObjects(s3, text(cluster, "THANOS_BUCKET"));
  // What is newer a shard need not have seen yet.
  const seconds = durationSeconds(text(cluster, "STORE_SYNC_INTERVAL")) + 120;
  const wanted = wholeBlocks(objects, Date.now() - seconds * 1000);
  const shards = Array.from({ length: number(cluster, "STORE_REPLICAS") }, (_, index) => (
    { kind: "pods" as const, namespace: "monitoring", name: `thanos-store-${index}`, port: 10902 }
  ));
  const answers = await Promise.all(
    shards.map((shard) =>
      readJson<{ data: { blocks: { ulid: string }[] | null } }>(way, shard, BLOCKS)
    ),
  );
  const seen = answers.flatMap(({ data }) => data.blocks ?? []).map(({ ulid }) => ulid);
  const [open] = await ask(
    way,
    PROMETHEUS,
    'sum(thanos_bucket_store_blocks_loaded{job="thanos-store"})',
  );
  return storedProblems(wanted, seen, open && Number(open.value[1]));
}

const BLOCKS = "/api/v1/blocks?view=loaded";

/** Blocks that were whole in the bucket by then (ms), and that nobody has marked for deletion. */
export function wholeBlocks(objects: Listed[], until: number): string[] {
  const named = (file: string) =>
    objects.filter(({ key }) => /^\w{26}\//.test(key))
      .filter(({ key }) => key.slice(27) === file);
  const deleted = new Set(named("deletion-mark.json").map(({ key }) => key.slice(0, 26)));
  return named("meta.json").filter(({ at }) => at <= until).map(({ key }) => key.slice(0, 26))
    .filter((ulid) => !deleted.has(ulid));
}

/** Blocks that Store has not found (`seen`), or found and could not open; `open` is their number. */
export function storedProblems(wanted: string[], seen: string[], open?: number): Finding[] {
  const fix =
    "kubectl -n monitoring logs -l app.kubernetes.io/name=thanos-store | grep -i 'block\\|err'";
  const missing = wanted.filter((ulid) => !seen.includes(ulid));
  if (missing.length > 0) {
    return [{
      what: `Store lacks ${missing.length} of ${wanted.length} blocks of the bucket: ` +
        shortList(missing),
      cause: "its key may not read them, it cannot list the bucket, or a shard is away",
      fix,
    }];
  }
  if (open === undefined || open < seen.length) {
    return [{
      what: `Store has opened ${open ?? "none"} of the ${seen.length} blocks that it has found`,
      cause: "a block is damaged, or the volume of a shard is full",
      fix,
    }];
  }
  return [ok(`all ${wanted.length} blocks of the bucket are in Store`)];
}

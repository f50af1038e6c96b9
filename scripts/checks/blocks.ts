// Checks of blocks of metrics: what Prometheus has cut is in the bucket, and what is there Store can give.
import { type ClusterProxy, type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { shortList } from "../../lib/core/short_list.ts";
import { readJson } from "../../lib/probe/http.ts";
import { listObjects } from "../../lib/s3/bucket.ts";
import { keyOf, s3Of } from "../../lib/s3/client.ts";
import { thanosKey } from "../components/prometheus/access.ts";
import { PROMETHEUS, valueOf } from "./metrics.ts";

const HOUR = 3_600_000;
/** Ms between two blocks at most: one is cut every two hours, the first of a Prometheus after three. */
const LATEST = 3.5 * HOUR;
/** The Compactor deletes a block that it has merged two days later; of older ones nothing is known here. */
const LOOKBACK = 24 * HOUR;

/** Blocks of Prometheus with the time (ms) at which the bucket got each, and that of its oldest sample in none yet. */
export type Upload = { blocks: { ulid: string; uploaded?: number }[]; head?: number };

type Blocks = { data: { blocks: { ulid: string }[] | null } };

/** Every block that Prometheus has cut is in the bucket, and the last one is not too old. */
export async function uploads({ cluster, proxy }: Subject): Promise<Finding> {
  return uploadProblems(await uploadOf(cluster, proxy), Date.now());
}

/** Those of the last day. */
export async function uploadOf(cluster: Cluster, proxy: ClusterProxy): Promise<Upload> {
  const { data } = await readJson<Blocks>(proxy, PROMETHEUS, "/api/v1/status/tsdb/blocks");
  const head = await valueOf(proxy, "min(prometheus_tsdb_head_min_time_seconds)");
  using s3 = s3Of(cluster, { key: keyOf(cluster, thanosKey.program) });
  const bucket = text(cluster, "THANOS_BUCKET");
  const recent = (data.blocks ?? []).filter(({ ulid }) => madeAt(ulid) > Date.now() - LOOKBACK);
  const blocks = await Promise.all(recent.map(async ({ ulid }) => {
    const [meta] = await listObjects(s3, bucket, `${ulid}/meta.json`);
    return { ulid, uploaded: meta?.at };
  }));
  return { blocks, head: head && head * 1000 };
}

/** Blocks that wait, or a last one that is too old. */
export function uploadProblems({ blocks, head = 0 }: Upload, now: number): Finding {
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
  if (now - last <= LATEST) return ok(`the last block was uploaded ${ago(last)} ago`);
  if (blocks.length === 0 && now - head <= LATEST) {
    return ok(`no block yet: the samples are ${ago(head)} old`);
  }
  return {
    what: blocks.length === 0
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
  const fix =
    "kubectl -n monitoring logs -l app.kubernetes.io/name=thanos-store | grep -i 'block\\|err'";
  if (missing.length > 0) {
    return {
      what: `Store lacks ${missing.length} of ${wanted.length} blocks of the bucket: ` +
        shortList(missing),
      cause: "its key may not read them, it cannot list the bucket, or a shard is away",
      fix,
    };
  }
  if (open === undefined || open < found.length) {
    return {
      what: `Store has opened ${open ?? "none"} of the ${found.length} blocks that it has found`,
      cause: "a block is damaged, or the volume of a shard is full",
      fix,
    };
  }
  return ok(`all ${wanted.length} blocks of the bucket are in Store`);
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

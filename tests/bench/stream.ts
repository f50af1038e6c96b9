// The blocks of one cluster, as its sidecar and the Compactor leave them in the bucket after 90 days, and copies of
// them for others. Real ones: promtool writes them, and the Compactor merges them and thins them out.
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { AwsClient } from "aws4fetch";
import { $ } from "zx";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { makeBlocks, withFlags } from "../support/thanos.ts";
import { samplesOf } from "./centre.ts";

const HOUR = 3600, DAY = 24 * HOUR;
/** Of metrics in the bucket. */
const DAYS = 90;
/** Series of a cluster, and seconds between two samples: few, so that the making does not take hours. */
const SERIES = 200, STEP = 600;
/** The metric of all series. */
export const METRIC = "made_up";

/** A bucket on this machine. */
export interface Bucket {
  /** `127.0.0.1:9000` */
  endpoint: string;
  key: { accessKeyId: string; secretAccessKey: string };
}

/** What a program is told of it, for `--objstore.config`. */
export function objstoreOf({ endpoint, key }: Bucket, bucket: string): string {
  const { accessKeyId: access_key, secretAccessKey: secret_key } = key;
  const config = { bucket, endpoint, access_key, secret_key, insecure: true, region: "us-east-1" };
  return stringify({ type: "S3", config: { ...config, bucket_lookup_type: "path" } });
}

/**
 * Makes the blocks of one cluster in `folder`, and gives the folder of each: all of DAYS as the Compactor (its words) has
 * left them, and five of two hours that it has not seen, of which it can merge four.
 */
export async function makeStream(
  folder: string,
  programs: Record<string, string>,
  compact: string[],
): Promise<string[]> {
  const [bucket, fresh] = [join(folder, "bucket"), join(folder, "fresh")];
  for (const path of [bucket, fresh]) await mkdir(path, { recursive: true });
  const aligned = Math.floor((Date.now() / 1000 - 2 * HOUR) / (8 * HOUR)) * 8 * HOUR;
  const newest = { from: aligned - 8 * HOUR, to: aligned + 2 * HOUR };
  const begin = Math.floor(newest.from / (2 * DAY)) * 2 * DAY;
  const make = async (times: { from: number; to: number }, hours: number, into: string) => {
    const samples = join(folder, "samples");
    await writeFile(samples, samplesOf([METRIC], SERIES, { ...times, step: STEP }));
    await makeBlocks(programs.promtool!, samples, into, hours);
  };
  for (let from = begin - DAYS * DAY; from < begin; from += 2 * DAY) {
    await make({ from, to: from + 2 * DAY }, 54, bucket);
  }
  if (begin < newest.from) await make({ from: begin, to: newest.from }, 2, bucket);
  await make(newest, 2, fresh);
  for (const path of [bucket, fresh]) {
    for (const block of await readdir(path)) await label(join(path, block));
  }
  const words = withFlags(compact.filter((word) => word !== "--wait"), {
    "--objstore.config-file": undefined,
    "--objstore.config": stringify({ type: "FILESYSTEM", config: { directory: bucket } }),
    "--data-dir": join(folder, "compact"),
    "--http-address": "127.0.0.1:0",
    "--wait-interval": undefined,
    "--log.level": "error",
    // These blocks were made a moment ago, and what is merged may go at once.
    "--consistency-delay": "0s",
    "--delete-delay": "0s",
  });
  // The second run deletes what the first has marked.
  for (let run = 0; run < 3; run++) await $({ quiet: true })`${programs.thanos} ${words}`;
  await rm(join(folder, "compact"), { recursive: true });
  const blocks = (await readdir(bucket)).filter((name) => name.length === ULID);
  return [...blocks.map((name) => join(bucket, name))]
    .concat((await readdir(fresh)).map((name) => join(fresh, name)));
}

/** What the sidecar adds to a block. */
async function label(block: string): Promise<void> {
  const path = join(block, "meta.json");
  const meta = JSON.parse(await readFile(path, "utf8"));
  const thanos = { labels: { cluster: "x" }, downsample: { resolution: 0 }, source: "sidecar" };
  await writeFile(path, JSON.stringify({ ...meta, thanos: { version: 1, ...thanos } }));
}

const ULID = 26;
const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The name of the copy of a block for the stream of that number, made at this time (ms). */
function nameFor(name: string, stream: number, made: number): string {
  let [time, rest] = ["", made];
  for (let digit = 0; digit < 10; digit++, rest = Math.floor(rest / 32)) {
    time = CROCKFORD[rest % 32] + time;
  }
  return time + name.slice(10, -1) + CROCKFORD[stream];
}

/** Puts the blocks into a new bucket, once for each stream (32 at the most) of these labels. */
export async function fillBucket(
  { endpoint, key }: Bucket,
  bucket: string,
  blocks: string[],
  streams: Record<string, string>[],
): Promise<void> {
  const client = new AwsClient({ ...key, service: "s3", region: "us-east-1" });
  const put = async (path: string, body?: BodyInit) => {
    const url = `http://${endpoint}/${bucket}${path}`;
    const answer = await client.fetch(url, { method: "PUT", body });
    await answer.body?.cancel();
    if (!answer.ok) throw new Error(`PUT ${url}: ${answer.status}`);
  };
  await put("");
  const copies = blocks.flatMap((block) =>
    [...streams.entries()].map((stream) => ({ block, stream }))
  );
  await sideBySide(copies, 8, async ({ block, stream: [number, labels] }) => {
    const meta = JSON.parse(await readFile(join(block, "meta.json"), "utf8"));
    const ulid = nameFor(meta.ulid, number, meta.maxTime);
    // Sources are compared without a look at the stream.
    const sources = meta.compaction.sources.map((one: string) =>
      nameFor(one, number, meta.minTime)
    );
    const compaction = { level: meta.compaction.level, sources };
    const files = [
      "index",
      ...(await readdir(join(block, "chunks"))).map((one) => `chunks/${one}`),
    ];
    for (const file of files) await put(`/${ulid}/${file}`, await Deno.readFile(join(block, file)));
    const thanos = { ...meta.thanos, labels };
    await put(`/${ulid}/meta.json`, JSON.stringify({ ...meta, ulid, compaction, thanos }));
  });
}

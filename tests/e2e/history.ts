// A hundred days of made-up samples for a cluster, as blocks in the bucket: what a system that has
// run for months holds. The metric's value is its own timestamp, so every answer can be checked.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { $ } from "zx";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { objstoreSecret } from "../../scripts/components/prometheus/objects.ts";

const { promtool, thanos } = await ensureTools(["promtool", "thanos"]);

const HOUR = 3600;
const DAY = 24 * HOUR;
/** Length of the blocks from which 5m samples are made. */
const WINDOW = 2 * DAY;
/** Seconds between two samples. */
const STEP = 120;

/** The name of the metric. */
export const METRIC = "e2e_history";

/**
 * Label that sets these blocks apart from a cluster's own: they are compacted alone and never
 * overlap with those. One stream a day, so that a run on another day finds nothing half old.
 */
export const STREAM = `e2e-${new Date().toISOString().slice(0, 10)}`;

/** Start and end of the history, in seconds; on window borders, the end some days ago. */
export function span(now = Date.now() / 1000): { from: number; to: number } {
  const to = Math.floor((now - 3 * DAY) / WINDOW) * WINDOW;
  return { from: to - 100 * DAY, to };
}

/** Writes the blocks of one cluster to the bucket, the last window in blocks of two hours. */
export async function uploadHistory(cluster: Cluster): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "history-"));
  try {
    const blocks = join(folder, "blocks");
    await mkdir(blocks);
    const { from, to } = span();
    for (let start = from; start < to; start += WINDOW) {
      const input = join(folder, "samples.om");
      await writeFile(input, samples(start, start + WINDOW));
      const longest = start + WINDOW < to ? "20d" : "2h";
      await $({ quiet: true })`
        ${promtool} tsdb create-blocks-from openmetrics --quiet --max-block-duration=${longest} ${input} ${blocks}`;
    }
    const labels = [
      `cluster="${text(cluster, "CLUSTER_NAME")}"`,
      `region="${text(cluster, "REGION")}"`,
      `prometheus_replica="${STREAM}"`,
    ];
    // The configuration holds the keys: it goes through a pipe.
    await $({ quiet: true, input: objstore(cluster) })`
      ${thanos} tools bucket upload-blocks --path=${blocks} ${
      labels.map((label) => `--label=${label}`)
    } \
        --objstore.config-file=/dev/stdin`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function samples(from: number, to: number): string {
  const lines = [`# TYPE ${METRIC} gauge`];
  for (let at = from; at < to; at += STEP) lines.push(`${METRIC} ${at} ${at}`);
  return [...lines, "# EOF", ""].join("\n");
}

/** The objstore.yml of a cluster as its programs get it, with the CA's path on this machine. */
function objstore(cluster: Cluster): string {
  const secret = objstoreSecret(cluster);
  const config = parse(atob(secret.data["objstore.yml"]));
  const tls = config.config.http_config?.tls_config;
  if (tls) tls.ca_file = projectPath(text(cluster, "S3_CA_FILE"));
  return stringify(config);
}

/** A block of the bucket, as its meta.json says; times in milliseconds. */
export interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  compaction: { level: number };
  thanos: { labels: Record<string, string>; downsample: { resolution: number }; source: string };
}

/** Blocks of the bucket that are not marked for deletion. */
export async function blocks(cluster: Cluster): Promise<Block[]> {
  const { stdout } = await $({ quiet: true, input: objstore(cluster) })`
    ${thanos} tools bucket ls --output=json --exclude-delete --objstore.config-file=/dev/stdin`;
  // One indented JSON object after the other.
  return stdout.split(/^}$/m).filter((text) => text.trim()).map((text) => JSON.parse(`${text}}`));
}

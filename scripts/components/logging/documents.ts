// What OpenSearch is told about log indices: how they are made, when they move to S3, when they go.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { Json } from "../../../lib/opensearch/client.ts";

/** Names that Fluent Bit writes to, one index per stream and UTC day. */
export const LOG_INDICES = ["logs-k8s-*", "logs-host-*"];
/** The repository that both policies name. */
export const REPOSITORY = "opensearch-logs";
/** The policy that log indices are under. */
export const POLICY = "logs-retention";
/** The policy that deletes old snapshots. */
export const SNAPSHOT_POLICY = "logs-snapshots";

/** Copies of every index: none on a single node, which could not hold them. */
export function replicas(cluster: Cluster): number {
  return number(cluster, "OPENSEARCH_NODES") > 1 ? 1 : 0;
}

/** Settings and fields of a log index; in force for indices made after it. */
export function indexTemplate(cluster: Cluster): Json {
  return {
    index_patterns: LOG_INDICES,
    priority: 100,
    template: {
      settings: {
        number_of_shards: number(cluster, "LOG_SHARDS"),
        number_of_replicas: replicas(cluster),
        refresh_interval: "10s",
        codec: "best_compression",
        "mapping.ignore_malformed": true,
      },
      mappings: {
        // What a writer may name as it likes is stored, and found through the text: mapped, its first type
        // would refuse the lines of all who mean another, and the thousand-and-first name its line.
        dynamic: false,
        properties: {
          "@timestamp": { type: "date_nanos" }, // keeps the order of lines within a millisecond
          log: LOG_TEXT,
          message: LOG_TEXT,
          cluster: WORD,
          stream: WORD,
          kubernetes: {
            properties: {
              labels: { type: "flat_object" }, // one field, however many labels there are
              ...words("namespace_name pod_name container_name container_image host"),
              ...words("pod_id pod_ip docker_id container_hash"),
            },
          },
          // Of files, and of the journal what people and its own tools search by.
          ...words("path hostname machine_id boot_id priority transport facility"),
          ...words(
            "systemd_unit systemd_slice systemd_user_unit unit user_unit object_systemd_unit",
          ),
          ...words("syslog_identifier syslog_facility syslog_pid pid uid gid comm exe cmdline"),
          ...words("message_id code_file code_func code_line errno job_type job_result"),
          ...words("container_tag image_name audit_session selinux_context tid"),
        },
      },
    },
  };
}

/** Text, also in pairs of Korean, Chinese and Japanese letters: a word is found whatever particle follows. */
const LOG_TEXT = {
  type: "text",
  fields: { cjk: { type: "text", analyzer: "cjk", norms: false } },
};
/** Longer values could not be a term: Lucene would refuse the whole line. */
const WORD = { type: "keyword", ignore_above: 1024 };

function words(names: string): Json {
  return Object.fromEntries(names.split(" ").map((name) => [name, WORD]));
}

/** The bucket as a snapshot repository; one path has one writing cluster. */
export function repository(cluster: Cluster): Json {
  return {
    type: "s3",
    settings: {
      bucket: text(cluster, "OPENSEARCH_BUCKET"),
      base_path: text(cluster, "S3_BASE_PATH"),
      client: "default",
      // 3.8 encrypts by itself, which MinIO without a KMS refuses (OpenSearch#22729).
      server_side_encryption_type: "bucket_default",
      // Else shards lie under hashes outside of base_path (OpenSearch#20643).
      shard_path_type: "FIXED",
      // Its own default client (CRT) trusts the system's CAs only, and a private CA is in the JVM's
      // truststore: deletes then time out after 30 s (OpenSearch#20501).
      s3_async_client_type: "netty",
      compress: true,
      max_snapshot_bytes_per_sec: "40mb",
      max_restore_bytes_per_sec: "40mb",
    },
  };
}

/** Index to S3 at LOG_RETENTION, then deleted; it stays when the snapshot does not succeed. */
export function indexPolicy(cluster: Cluster): Json {
  return {
    description: "A log index goes to S3 as a snapshot and is then deleted",
    default_state: "hot",
    states: [
      {
        name: "hot",
        actions: [],
        transitions: [{
          state_name: "snapshot",
          conditions: { min_index_age: age(cluster, "LOG_RETENTION") },
        }],
      },
      {
        name: "snapshot",
        actions: [{
          timeout: "12h",
          // ISM's own retries ask after the same failed snapshot; the keeper's take a new one.
          retry: { count: 1, backoff: "constant", delay: "1m" },
          snapshot: { repository: REPOSITORY, snapshot: "{{ctx.index}}" },
        }],
        transitions: [{ state_name: "delete" }],
      },
      {
        name: "delete",
        actions: [{
          timeout: "1h",
          retry: { count: 5, backoff: "exponential", delay: "10m" },
          delete: {},
        }],
        transitions: [],
      },
    ],
    ism_template: [{ index_patterns: LOG_INDICES, priority: 100 }],
  };
}

/** Deletes the snapshots that the index policy makes at LOG_SNAPSHOT_RETENTION. */
export function snapshotPolicy(cluster: Cluster): Json {
  return {
    description: "Log snapshots are deleted from S3 when they are old",
    enabled: true,
    snapshot_config: { repository: REPOSITORY },
    deletion: {
      schedule: { cron: nightOf(text(cluster, "TIMEZONE")) },
      condition: { max_age: age(cluster, "LOG_SNAPSHOT_RETENTION"), min_count: 1 },
      time_limit: "1h",
      // Without it only snapshots of this policy's own making would count.
      snapshot_pattern: "logs-*",
    },
  };
}

/** 03:30 of a site; where its people read UTC, as by default, that of Korea. */
function nightOf(timezone: string): Json {
  return { expression: timezone === "UTC" ? "30 18 * * *" : "30 3 * * *", timezone };
}

/** A duration as OpenSearch reads it: it has no weeks. */
function age(cluster: Cluster, name: string): string {
  const value = text(cluster, name);
  return value.endsWith("w") ? `${durationSeconds(value) / 86400}d` : value;
}

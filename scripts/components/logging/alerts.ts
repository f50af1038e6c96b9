// The rules of 40-logging whose thresholds are settings: how old indices and snapshots may become,
// and how long the buffer of Fluent Bit lasts.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { REPOSITORY } from "./documents.ts";

const CREATED = 'opensearch_indices_settings_creation_timestamp_seconds{index=~"logs-.*"}';
const OF_REPOSITORY = `{repository="${REPOSITORY}"}`;

/** Alerts on ages that are settings, and the time that LOG_BUFFER lasts as a metric. */
export function logAlerts(cluster: Cluster): Manifest {
  const rules = [...ageAlerts(cluster), ...bufferLeft(cluster)];
  const version = text(cluster, "OPENSEARCH_VERSION");
  const labels = labelsOf({ name: "logging", component: "alerts", partOf: "logging", version });
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "logging-ages", namespace: "logging", labels },
    spec: { groups: [{ name: "logging-ages", rules }] },
  };
}

function ageAlerts(cluster: Cluster) {
  const retention = text(cluster, "LOG_RETENTION");
  const ofSnapshots = text(cluster, "LOG_SNAPSHOT_RETENTION");
  const seconds = (age: string, more: string) => durationSeconds(age) + durationSeconds(more);
  return [{
    alert: "OpenSearchIndexStuck",
    expr: `time() - ${CREATED} > ${seconds(retention, "2d")}`,
    for: "6h",
    labels: { severity: "critical" },
    annotations: {
      summary: "{{ $labels.index }} should have gone to S3",
      description: `It is two days older than LOG_RETENTION (${retention}) ` +
        "and still here: it is under no policy, or its snapshot fails.",
    },
  }, {
    alert: "OpenSearchSnapshotStale",
    // Without an index that is due, as on a new cluster, no snapshot is right. `unless`, because
    // without S3 there is no such metric.
    expr: `max(time() - ${CREATED}) > ${seconds(retention, "1d")} unless on () ` +
      `time() - opensearch_snapshot_stats_latest_snapshot_timestamp_seconds${OF_REPOSITORY} < 172800`,
    for: "1h",
    labels: { severity: "critical" },
    annotations: {
      summary: "No log snapshot for two days, though one is due",
      description: `An index is a day older than LOG_RETENTION (${retention}), ` +
        "and none at all has reached S3 since. The volume fills.",
    },
  }, {
    alert: "OpenSearchSnapshotRetentionStuck",
    // 0 means that there is none.
    // It is scraped every four minutes, and one that fails must not begin the day again.
    expr:
      `time() - (max_over_time(opensearch_snapshot_stats_oldest_snapshot_timestamp${OF_REPOSITORY}[15m]) != 0) ` +
      `> ${seconds(ofSnapshots, "5d")}`,
    for: "1d",
    labels: { severity: "warning" },
    annotations: {
      summary: "Old log snapshots are not deleted from S3",
      description: "The oldest is {{ $value | humanizeDuration }} old, five days more than " +
        `LOG_SNAPSHOT_RETENTION (${ofSnapshots}); the bucket grows.`,
    },
  }].map(({ annotations, ...rule }) => {
    const runbook_url = `${text(cluster, "RUNBOOK_URL")}/logs.md#${rule.alert.toLowerCase()}`;
    return { ...rule, annotations: { ...annotations, runbook_url } };
  });
}

/**
 * What comes in for each output, and how long it can go on without OpenSearch at the mean of what is there
 * of the last three hours. Delivered bytes count, and what the buffer grew by: in an outage nothing else
 * moves, and after it the delivery of what had waited is no new load. irate, because rate() divides by its
 * whole window what has been counted only since a restart.
 */
function bufferLeft(cluster: Cluster) {
  const window = text(cluster, "RATE_WINDOW");
  const buffer = text(cluster, "LOG_BUFFER");
  // As Fluent Bit reads it, which counts in thousands.
  const bytes = Number.parseInt(buffer) * (buffer.endsWith("G") ? 1e9 : 1e6);
  const delivered = `sum by (node, name) (irate(fluentbit_output_proc_bytes_total[${window}]))`;
  const room = "fluentbit_output_chunk_available_capacity_percent";
  return [{
    record: "fluentbit_buffer_arriving_bytes",
    expr: `${delivered} - ${bytes / 100} * min by (node, name) (deriv(${room}[${window}]))`,
  }, {
    record: "fluentbit_buffer_left_seconds",
    expr: `${bytes / 100} * min by (node, name) (${room}) ` +
      "/ (avg_over_time(fluentbit_buffer_arriving_bytes[3h]) > 0)",
  }];
}

// The schedule on which Longhorn backs up its volumes to S3, and the alert about what it misses.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest } from "../../../lib/core/object.ts";

/** The job that backs up every volume; none with LONGHORN_BACKUP_CRON=never. */
export function backupJobs(cluster: Cluster): Manifest[] {
  const cron = text(cluster, "LONGHORN_BACKUP_CRON");
  if (cron === "never") return [];
  const name = "backup";
  return [{
    apiVersion: "longhorn.io/v1beta2",
    kind: "RecurringJob",
    metadata: {
      name,
      namespace: "longhorn-system",
      labels: labels(cluster, name),
    },
    // Longhorn's webhook fills in what is left out, and every apply would find a difference.
    spec: {
      name,
      task: "backup",
      cron,
      retain: number(cluster, "LONGHORN_BACKUP_RETAIN"),
      concurrency: 1,
      // Every volume that has no job of its own.
      groups: ["default"],
      labels: {},
      parameters: {},
    },
  }];
}

/**
 * The alert about attached volumes, which are those that the job backs up, whose last backup is older than
 * the longest pause between two runs and a day, or that have none and are older themselves.
 */
export function backupAlerts(cluster: Cluster): Manifest[] {
  const cron = text(cluster, "LONGHORN_BACKUP_CRON");
  if (cron === "never") return [];
  const days = daysBetween(cron) + 1;
  const last = "max by (volume, pvc) (longhorn_volume_last_backup_at)";
  const created = 'max by (volume) (label_replace(kube_persistentvolume_created, "volume", "$1", ' +
    '"persistentvolume", "(.*)"))';
  const rule = {
    alert: "LonghornBackupTooOld",
    expr: `time() - (${last} > 0 or (${last} == 0) + on (volume) group_left () ${created}) ` +
      `> ${days * 86400} and on (volume) longhorn_volume_state{state="attached"} == 1`,
    for: "1h",
    labels: { severity: "warning" },
    annotations: {
      summary: "Volume {{ $labels.volume }} ({{ $labels.pvc }}) has no backup of the last " +
        `${days} days`,
      description:
        "Its last one, or without any its beginning, is {{ $value | humanizeDuration }} " +
        `ago; LONGHORN_BACKUP_CRON (${cron}) wants more.`,
      runbook_url: `${text(cluster, "RUNBOOK_URL")}/storage.md#longhornbackuptooold`,
    },
  };
  return [{
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: {
      name: "longhorn-backup-age",
      namespace: "longhorn-system",
      labels: labels(cluster, "storage"),
    },
    spec: { groups: [{ name: "longhorn-backup-age", rules: [rule] }] },
  }];
}

/** Days between two runs of a cron line at most, by the coarsest field that it limits. */
export function daysBetween(cron: string): number {
  const [day, month, weekday] = cron.split(" ").slice(2).map((field) => !/^[*?]$/.test(field));
  if (month) return 366;
  if (day) return 31;
  return weekday ? 7 : 1;
}

function labels(cluster: Cluster, component: string): Record<string, string> {
  return labelsOf({
    name: "longhorn",
    component,
    partOf: "storage",
    version: text(cluster, "LONGHORN_VERSION"),
  });
}

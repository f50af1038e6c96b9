// The schedule on which Longhorn backs up its volumes to S3.
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
      labels: labelsOf({
        name: "longhorn",
        component: name,
        partOf: "storage",
        version: text(cluster, "LONGHORN_VERSION"),
      }),
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

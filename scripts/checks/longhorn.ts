// Checks of Longhorn, where it is ours.
import { type Finding, note, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { liveObjects } from "../../lib/kube/list.ts";
import { backupTargetMissing } from "../components/longhorn/ladder.ts";
import { daysBetween, LONGHORN_NAMESPACE } from "../components/longhorn/objects.ts";

const HOUR = 3_600_000, DAY = 24 * HOUR;

/** Longhorn itself says that it reaches its backups, and has looked a moment ago. */
export const backupTarget = backupTargetSince();

/** The same, where Longhorn has to have looked after that time (ms), as of `Date.now()`. */
export function backupTargetSince(since?: number) {
  return async ({ cluster }: Subject): Promise<Finding> => {
    if (text(cluster, "STORAGE") === "existing") return note("none: STORAGE=existing");
    const [missing] = await backupTargetMissing(cluster, since ?? Date.now() - 4 * POLL);
    if (!missing) return ok("Longhorn reaches it");
    return {
      what: missing,
      cause: "S3 is away from inside the cluster, or the key of LONGHORN_BUCKET is another one now",
      fix: `make 00-minio CLUSTER=${cluster.id}, then make 10-longhorn CLUSTER=${cluster.id}`,
      patience: (POLL + 60_000) / 1000,
    };
  };
}

/** Ms between two looks of Longhorn at its backups. */
const POLL = 300_000;

/** Every volume that is in use has a backup that is not too old. */
export async function backups({ cluster }: Subject): Promise<Finding | Finding[]> {
  if (text(cluster, "STORAGE") === "existing") return note("none: STORAGE=existing");
  if (text(cluster, "LONGHORN_BACKUP_CRON") === "never") {
    return note("none: LONGHORN_BACKUP_CRON=never");
  }
  const kinds = "volumes.longhorn.io,engines.longhorn.io";
  const live = await liveObjects(cluster, kinds, LONGHORN_NAMESPACE);
  return backupProblems(live, cluster, Date.now());
}

/**
 * Volumes that LONGHORN_BACKUP_CRON should have backed up twice by now (ms), and whose last backup is older. Of
 * one without new data Longhorn makes no new one; their engines know that.
 */
export function backupProblems(live: Manifest[], cluster: Cluster, now: number): Finding[] {
  const idle = new Set(
    live.filter(({ status }) => status?.snapshots?.["volume-head"]?.size === "0")
      .map(({ spec }) => spec.volumeName),
  );
  const volumes = live.filter(({ kind }) => kind === "Volume");
  const limit = 2 * daysBetween(text(cluster, "LONGHORN_BACKUP_CRON")) * DAY;
  const due = volumes.filter((volume) =>
    isBackedUp(volume) && volume.status?.state === "attached" &&
    now - Date.parse(volume.metadata.creationTimestamp!) > limit
  );
  const ages = due.map(({ status }) => now - Date.parse(status.lastBackupAt || "1970-01-01"));
  const late = due.filter(({ metadata, status }, index) =>
    ages[index]! > limit && !(status.lastBackupAt && idle.has(metadata.name))
  );
  if (late.length === 0) {
    const oldest = `, the oldest ${(Math.max(...ages) / HOUR).toFixed(0)} hours ago`;
    return [
      ok(`${due.length} volumes have one${due.length > 0 ? oldest : ": none is old enough"}`),
    ];
  }
  return late.map(({ metadata: { name }, status }) => {
    const { namespace, pvcName } = status.kubernetesStatus ?? {};
    const last = status.lastBackupAt ? `since ${status.lastBackupAt}` : "at all";
    return {
      what: `volume ${pvcName ? `${namespace}/${pvcName}` : name} has no backup ${last}`,
      cause: "its backups fail, or the job that makes them does not run",
      fix: `kubectl -n ${LONGHORN_NAMESPACE} get backups.longhorn.io,recurringjobs.longhorn.io; ` +
        `kubectl -n ${LONGHORN_NAMESPACE} logs -l recurring-job.longhorn.io=backup --tail=20`,
    };
  });
}

/** Whether the job backs it up: by its labels, or as one without any. */
function isBackedUp({ metadata: { labels = {} } }: Manifest): boolean {
  const own = Object.keys(labels).filter((name) => name.startsWith("recurring-job"));
  return own.length === 0 || own.includes("recurring-job.longhorn.io/backup") ||
    own.includes("recurring-job-group.longhorn.io/default");
}

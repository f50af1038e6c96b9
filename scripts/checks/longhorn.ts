// Checks of Longhorn, where it is ours.
import { type Finding, type Findings, note, ok, type Subject } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
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

/**
 * Every volume that is in use, and that LONGHORN_BACKUP_CRON should have backed up twice by now, has a backup that is
 * not too old. Of one without new data Longhorn makes no new one; their engines know that.
 */
export async function backups({ cluster }: Subject): Promise<Findings> {
  if (text(cluster, "STORAGE") === "existing") return note("none: STORAGE=existing");
  const cron = text(cluster, "LONGHORN_BACKUP_CRON");
  if (cron === "never") return note("none: LONGHORN_BACKUP_CRON=never");
  const kinds = "volumes.longhorn.io,engines.longhorn.io";
  const live = await liveObjects(cluster, kinds, LONGHORN_NAMESPACE);
  const idle = new Set(
    live.filter(({ status }) => status?.snapshots?.["volume-head"]?.size === "0")
      .map(({ spec }) => spec.volumeName),
  );
  const limit = 2 * daysBetween(cron) * DAY;
  const age = (time: string) => Date.now() - Date.parse(time);
  const ageOfBackup = ({ status }: Manifest) => age(status.lastBackupAt || "1970-01-01");
  const due = live.filter((volume) =>
    volume.kind === "Volume" && isBackedUp(volume) && volume.status?.state === "attached" &&
    age(volume.metadata.creationTimestamp!) > limit
  );
  const late = due.filter((volume) =>
    ageOfBackup(volume) > limit && !(volume.status.lastBackupAt && idle.has(volume.metadata.name))
  );
  if (due.length === 0) return ok("0 volumes have one: none is old enough");
  if (late.length === 0) {
    const hours = (Math.max(...due.map(ageOfBackup)) / HOUR).toFixed(0);
    return ok(`${due.length} volumes have one, the oldest ${hours} hours ago`);
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

// Backups of volumes: which, when, the alert about a missing one, and one as a volume again. Longhorn's job takes the
// volumes of a group; a volume joins by a label on Longhorn's own object, for templates of claims cannot change later.
import { createHash } from "node:crypto";
import { apply } from "../../../lib/apply/apply.ts";
import type { Inventory } from "../../../lib/apply/inventory.ts";
import { namedOf } from "../../../lib/apply/live.ts";
import { unready } from "../../../lib/apply/readiness.ts";
import { type Cluster, list, text } from "../../../lib/core/cluster.ts";
import { cronInUtc, daysBetween } from "../../../lib/core/time.ts";
import { notReadyError, refusalError } from "../../../lib/core/error.ts";
import { idOf, type Manifest, OWNER } from "../../../lib/core/object.ts";
import { differing, type Resource, type Resources } from "../../../lib/core/resource.ts";
import type { Change } from "../../../lib/io/report.ts";
import { until } from "../../../lib/io/wait.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { conditionOf, liveObjects } from "../../../lib/kube/api.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { LONGHORN_NAMESPACE } from "./objects.ts";

/** The job that backs up the volumes of LONGHORN_BACKUP_CLAIMS; none with LONGHORN_BACKUP_CRON=never. */
export function backupJobs(cluster: Cluster): Manifest[] {
  const cron = text(cluster, "LONGHORN_BACKUP_CRON");
  if (cron === "never") return [];
  // A rule of the settings holds that there is one.
  const BACKUP_CRON = cronInUtc(cron, text(cluster, "TIMEZONE"), new Date())!;
  return [renderFile("longhorn/backup-job.yaml", cluster, { BACKUP_CRON })];
}

/** Whether LONGHORN_BACKUP_CLAIMS chooses the claim of a volume of Longhorn. */
export function isChosen(cluster: Cluster, volume: Manifest): boolean {
  const claims = list(cluster, "LONGHORN_BACKUP_CLAIMS").map(anyText).join("|");
  return new RegExp(`^(${claims})$`).test(claimOf(volume));
}

/** The claim of a volume of Longhorn as `namespace/name`, also one that is gone; empty without any. */
export function claimOf({ status }: Manifest): string {
  const { namespace, pvcName } = status?.kubernetesStatus ?? {};
  return pvcName ? `${namespace}/${pvcName}` : "";
}

// No backslash, which PromQL would take for its own.
function anyText(pattern: string): string {
  return pattern.replaceAll(".", "[.]").replaceAll("*", ".*");
}

const IN_GROUP = `recurring-job-group.longhorn.io/${OWNER}`;

async function misplaced(cluster: Cluster) {
  const volumes = await liveObjects(cluster, "volumes.longhorn.io", LONGHORN_NAMESPACE);
  return volumes.map((volume) => ({
    name: volume.metadata.name,
    claim: claimOf(volume),
    isIn: volume.metadata.labels?.[IN_GROUP] === "enabled",
    isWanted: isChosen(cluster, volume),
  })).filter(({ isIn, isWanted }) => isIn !== isWanted);
}

const inGroup: Resource<Cluster> = {
  id: `BackupGroup/${LONGHORN_NAMESPACE}/${OWNER}`,
  async look(cluster) {
    const words = (is: boolean) => is ? "backed up" : "left out";
    return differing((await misplaced(cluster)).map(({ claim, isIn, isWanted }) => (
      { path: claim, old: words(isIn), now: words(isWanted) }
    )));
  },
  async put(cluster) {
    const astray = await misplaced(cluster);
    for (const { name, isWanted } of astray) {
      const label = isWanted ? `${IN_GROUP}=enabled` : `${IN_GROUP}-`;
      const words = ["label", "--overwrite", "volumes.longhorn.io", name, label];
      await kubectl([...words, "-n", LONGHORN_NAMESPACE], { cluster }).catch((error) => {
        // One that is gone meanwhile needs none.
        if (!/\(NotFound\)/.test(error.stderr)) throw error;
      });
    }
    return astray.length > 0;
  },
};

/** The volumes of the job's group are the chosen ones; those that are there by now. */
export const backupGroup: Resources<Cluster> = {
  title: "Volumes to back up",
  live: true,
  of: (cluster) =>
    text(cluster, "STORAGE") === "longhorn" && backupJobs(cluster).length > 0 ? [inGroup] : [],
};

/** The alert about volumes whose backup is missing, and the series that it and people look at. */
export function backupAlerts(cluster: Cluster): Manifest[] {
  const cron = text(cluster, "LONGHORN_BACKUP_CRON");
  if (cron === "never" || text(cluster, "STORAGE") !== "longhorn") return [];
  const days = daysBetween(cron) + 1;
  const chosen = list(cluster, "LONGHORN_BACKUP_CLAIMS").map((claim) => {
    const [namespace, name] = claim.split("/").map(anyText);
    return `longhorn_volume_last_backup_at{pvc_namespace=~"${namespace}",pvc=~"${name}"}`;
  });
  const computed = { CHOSEN: chosen.join(" or "), DAYS: days, SECONDS: days * 86400 };
  return [renderFile("longhorn/backup-age.yaml", cluster, computed)];
}

/** Whole backups of volumes that had a claim (`namespace/name`), newest first; `at` in ISO 8601 and UTC. */
export async function backupsOf(cluster: Cluster) {
  const live = await liveObjects(cluster, "backups.longhorn.io", LONGHORN_NAMESPACE);
  const whole = live.filter(({ status }) => status?.state === "Completed");
  const backups = whole.flatMap(({ metadata: { name }, status }) => {
    // What Longhorn knew of the claim is JSON in a label of the backup.
    const { namespace, pvcName } = JSON.parse(status.labels?.KubernetesStatus || "{}");
    if (!namespace || !pvcName) return [];
    const at: string = status.snapshotCreatedAt || status.backupCreatedAt || "";
    const url: string = status.url;
    return [{ name, claim: `${namespace}/${pvcName}`, at, bytes: Number(status.volumeSize), url }];
  });
  return backups.sort((a, b) => b.at.localeCompare(a.at));
}

/** A volume of that age, whole and on S3. */
export type Backup = Awaited<ReturnType<typeof backupsOf>>[number];

type RestoreTarget = { namespace: string; name: string; storageClass: string; replicas: number };

/** Longhorn's volume; then its PersistentVolume and the claim. Their names are the same again, so a cut off run goes on. */
export function restoredObjects(cluster: Cluster, backup: Backup, target: RestoreTarget) {
  const { namespace: NAMESPACE, name: NAME, storageClass: CLASS, replicas: REPLICAS } = target;
  const hash = createHash("sha256").update(`${backup.name} ${NAMESPACE}/${NAME}`).digest("hex");
  const names = {
    VOLUME: `restored-${hash.slice(0, 16)}`,
    NAMESPACE,
    NAME,
    CLASS,
    URL: backup.url,
  };
  // Amounts are texts to Kubernetes; Longhorn wants a number.
  const amounts = { BYTES: String(backup.bytes), REPLICAS, COPIES: String(REPLICAS) };
  const [volume, ...claimed]: [Manifest, ...Manifest[]] =
    renderFile("longhorn/restored.yaml", cluster, { ...names, ...amounts }).items;
  return { volume, claimed };
}

/** Restores to a claim that is not there yet. Throws exit 4 if it has another volume, 7 when Longhorn gives up. */
export async function restoreVolume(
  inventory: Inventory,
  backup: Backup,
  target: RestoreTarget,
  say: (missing: string) => void,
): Promise<Change[]> {
  const { cluster } = inventory;
  const { volume, claimed } = restoredObjects(cluster, backup, target);
  const claims = await liveObjects(cluster, "persistentvolumeclaims", target.namespace);
  const there = claims.find(({ metadata }) => metadata.name === target.name);
  if (there && there.spec.volumeName !== volume.metadata.name) {
    throw refusalError(`Cannot restore: claim ${target.namespace}/${target.name} is there`, {
      fix:
        "add AS=another-name to restore beside it; to replace it, stop its pods and delete the " +
        "claim first: docs/longhorn.md#restore-a-volume",
    });
  }
  const changes = await apply(inventory, [volume]);
  const patience = { seconds: 6 * 3600, every: 5, say }; // a large volume over a slow line
  await until("Longhorn to restore the volume", () => unrestored(cluster, volume), patience);
  changes.push(...await apply(inventory, claimed));
  await until("the claim to be bound", () => unready(cluster, claimed), { seconds: 60, say });
  return changes;
}

async function unrestored(cluster: Cluster, volume: Manifest): Promise<string[]> {
  const live = (await namedOf(cluster, [volume])).get(idOf(volume));
  const { name } = volume.metadata;
  if (!live?.status) return [`volume ${name}: Longhorn has not seen it yet`];
  const restore = conditionOf(live, "Restore"), scheduled = conditionOf(live, "Scheduled");
  if (restore?.reason === "RestoreFailure") {
    throw notReadyError(`Longhorn cannot restore volume ${name}`, {
      where: restore.message || restore.reason,
      fix:
        `kubectl -n ${LONGHORN_NAMESPACE} describe volumes.longhorn.io ${name}; mend the cause, delete ` +
        "that volume, then run again, or take an older BACKUP",
    });
  }
  if (live.status.restoreInitiated && !live.status.restoreRequired) return [];
  const why = scheduled?.status === "False" ? scheduled.message || scheduled.reason : undefined;
  return [`volume ${name}: ${why ?? restore?.reason ?? live.status.state ?? "not started"}`];
}

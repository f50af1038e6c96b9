// Backups of volumes on S3, and one of them as a volume again. Everything is asked of Longhorn's own
// objects: it alone reads its store.
import { createHash } from "node:crypto";
import { apply } from "../../../lib/apply/apply.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import type { Inventory } from "../../../lib/apply/inventory.ts";
import { namedOf } from "../../../lib/apply/live.ts";
import { conditionOf, liveObjects } from "../../../lib/kube/list.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { unready } from "../../../lib/apply/readiness.ts";
import type { Change } from "../../../lib/io/report.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { until } from "../../../lib/io/wait.ts";
import { LONGHORN_NAMESPACE } from "./objects.ts";

/**
 * The backups that can be restored, newest first: the claim (`namespace/name`) that the volume had then, when it was
 * taken (ISO 8601 in UTC), its size in bytes. Of a volume that never had a claim there are none.
 */
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

/** Where a backup goes to. */
export interface RestoreTarget {
  namespace: string;
  name: string;
  storageClass: string;
  /** Copies of the volume. */
  replicas: number;
}

/**
 * Longhorn's volume; then its PersistentVolume and the claim. The names follow from backup and target, so that a run
 * that was cut off goes on.
 */
export function restoredObjects(
  cluster: Cluster,
  { name: backup, url: URL, bytes }: Backup,
  { namespace: NAMESPACE, name: NAME, storageClass: CLASS, replicas: REPLICAS }: RestoreTarget,
): { volume: Manifest; claimed: Manifest[] } {
  const hash = createHash("sha256").update(`${backup} ${NAMESPACE}/${NAME}`).digest("hex");
  const names = { VOLUME: `restored-${hash.slice(0, 16)}`, NAMESPACE, NAME, CLASS, URL };
  // Amounts are texts to Kubernetes; Longhorn wants a number.
  const amounts = { BYTES: String(bytes), REPLICAS, COPIES: String(REPLICAS) };
  const [volume, ...claimed] =
    renderFile("longhorn/restored.yaml", cluster, { ...names, ...amounts }).items;
  return { volume, claimed };
}

/** Seconds that a restore may take: a large volume over a slow line. */
const PATIENCE = 6 * 3600;

/**
 * Restores a backup to a claim that is not there yet; a claim of an earlier run of the same restore is
 * let be. Nothing is ever written over.
 * @throws {DeployError} exit 4 when the claim is there with another volume, exit 7 when Longhorn gives
 * the restore up or cannot place the volume within six hours.
 */
export async function restoreVolume(
  inventory: Inventory,
  backup: Backup,
  target: RestoreTarget,
  say: (missing: string) => void,
): Promise<Change[]> {
  const { cluster } = inventory;
  const { namespace, name } = target;
  const { volume, claimed } = restoredObjects(cluster, backup, target);
  const claims = await liveObjects(cluster, "persistentvolumeclaims", namespace);
  const there = claims.find(({ metadata }) => metadata.name === name);
  if (there && there.spec.volumeName !== volume.metadata.name) {
    throw new DeployError(`Cannot restore: claim ${namespace}/${name} is there`, {
      exitCode: ExitCode.refused,
      fix:
        "add AS=another-name to restore beside it; to replace it, stop its pods and delete the " +
        "claim first: docs/longhorn.md#restore-a-volume",
    });
  }
  const changes = await apply(inventory, [volume]);
  await until("Longhorn to restore the volume", () => unrestored(cluster, volume), {
    seconds: PATIENCE,
    every: 5,
    say,
  });
  changes.push(...await apply(inventory, claimed));
  await until("the claim to be bound", () => unready(cluster, claimed), { seconds: 60, say });
  return changes;
}

/** What the volume still lacks, one line. Throws exit 7 when Longhorn has given it up. */
async function unrestored(cluster: Cluster, volume: Manifest): Promise<string[]> {
  const live = (await namedOf(cluster, [volume])).get(idOf(volume));
  const { name } = volume.metadata;
  if (!live?.status) return [`volume ${name}: Longhorn has not seen it yet`];
  const restore = conditionOf(live, "Restore"), scheduled = conditionOf(live, "Scheduled");
  if (restore?.reason === "RestoreFailure") {
    throw new DeployError(`Longhorn cannot restore volume ${name}`, {
      exitCode: ExitCode.notReady,
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

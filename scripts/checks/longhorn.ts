// Checks of Longhorn, where it is ours.
import type { Problem, Subject, Tell } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { backupTargetMissing } from "../components/longhorn/ladder.ts";
import { backupsOf } from "../components/longhorn/restore.ts";

/** Longhorn itself says that it reaches its backups; its own alert speaks of each failed one. */
export async function backupTarget({ cluster }: Subject, tell: Tell): Promise<Problem[]> {
  if (text(cluster, "STORAGE") === "existing") return [];
  const missing = await backupTargetMissing(cluster);
  if (missing.length === 0) {
    const [newest] = await backupsOf(cluster);
    tell(newest ? `the newest backup is of ${newest.at}` : "no volume has been backed up yet");
  }
  return missing.map((what) => ({
    what,
    cause: "S3 is away from inside the cluster, or the key of LONGHORN_BUCKET is another one now",
    fix: `make 00-minio CLUSTER=${cluster.id}, then make 10-longhorn CLUSTER=${cluster.id}`,
  }));
}

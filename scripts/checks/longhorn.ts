// Checks of Longhorn, where it is ours.
import { type Finding, note, ok, type Subject } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { backupTargetMissing } from "../components/longhorn/ladder.ts";
import { backupsOf } from "../components/longhorn/restore.ts";

/** Longhorn itself says that it reaches its backups; its own alert speaks of each failed one. */
export async function backupTarget({ cluster }: Subject): Promise<Finding | Finding[]> {
  if (text(cluster, "STORAGE") === "existing") return note("none: STORAGE=existing");
  const missing = await backupTargetMissing(cluster);
  if (missing.length === 0) {
    const [newest] = await backupsOf(cluster);
    return newest
      ? ok(`the newest backup is of ${newest.at}`)
      : note("no volume has been backed up yet");
  }
  return missing.map((what) => ({
    what,
    cause: "S3 is away from inside the cluster, or the key of LONGHORN_BUCKET is another one now",
    fix: `make 00-minio CLUSTER=${cluster.id}, then make 10-longhorn CLUSTER=${cluster.id}`,
  }));
}

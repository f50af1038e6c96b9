// Checks of Longhorn, where it is ours.
import type { Problem } from "../../lib/check.ts";
import { text } from "../../lib/cluster.ts";
import { backupTargetMissing } from "../longhorn/ladder.ts";
import type { Subject } from "./subject.ts";

/** Longhorn itself says that it reaches its backups (B49); its own alert speaks of each backup. */
export async function backupTarget({ cluster }: Subject): Promise<Problem[]> {
  if (text(cluster, "STORAGE") === "existing") return [];
  return (await backupTargetMissing(cluster)).map((what) => ({
    what,
    cause: "S3 is away from inside the cluster, or the key of LONGHORN_BUCKET is another one now",
    fix: `make 00-minio CLUSTER=${cluster.id}, then make 10-longhorn CLUSTER=${cluster.id}`,
  }));
}

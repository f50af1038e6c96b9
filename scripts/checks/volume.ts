// Check of storage itself: a volume is made, mounted, written and read.
import { randomUUID } from "node:crypto";
import { type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { runJob, runName } from "../../lib/probe/job.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { objectsEverywhere } from "../../lib/kube/list.ts";
import { type Manifest, withValue } from "../../lib/core/object.ts";
import { renderFile } from "../../lib/render/render.ts";

const NAMESPACE = "default", NAME = "volume-probe";
/** Claims of its pods; earlier revisions of this project named theirs without the run, or the pod. */
const CLAIM = new RegExp(`^${NAME}((-[0-9a-f]{8})?-[a-z0-9]{5}-volume)?$`);

/** A new claim gets a volume that keeps what a pod writes; both are gone afterwards. */
export async function volume({ cluster }: Subject): Promise<Finding> {
  const storageClass = text(cluster, "STORAGE_CLASS");
  const started = Date.now();
  const does = "writes a volume";
  const name = runName(NAME);
  const keeps = await runJob(cluster, probeJob(cluster, randomUUID(), name), { does })
    // What cannot be tidied up now is by the next check; the verdict is about the volume.
    .finally(() => letGo(cluster).catch(() => {}));
  if (keeps) {
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    return ok(`a volume of ${storageClass} was made, written and read in ${seconds} s`);
  }
  return {
    what: `a new volume of the class ${storageClass} does not keep what is written to it`,
    cause: "the volume is read-only, full or faulted, or its disk is",
    fix: `kubectl -n ${NAMESPACE} logs job/${name}`,
  };
}

/**
 * Where the class retains volumes, that of this check and those of earlier ones go all the same; one that somebody
 * has made by hand is given back by the next check.
 */
async function letGo(cluster: Cluster): Promise<void> {
  const left = (await objectsEverywhere(cluster, "persistentvolumes")).filter(({ spec }) =>
    spec.claimRef?.namespace === NAMESPACE && CLAIM.test(spec.claimRef.name) &&
    spec.persistentVolumeReclaimPolicy === "Retain"
  );
  for (const { metadata: { name, annotations }, status } of left) {
    const isMade = annotations?.["pv.kubernetes.io/provisioned-by"] !== undefined;
    if (!isMade && status?.phase !== "Released") continue;
    const spec = isMade ? { persistentVolumeReclaimPolicy: "Delete" } : { claimRef: null };
    const words = ["patch", "persistentvolume", name, "--type=merge", "--patch"];
    await kubectl([...words, JSON.stringify({ spec })], { cluster });
  }
}

/** Writes the word to a claim, reads it again and leaves nothing. */
export function probeJob(cluster: Cluster, WORD: string, name = NAME): Manifest {
  return withValue(
    renderFile(`checks/${NAME}.yaml`, cluster, { WORD }),
    ["metadata", "name"],
    name,
  );
}

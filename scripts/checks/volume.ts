// Check of storage itself: a volume is made, mounted, written and read.
import { randomUUID } from "node:crypto";
import { type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { NAMESPACE, runJob, runName, shortJob } from "../../lib/probe/job.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { objectsEverywhere } from "../../lib/kube/list.ts";
import { labelsOf, type Manifest } from "../../lib/core/object.ts";

const NAME = "volume-probe";
/** Claims of its pods; earlier revisions of this project named theirs without the run, or the pod. */
const CLAIM = new RegExp(`^${NAME}((-[0-9a-f]{8})?-[a-z0-9]{5}-volume)?$`);
/** Seconds that it may take: Longhorn needs about twenty for a new volume. */
const PATIENCE = 120;

/** A container that runs a script with these words; the image is one of 40-logging, here for its BusyBox. */
export function busyBox(cluster: Cluster, name: string, script: string, ...words: string[]) {
  const version = text(cluster, "ELASTICSEARCH_EXPORTER_VERSION");
  return {
    name,
    image: `quay.io/prometheuscommunity/elasticsearch-exporter:${version}`,
    command: ["/bin/busybox", "sh", "-c", script, ...words],
    resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { memory: "64Mi" } },
  };
}

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

/** Writes the word to the claim, reads it again and leaves nothing. */
export function probeJob(cluster: Cluster, word: string, name = NAME): Manifest {
  const script =
    `echo ${word} >/volume/probe && sync && grep -qx ${word} /volume/probe && rm /volume/probe`;
  const version = text(cluster, "ELASTICSEARCH_EXPORTER_VERSION");
  const labels = labelsOf({ name: NAME, component: "check", partOf: "storage", version });
  // A claim that goes with its pod, whatever becomes of us.
  const volumeClaimTemplate = {
    metadata: { labels },
    spec: {
      storageClassName: text(cluster, "STORAGE_CLASS"),
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } }, // the smallest that clouds and file systems give
    },
  };
  return shortJob({
    name,
    labels,
    seconds: PATIENCE,
    containers: [{
      ...busyBox(cluster, "probe", script),
      volumeMounts: [{ name: "volume", mountPath: "/volume" }],
    }],
    volumes: [{ name: "volume", ephemeral: { volumeClaimTemplate } }],
  });
}

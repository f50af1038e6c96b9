// Checks of storage: the default class, a volume that is made, written and read, and Longhorn's backups.
import { randomUUID } from "node:crypto";
import { type Finding, type Findings, note, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { daysBetween } from "../../lib/core/time.ts";
import { type Manifest, withValue } from "../../lib/core/object.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { liveObjects, objectsEverywhere } from "../../lib/kube/api.ts";
import { defaultClasses, storageClasses } from "../../lib/kube/storage_class.ts";
import { runJob, runName } from "../../lib/probe/job.ts";
import { renderFile } from "../../lib/render/render.ts";
import { backupTargetMissing } from "../components/longhorn/state.ts";
import { claimOf, isChosen } from "../components/longhorn/backups.ts";
import { LONGHORN_NAMESPACE } from "../components/longhorn/objects.ts";
import { claimsOf } from "./room.ts";

const HOUR = 3_600_000, DAY = 24 * HOUR;
const KUBECTL = `kubectl -n ${LONGHORN_NAMESPACE}`;
const POLL = 300; // seconds between two looks of Longhorn at its backups

/** Longhorn itself says that it reaches its backups, and has looked a moment ago, or after `since` (ms). */
export async function backupTarget({ cluster }: Subject, since?: number): Promise<Finding> {
  if (text(cluster, "STORAGE") === "existing") return note("none: STORAGE=existing");
  const [missing] = await backupTargetMissing(cluster, since ?? Date.now() - 4 * POLL * 1000);
  if (!missing) return ok("Longhorn reaches it");
  return {
    what: missing,
    cause: "pods do not reach S3, its key is another one now, or somebody has changed the target",
    fix: `make 00-minio CLUSTER=${cluster.id}, then make 10-longhorn CLUSTER=${cluster.id}; ` +
      `of a target that is another one: ${KUBECTL} rollout restart daemonset/longhorn-manager`,
    patience: POLL + 60,
  };
}

/** Volumes of LONGHORN_BACKUP_CLAIMS in use, old enough for two backups, have a young one; others' are a note. */
export async function backups({ cluster, objects }: Subject): Promise<Findings> {
  if (text(cluster, "STORAGE") === "existing") return note("none: STORAGE=existing");
  const cron = text(cluster, "LONGHORN_BACKUP_CRON");
  if (cron === "never") return note("none: LONGHORN_BACKUP_CRON=never");
  const kinds = "volumes.longhorn.io,engines.longhorn.io";
  const live = await liveObjects(cluster, kinds, LONGHORN_NAMESPACE);
  // Of one without new data Longhorn makes no new one.
  const idle = live.filter(({ status }) => status?.snapshots?.["volume-head"]?.size === "0")
    .map(({ spec }) => spec.volumeName);
  const limit = 2 * daysBetween(cron) * DAY;
  const age = (time: string) => Date.now() - Date.parse(time);
  const ageOfBackup = ({ status }: Manifest) => age(status.lastBackupAt || "1970-01-01");
  const used = live.filter(({ kind, status, metadata }) =>
    kind === "Volume" && status?.state === "attached" && age(metadata.creationTimestamp!) > limit
  );
  const due = used.filter((volume) => isChosen(cluster, volume));
  const ours = claimsOf(await objects());
  const others = used.filter((volume) => !due.includes(volume)).map(claimOf)
    .filter((claim) => claim && !ours.has(claim));
  const late = due.filter((volume) =>
    ageOfBackup(volume) > limit &&
    !(volume.status.lastBackupAt && idle.includes(volume.metadata.name))
  );
  const oldest = (Math.max(...due.map(ageOfBackup)) / HOUR).toFixed(0);
  const seen = due.length > 0 ? `the oldest ${oldest} hours ago` : "none is old enough";
  return [
    late.length === 0 && ok(`${due.length} volumes have one, ${seen}`),
    others.length > 0 && note(`LONGHORN_BACKUP_CLAIMS leaves out ${others.sort().join(", ")}`),
    late.map((volume) => ({
      what: `volume ${claimOf(volume)} has no backup ` +
        (volume.status.lastBackupAt ? `since ${volume.status.lastBackupAt}` : "at all"),
      cause: "its backups fail, or the job of 10-longhorn does not run, or does not take it",
      fix: `${KUBECTL} get backups.longhorn.io,recurringjobs.longhorn.io; ` +
        `${KUBECTL} logs -l recurring-job.longhorn.io=backup --tail=20`,
    })),
  ];
}

/** Before a deploy nothing takes the default class over, after one it is ours; a site's own class need not be it. */
export async function defaultClass({ cluster, when }: Subject): Promise<Finding> {
  const classes = await storageClasses(cluster);
  const wanted = text(cluster, "STORAGE_CLASS");
  const defaults = defaultClasses(classes);
  const seen = `default: ${defaults.join(" and ") || "none"}`;
  const addon = classes.find(({ metadata, provisioner }) =>
    provisioner === "k8s.io/minikube-hostpath" && metadata.name !== wanted
  );
  if (when === "before" && addon) {
    const { name } = addon.metadata;
    const what = `Minikube's class ${name} is there and takes over when Minikube starts; ${seen}`;
    return warn(what, "minikube addons disable default-storageclass");
  }
  const fine = defaults.length === 1 && defaults[0] === wanted;
  if (when === "before" || fine || text(cluster, "STORAGE") === "existing") return ok(seen);
  return {
    what: `${seen}, wanted only ${wanted}`,
    cause: "Minikube switched its own class on again, or 10-longhorn has not run to its end",
    fix: `make 10-longhorn CLUSTER=${cluster.id}`,
  };
}

const NAMESPACE = "default", NAME = "volume-probe";
/** Claims of its pods; earlier revisions of this project named theirs without the run, or the pod. */
const CLAIM = new RegExp(`^${NAME}((-[0-9a-f]{8})?-[a-z0-9]{5}-volume)?$`);

/** A new claim gets a volume that keeps what a pod writes; both are gone afterwards. */
export async function volume({ cluster }: Subject): Promise<Finding> {
  const storageClass = text(cluster, "STORAGE_CLASS");
  const started = Date.now(), name = runName(NAME);
  const probe = renderFile(`checks/${NAME}.yaml`, cluster, { WORD: randomUUID() });
  const job = withValue(probe, ["metadata", "name"], name);
  const keeps = await runJob(cluster, job, { does: "writes a volume" })
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

/** Volumes of these checks go also where the class retains them; one made by hand is given back by the next check. */
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

// Checks of storage: the default class, and of Longhorn, where it is ours, the backups.
import { type Finding, type Findings, note, ok, type Subject, warn } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { daysBetween } from "../../lib/core/time.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { liveObjects } from "../../lib/kube/list.ts";
import { defaultClasses, storageClasses } from "../../lib/kube/storage_class.ts";
import { backupTargetMissing } from "../components/longhorn/state.ts";
import { claimOf, isChosen } from "../components/longhorn/backups.ts";
import { LONGHORN_NAMESPACE } from "../components/longhorn/objects.ts";
import { claimsOf } from "./room.ts";

const HOUR = 3_600_000, DAY = 24 * HOUR;
const KUBECTL = `kubectl -n ${LONGHORN_NAMESPACE}`;

/** Seconds between two looks of Longhorn at its backups. */
const POLL = 300;

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
  const idle = new Set(
    live.filter(({ status }) => status?.snapshots?.["volume-head"]?.size === "0")
      .map(({ spec }) => spec.volumeName),
  );
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
    ageOfBackup(volume) > limit && !(volume.status.lastBackupAt && idle.has(volume.metadata.name))
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

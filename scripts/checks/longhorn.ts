// Checks of storage: the default class, and of Longhorn, where it is ours, the backups.
import {
  type Finding,
  type Findings,
  hidden,
  hiddenBy,
  note,
  ok,
  type Subject,
  warn,
} from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { daysBetween } from "../../lib/core/cron.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { liveObjects } from "../../lib/kube/list.ts";
import { defaultClasses, storageClasses } from "../../lib/kube/storage_class.ts";
import { backupTargetMissing } from "../components/longhorn/ladder.ts";
import { claimOf, isChosen } from "../components/longhorn/backups.ts";
import { LONGHORN_NAMESPACE } from "../components/longhorn/objects.ts";
import { claimsOf } from "./room.ts";

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
      cause:
        "S3 is away from inside the cluster, the key of LONGHORN_BUCKET is another one now, or " +
        "somebody has changed the target in Longhorn",
      fix:
        `make 00-minio CLUSTER=${cluster.id}, then make 10-longhorn CLUSTER=${cluster.id}; a target that ` +
        "is another one: kubectl -n longhorn-system rollout restart daemonset/longhorn-manager",
      patience: (POLL + 60_000) / 1000,
    };
  };
}

/** Ms between two looks of Longhorn at its backups. */
const POLL = 300_000;

/**
 * Every volume of LONGHORN_BACKUP_CLAIMS that is in use, and that LONGHORN_BACKUP_CRON should have backed up twice by
 * now, has a backup that is not too old. Of one without new data Longhorn makes no new one; their engines know that.
 * Somebody else's volumes that are not chosen are told.
 */
export async function backups({ cluster, objects }: Subject): Promise<Findings> {
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
  const used = live.filter(({ kind, status, metadata }) =>
    kind === "Volume" && status?.state === "attached" && age(metadata.creationTimestamp!) > limit
  );
  const due = used.filter((volume) => isChosen(cluster, volume));
  const ours = claimsOf(await objects());
  const others = used.filter((volume) => !due.includes(volume)).map(claimOf)
    .filter((claim) => claim && !ours.has(claim));
  const told = others.length > 0 &&
    note(`LONGHORN_BACKUP_CLAIMS leaves out ${others.sort().join(", ")}`);
  const late = due.filter((volume) =>
    ageOfBackup(volume) > limit && !(volume.status.lastBackupAt && idle.has(volume.metadata.name))
  );
  if (due.length === 0) return [ok("0 volumes have one: none is old enough"), told];
  if (late.length === 0) {
    const hours = (Math.max(...due.map(ageOfBackup)) / HOUR).toFixed(0);
    return [ok(`${due.length} volumes have one, the oldest ${hours} hours ago`), told];
  }
  return [
    told,
    ...late.map((volume) => {
      const { lastBackupAt } = volume.status;
      return {
        what: `volume ${claimOf(volume)} has no backup ${
          lastBackupAt ? `since ${lastBackupAt}` : "at all"
        }`,
        cause: "its backups fail, or the job that makes them does not run or does not take it " +
          `(make 10-longhorn CLUSTER=${cluster.id})`,
        fix:
          `kubectl -n ${LONGHORN_NAMESPACE} get backups.longhorn.io,recurringjobs.longhorn.io; ` +
          `kubectl -n ${LONGHORN_NAMESPACE} logs -l recurring-job.longhorn.io=backup --tail=20`,
      };
    }),
  ];
}

/** The default class: before a deploy nothing takes it over, after one it is ours. One of the site's own need not be it. */
export async function defaultClass({ cluster, when }: Subject): Promise<Finding> {
  const why = when === "after" ? hiddenBy(cluster) : undefined;
  if (why) return hidden(why);
  const classes = await storageClasses(cluster);
  const wanted = text(cluster, "STORAGE_CLASS");
  const defaults = defaultClasses(classes);
  const seen = `default: ${defaults.join(" and ") || "none"}`;
  const addon = classes.find(({ metadata, provisioner }) =>
    provisioner === "k8s.io/minikube-hostpath" && metadata.name !== wanted
  );
  if (when === "before" && addon) {
    const { name } = addon.metadata;
    return warn(
      `Minikube's class ${name} is there and takes over at every minikube start; ${seen}`,
      "minikube addons disable default-storageclass",
    );
  }
  const fine = defaults.length === 1 && defaults[0] === wanted;
  if (when === "before" || fine || text(cluster, "STORAGE") === "existing") return ok(seen);
  return {
    what: `${seen}, wanted only ${wanted}`,
    cause: "Minikube switched its own class on again, or 10-longhorn has not run to its end",
    fix: `make 10-longhorn CLUSTER=${cluster.id}`,
  };
}

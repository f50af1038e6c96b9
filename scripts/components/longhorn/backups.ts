// Which volumes are backed up, when, and the alert about one that was not. Longhorn's job takes the volumes of a group;
// a volume joins by a label on Longhorn's own object, for templates of claims cannot change later.
import { type Cluster, list, text } from "../../../lib/core/cluster.ts";
import { cronInUtc, daysBetween } from "../../../lib/core/cron.ts";
import { type Manifest, OWNER } from "../../../lib/core/object.ts";
import { differing, type Resource, type Resources } from "../../../lib/core/resource.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { KubectlError } from "../../../lib/kube/kubectl_error.ts";
import { liveObjects } from "../../../lib/kube/list.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { LONGHORN_NAMESPACE } from "./objects.ts";

/** On a volume: it is in the group of that name, which is nobody else's. */
const IN_GROUP = `recurring-job-group.longhorn.io/${OWNER}`;

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

/** A pattern of names as a regular expression; no backslash, which PromQL would take for its own. */
function anyText(pattern: string): string {
  return pattern.replaceAll(".", "[.]").replaceAll("*", ".*");
}

/** Volumes that the job does not take and should, or the other way round. */
async function misplaced(cluster: Cluster) {
  const volumes = await liveObjects(cluster, "volumes.longhorn.io", LONGHORN_NAMESPACE);
  return volumes.map((volume) => ({
    volume: volume.metadata.name,
    claim: claimOf(volume),
    is: volume.metadata.labels?.[IN_GROUP] === "enabled",
    wanted: isChosen(cluster, volume),
  })).filter(({ is, wanted }) => is !== wanted);
}

const inGroup: Resource<Cluster> = {
  id: `BackupGroup/${LONGHORN_NAMESPACE}/${OWNER}`,
  async look(cluster) {
    const words = (is: boolean) => is ? "backed up" : "left out";
    return differing((await misplaced(cluster)).map(({ claim, is, wanted }) => (
      { path: claim, old: words(is), now: words(wanted) }
    )));
  },
  async put(cluster) {
    const astray = await misplaced(cluster);
    for (const { volume, wanted } of astray) {
      const label = wanted ? `${IN_GROUP}=enabled` : `${IN_GROUP}-`;
      const words = ["label", "--overwrite", "volumes.longhorn.io", volume, label];
      // One that is gone meanwhile needs none.
      await kubectl([...words, "-n", LONGHORN_NAMESPACE], { cluster }).catch((error) => {
        if (!(error instanceof KubectlError && /\(NotFound\)/.test(error.stderr))) throw error;
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
  if (cron === "never") return [];
  const days = daysBetween(cron) + 1;
  const chosen = list(cluster, "LONGHORN_BACKUP_CLAIMS").map((claim) => {
    const [namespace, name] = claim.split("/").map(anyText);
    return `longhorn_volume_last_backup_at{pvc_namespace=~"${namespace}",pvc=~"${name}"}`;
  });
  const computed = { CHOSEN: chosen.join(" or "), DAYS: days, SECONDS: days * 86400 };
  return [renderFile("longhorn/backup-age.yaml", cluster, computed)];
}

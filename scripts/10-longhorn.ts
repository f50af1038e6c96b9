// 10-longhorn: Longhorn, its UI behind a password, volumes of the class longhorn, backups to S3. Needs open-iscsi on the
// node. Safe to run again: its manager carries out three ConfigMaps, of settings, backup target and class.
import "./needs.ts";
import { backups, backupTarget, defaultClass, volume } from "./checks/storage.ts";
import { disks } from "./checks/room.ts";
import { BY_API, BY_POD, LIVE } from "../lib/core/check.ts";
import { bucketOf } from "./checks/s3.ts";
import { loadBundle } from "../lib/render/bundle.ts";
import { type Cluster, text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import type { Manifest } from "../lib/core/object.ts";
import { render, rewriteImages } from "../lib/render/render.ts";
import type { Resources } from "../lib/core/resource.ts";
import { step } from "../lib/deploy/step.ts";
import { onlyDefault } from "../lib/kube/storage_class.ts";
import { until } from "../lib/io/wait.ts";
import { backupGroup, backupJobs } from "./components/longhorn/backups.ts";
import { longhornKey, longhornObjects, patchLonghorn } from "./components/longhorn/objects.ts";
import * as state from "./components/longhorn/state.ts";
import { iscsi, mounts, multipath, onNodes, refuseUnfitNodes } from "./checks/node.ts";
import { opensOf } from "./components/network/network.ts";

const defaultOfCluster: Resources<Cluster> = {
  title: "Default StorageClass",
  live: true,
  of: (cluster) => [onlyDefault(text(cluster, "STORAGE_CLASS"))],
};

const BOTH = { ...LIVE, when: "both" } as const;

export const longhorn = step({
  name: "10-longhorn",
  checks: [
    { ...BY_API, name: "Room for volumes", hop: "claims -> disks", run: disks },
    { ...BY_POD, name: "iSCSI", hop: "node -> volumes", run: onNodes(iscsi) },
    { ...BY_POD, name: "Mount propagation", hop: "node -> pods", run: onNodes(mounts) },
    { ...BY_POD, name: "Multipath", hop: "node -> volumes", run: onNodes(multipath) },
    { ...BOTH, name: "Default StorageClass", hop: "claims -> provisioner", run: defaultClass },
    bucketOf(longhornKey),
    { ...LIVE, slow: true, name: "New volume", hop: "claim -> volume -> pod", run: volume },
    { ...LIVE, name: "Backup target", hop: "Longhorn -> S3", run: backupTarget },
    { ...LIVE, name: "Volume backups", hop: "volumes -> S3", run: backups },
  ],
  skips: (cluster) =>
    text(cluster, "STORAGE") === "existing"
      ? `STORAGE=existing: volumes use the class ${text(cluster, "STORAGE_CLASS")} that is there`
      : undefined,
  s3Key: longhornKey,
  bundles: upstream,
  opens: opensOf("10-longhorn"),
  objects: (cluster) => render("longhorn", cluster, { add: longhornObjects(cluster) }),
  keeps: state.keepsFromPrune,
  resources: [defaultOfCluster, backupGroup],
  async run({ cluster, objects, phase, live, apply, ready, put, report }) {
    const { waiting: say } = report;
    const wait = (title: string, what: string, missing: (cluster: Cluster) => Promise<string[]>) =>
      live(title, () => until(what, () => missing(cluster), { seconds: 600, say }));
    const upgrade = await state.checkUpgrade(cluster, objects);
    if (upgrade) report.note(upgrade);
    // A look at the nodes costs seconds: where the driver runs, they are fit.
    if ((await state.driverMissing(cluster)).length > 0) {
      await live("Nodes", () => refuseUnfitNodes(cluster, say));
    }
    // Longhorn's webhook judges them, so they wait for it.
    const jobs = objects.filter(({ kind }) => kind === "RecurringJob");
    const rest = objects.filter((object) => !jobs.includes(object));
    await phase("Apply", () => apply(rest));
    await phase("Ready", () => ready(rest));
    await wait("CSI driver", "the CSI driver of Longhorn", state.driverMissing);
    await wait("Engine and nodes", "Longhorn's engine and nodes", state.nodesMissing);
    for (const complaint of await state.nodeComplaints(cluster)) report.warn(complaint);
    if (jobs.length > 0) {
      // First who is in the group: the job of an empty one backs up nobody.
      await put(backupGroup);
      await phase("Backup schedule", () => apply(jobs));
    }
    await wait("StorageClass", "the StorageClass", classMissing);
    await put(defaultOfCluster);
    await wait("Backup target", "the backup target of Longhorn", state.backupTargetMissing);
  },
});

async function upstream(cluster: Cluster): Promise<Manifest[]> {
  const bundle = await loadBundle("longhorn", cluster);
  if (bundle.length === 0) return [];
  const patched = patchLonghorn(bundle, cluster, await state.replicasOf(cluster));
  return [...rewriteImages(patched, cluster), ...backupJobs(cluster)];
}

async function classMissing(cluster: Cluster): Promise<string[]> {
  const wanted = text(cluster, "STORAGE_CLASS");
  const look = await onlyDefault(wanted).look(cluster);
  return look.state === "missing" ? [`StorageClass/${wanted}: not made yet`] : [];
}

if (import.meta.main) await main(longhorn);

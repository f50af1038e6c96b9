// What still keeps Longhorn from serving volumes, rung by rung: one line per missing thing.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { conditionOf, liveObjects } from "../../../lib/kube/list.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { lastWriteOf } from "../../../lib/apply/managers.ts";
import { readiness } from "../../../lib/apply/readiness.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { LONGHORN_NAMESPACE, longhornKey } from "./objects.ts";
import { wantedTarget } from "./patch.ts";

// Made by the driver deployer, so they are in no bundle.
const DRIVER = ["csi-attacher", "csi-provisioner", "csi-resizer", "csi-snapshotter"]
  .map((name) => `Deployment/${LONGHORN_NAMESPACE}/${name}`)
  .concat(`DaemonSet/${LONGHORN_NAMESPACE}/longhorn-csi-plugin`);

/** Parts of the CSI driver that do not run yet. */
export async function driverMissing(cluster: Cluster): Promise<string[]> {
  const resources = "deployments.apps,daemonsets.apps";
  const live = await liveObjects(cluster, resources, LONGHORN_NAMESPACE);
  return DRIVER.flatMap((id) => {
    const object = live.find((object) => idOf(object) === id);
    if (!object) return [`${id}: not made yet`];
    const verdict = readiness(object);
    return verdict.state === "ready" ? [] : [`${id}: ${verdict.reason}`];
  });
}

/** Engine images that are not on every node yet, and nodes that take no volumes. */
export async function nodesMissing(cluster: Cluster): Promise<string[]> {
  const resources = "engineimages.longhorn.io,nodes.longhorn.io";
  const live = await liveObjects(cluster, resources, LONGHORN_NAMESPACE);
  const images = live.filter(({ kind }) => kind === "EngineImage");
  const nodes = live.filter(({ kind }) => kind === "Node");
  return [
    ...(images.length ? [] : ["EngineImage: none yet"]),
    ...images.filter(({ status }) => status?.state !== "deployed")
      .map((image) => `${idOf(image)}: state ${image.status?.state ?? "unknown"}`),
    ...(nodes.length ? [] : ["Node of Longhorn: none yet"]),
    ...nodes.flatMap((node) =>
      ["Ready", "Schedulable"].flatMap((type) => {
        const condition = conditionOf(node, type);
        if (condition?.status === "True") return [];
        const why = condition ? `${condition.reason}: ${condition.message}` : "not said yet";
        return [`${idOf(node)} of Longhorn is not ${type}: ${why}`];
      })
    ),
  ];
}

/** What Longhorn finds wrong with its nodes though it works (packages, multipathd, NFS client). */
export async function nodeComplaints(cluster: Cluster): Promise<string[]> {
  const nodes = await liveObjects(cluster, "nodes.longhorn.io", LONGHORN_NAMESPACE);
  return nodes.flatMap(({ metadata, status }) =>
    (status?.conditions ?? [])
      .filter((condition: { status: string }) => condition.status === "False")
      .map(({ type, message }: { type: string; message: string }) =>
        `node ${metadata.name}, ${type}: ${message}`
      )
  );
}

/** Ms by which the clocks of a node and of the API server may differ: both times are of the same second. */
const SKEW = 10_000;

/**
 * Why backups cannot be stored, in Longhorn's words. They are of before where it has not taken the target of the
 * settings yet, or has not looked since it was given one, or another key; nor may they be older than `since` (ms).
 */
export async function backupTargetMissing(cluster: Cluster, since = 0): Promise<string[]> {
  const names = ["backuptargets.longhorn.io/default", `secrets/${longhornKey.name}`];
  const flags = ["--ignore-not-found", "--show-managed-fields", "--output", "json"];
  const answer = await kubectl(["get", ...names, "-n", LONGHORN_NAMESPACE, ...flags], { cluster });
  const live: Manifest[] = answer.trim() ? JSON.parse(answer).items : [];
  const target = live.find(({ metadata }) => metadata.name === "default");
  if (!target) return ["BackupTarget default: not made yet"];
  const { spec = {}, status: { available, lastSyncedAt } = {} } = target as Manifest;
  const url = wantedTarget(cluster)["backup-target"];
  if (spec.backupTargetURL !== url || spec.credentialSecret !== longhornKey.name) {
    const now = `${spec.backupTargetURL || "none"} by ${spec.credentialSecret || "no Secret"}`;
    return [`BackupTarget default is ${now}, wanted ${url} by ${longhornKey.name}`];
  }
  if (available !== true) {
    return [
      `BackupTarget ${url}: ${conditionOf(target, "Unavailable")?.message || "not available yet"}`,
    ];
  }
  const secret = live.find((one) => one !== target);
  const [asked, written] = [spec.syncRequestedAt, lastWriteOf(secret).last?.at]
    .map((time) => Date.parse(time ?? "") || 0);
  if ((Date.parse(lastSyncedAt) || 0) >= Math.max(since, asked!, written! - SKEW)) return [];
  return [`BackupTarget default: Longhorn has not looked at it since ${lastSyncedAt || "ever"}`];
}

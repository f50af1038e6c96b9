// What the centre is asked about how its clusters are; and what no series tells: when a deploy last changed one.
import { Inventory } from "../../../lib/apply/inventory.ts";
import { owned } from "../../../lib/apply/live.ts";
import { entriesOf } from "../../../lib/apply/managers.ts";
import { type Cluster, isPaused } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode, isCutOff } from "../../../lib/core/error.ts";
import { OWNER } from "../../../lib/core/object.ts";
import { connect, type Connection } from "../../../lib/kube/target.ts";
import type { Sample } from "../../checks/metrics.ts";
import { counting } from "./alerts.ts";
import type { Questions, Unsaid } from "./way.ts";

const LINES = 'opensearch_indices_docs_primary{index=~"logs-(k8s|host)-.*"}';
const UPLOADED = 'thanos_objstore_bucket_last_successful_upload_time{job="thanos-sidecar"}';
/** How full every claim is, and every disk of a node: from 0 to 1. */
export const USED = "max by (cluster, namespace, persistentvolumeclaim) " +
  "(kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes) or " +
  "max by (cluster, instance, mountpoint) (1 - " +
  'node_filesystem_avail_bytes{fstype=~"ext.|xfs|btrfs|zfs"} / node_filesystem_size_bytes)';

/** Questions, by the column that shows the answer, which cost the same for any number of clusters; seconds, 0: never. */
export const QUESTIONS = {
  seen: "max by (cluster) (timestamp(up))",
  // It is 0 from a restart to the next upload.
  upload: `max by (cluster) (max_over_time(${UPLOADED}[6h]))`,
  // The last minute in which an index grew.
  logs: `max by (cluster) (max_over_time(timestamp(${LINES} > ${LINES} offset 1m)[2h:1m])) ` +
    `or 0 * max by (cluster) (${LINES})`,
  disk: `topk by (cluster) (1, ${USED})`,
  // It has no end (+Inf) where the kubelet does not renew its own.
  cert: "min by (cluster) (time() + kubelet_certificate_manager_client_ttl_seconds < Inf)",
};

/** Seconds since something was seen; `none`: it would have been seen, and was not there. */
export type Age = number | "none" | null;

/** Samples by the question, null: no answer; `before`: of those that are away; `changed`: what they said themselves. */
export type Answers =
  & Record<keyof typeof QUESTIONS | "alerts" | "before", Sample[] | null>
  & { unsaid: Unsaid[]; changed?: Map<string, Age> };

/** Asks the centre about these clusters. @throws {DeployError} when it answers none of the questions. */
export async function answersOf(centre: Questions, clusters: Cluster[]): Promise<Answers> {
  const asked = Object.entries({ ...QUESTIONS, alerts: counting() }).map(
    async ([column, expression]) => [column, await centre.values(column, expression)],
  );
  const found = Object.fromEntries(await Promise.all(asked));
  const { unsaid } = centre;
  if (Object.values(found).every((samples) => samples === null)) throw unsaid[0]!.error;
  const away = clusters.filter((cluster) => isAway(cluster, found));
  const before = away.length > 0 ? await centre.values("last seen", lastSeen(away)) : [];
  return { ...found, before, unsaid };
}

/** Whether it is known that no sample of it arrives. */
export function isAway({ name }: Cluster, { seen }: Answers): boolean {
  return seen !== null && seen.every(({ metric }) => metric.cluster !== name);
}

// The newest sample in a week: of one series, or that would be a week of all. Those of its last hours are on its own
// disk, so the centre's own word counts as well, for how long Query was in touch with its sidecar.
function lastSeen(clusters: Cluster[]): string {
  const names = clusters.map(({ name }) => name).join("|");
  const up = `up{job="kube-prometheus-stack-prometheus",cluster=~"${names}"}`;
  const touch = 'thanos_store_nodes_grpc_connections{job="thanos-query",store_type="sidecar",' +
    `external_labels=~".*cluster=\\"(${names})\\".*"}`;
  const label = '"cluster", "$1", "external_labels", ".*cluster=\\"([^\\"]*)\\".*"';
  return `max by (cluster) (max_over_time(timestamp(${up})[7d:5m]) or ` +
    `label_replace(max_over_time(timestamp(${touch})[7d:1m]), ${label}))`;
}

/** Ages of the last change by a deploy, by id, of those that are not paused; `unsaid` gets why one is null. */
export async function changesOf(clusters: Cluster[], unsaid: Unsaid[]): Promise<Map<string, Age>> {
  const ageOn = async (cluster: Cluster): Promise<Age> => {
    try {
      const at = await lastWrite(await connect(cluster));
      return at ? Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000)) : "none";
    } catch (error) {
      if (!(error instanceof DeployError) || isCutOff(error)) throw error;
      // A refusal says in its message alone what is wrong.
      const why = error.exitCode === ExitCode.refused ? error.message : error;
      unsaid.push({ what: `the last change of ${cluster.id}`, error: why, of: cluster.id });
      return null;
    }
  };
  const asked = clusters.filter((one) => !isPaused(one));
  return new Map(await Promise.all(asked.map(async (one) => [one.id, await ageOn(one)] as const)));
}

/** When a deploy last changed any of ours (RFC 3339); undefined: never. */
export async function lastWrite(connection: Connection): Promise<string | undefined> {
  // Not everybody may list Secrets, and definitions are megabytes; a deletion changes the ConfigMap that keeps them.
  const kinds = (await new Inventory(connection).kinds())
    .filter((kind) => !/^(secret|customresourcedefinition)\./.test(kind));
  const found = await owned(connection.cluster, [...new Set(["configmap.v1.", ...kinds])], 20);
  return [...found.values()].flatMap(entriesOf)
    .flatMap(({ manager, time }) => manager === OWNER && time ? time : []).sort().at(-1);
}

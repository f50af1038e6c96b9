// What the centre is asked about how its clusters are, and what it has answered.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import type { Sample } from "../../checks/metrics.ts";
import { counting } from "./alerts.ts";
import { type Ask, orNull, type Unsaid, valuesOf } from "./way.ts";

const LINES = 'opensearch_indices_docs_primary{index=~"logs-(k8s|host)-.*"}';
const UPLOADED = 'thanos_objstore_bucket_last_successful_upload_time{job="thanos-sidecar"}';
export const CLAIMS = "max by (cluster, namespace, persistentvolumeclaim) " +
  "(kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes)";
export const DISKS = "max by (cluster, instance, mountpoint) (1 - " +
  'node_filesystem_avail_bytes{fstype=~"ext.|xfs|btrfs|zfs"} / node_filesystem_size_bytes)';

/** Questions, by the column that shows the answer, which cost the same for any number of clusters; seconds, 0: never. */
export const QUESTIONS = {
  seen: "max by (cluster) (timestamp(up))",
  // It is 0 from a restart to the next upload.
  upload: `max by (cluster) (max_over_time(${UPLOADED}[6h]))`,
  // The last minute in which an index grew.
  logs: `max by (cluster) (max_over_time(timestamp(${LINES} > ${LINES} offset 1m)[2h:1m])) ` +
    `or 0 * max by (cluster) (${LINES})`,
  disk: `topk by (cluster) (1, ${CLAIMS} or ${DISKS})`,
  // It has no end (+Inf) where the kubelet does not renew its own.
  cert: "min by (cluster) (time() + kubelet_certificate_manager_client_ttl_seconds < Inf)",
};

/** Seconds since something was seen; `none`: it would have been seen, and was not there. */
export type Age = number | "none" | null;

/** What the centre answered, null: it could not; `before`: of those that are away; `changed`: what they said themselves. */
export type Answers =
  & Record<keyof typeof QUESTIONS | "alerts" | "before", Sample[] | null>
  & { unsaid: Unsaid[]; changed?: Map<string, Age> };

/**
 * Asks the centre about these clusters; one question that it cannot answer spoils no other.
 * @throws {DeployError} when it answers none.
 */
export async function answersOf(ask: Ask, clusters: Cluster[]): Promise<Answers> {
  const unsaid: Unsaid[] = [];
  const answer = (column: string, expression: string) =>
    orNull(valuesOf(ask, expression), column, unsaid);
  const asked = Object.entries({ ...QUESTIONS, alerts: counting() }).map(
    async ([column, expression]) => [column, await answer(column, expression)],
  );
  const found = Object.fromEntries(await Promise.all(asked));
  if (Object.values(found).every((samples) => samples === null)) throw unsaid[0]!.error;
  const answers = { ...found, before: [], unsaid } as unknown as Answers;
  const away = clusters.filter((cluster) => isAway(cluster, answers));
  if (away.length > 0) answers.before = await answer("last seen", lastSeen(away));
  return answers;
}

/** Whether it is known that no sample of it arrives. */
export function isAway(cluster: Cluster, { seen }: Answers): boolean {
  const name = text(cluster, "CLUSTER_NAME");
  return seen !== null && seen.every(({ metric }) => metric.cluster !== name);
}

/**
 * The newest sample of each in a week: of one series, or that would be a week of all of them. Those of its last hours
 * are on its own disk, so the centre's own word counts as well, for how long Query was in touch with its sidecar.
 */
function lastSeen(clusters: Cluster[]): string {
  const names = clusters.map((cluster) => text(cluster, "CLUSTER_NAME")).join("|");
  const up = `up{job="kube-prometheus-stack-prometheus",cluster=~"${names}"}`;
  const touch = 'thanos_store_nodes_grpc_connections{job="thanos-query",store_type="sidecar",' +
    `external_labels=~".*cluster=\\"(${names})\\".*"}`;
  const label = '"cluster", "$1", "external_labels", ".*cluster=\\"([^\\"]*)\\".*"';
  return `max by (cluster) (max_over_time(timestamp(${up})[7d:5m]) or ` +
    `label_replace(max_over_time(timestamp(${touch})[7d:1m]), ${label}))`;
}

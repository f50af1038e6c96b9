// The way to the centre, whose Thanos Query knows of every cluster, so that no other API server need be asked; what it is
// asked about how they are; and what no series tells: when a deploy last changed one.
import { Inventory } from "../../../lib/apply/inventory.ts";
import { owned } from "../../../lib/apply/live.ts";
import { entriesOf } from "../../../lib/apply/managers.ts";
import { hiddenBy } from "../../../lib/core/check.ts";
import { type Cluster, isPaused } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode, isCutOff, messageOf } from "../../../lib/core/error.ts";
import { OWNER } from "../../../lib/core/object.ts";
import { documentOf, Report } from "../../../lib/io/report.ts";
import { connect, type Connection } from "../../../lib/kube/target.ts";
import { openProxy, readJson } from "../../../lib/probe/http.ts";
import type { Sample } from "../../checks/metrics.ts";
import { QUERY } from "../../components/thanos/stores.ts";

/** Asks Thanos Query for a path of its API, such as `/api/v1/rules`; `warnings`: why some of it may be missing. */
export type Ask = <T>(path: string) => Promise<{ data: T; warnings?: string[] }>;

/** What had no answer (`part of` it, where Query only warned), and why; `of`: id of the cluster that alone lacks it. */
export type Unsaid = { what: string; error: unknown; of?: string };

/** The central cluster of a site. */
export function centralOf(fleet: Cluster[]): Cluster {
  return fleet.find(({ role }) => role === "central")!;
}

/** What `work` finds at the centre. @throws {DeployError} exit 5: no answer, 4: another cluster, 3: simulated pods. */
export async function atCentre<T>(fleet: Cluster[], work: (ask: Ask) => Promise<T>): Promise<T> {
  const centre = centralOf(fleet);
  const cannot = (exitCode: number, ...where: string[]) => {
    const fix = `make verify-${centre.id}`;
    return new DeployError("Cannot ask the centre about the fleet", { exitCode, where, fix });
  };
  const why = hiddenBy(centre);
  if (why) throw cannot(ExitCode.prerequisite, why);
  try {
    const connecting = connect(centre);
    connecting.catch(() => {});
    // Of two failures that of the guard says more.
    await using proxy = await openProxy(centre).catch(async (error) => {
      await connecting;
      throw error;
    });
    await connecting;
    return await work((path) => readJson(proxy, QUERY, path));
  } catch (error) {
    if (!(error instanceof DeployError) || error.exitCode !== ExitCode.service) throw error;
    throw cannot(ExitCode.unreachable, error.message, ...error.where);
  }
}

/** Questions to the centre about its clusters, of which one without an answer spoils no other. */
export class Questions {
  readonly unsaid: Unsaid[] = [];

  constructor(readonly ask: Ask, readonly fleet: Cluster[]) {}

  async read<T>(what: string, path: string): Promise<T | null> {
    try {
      const { data, warnings = [] } = await this.ask<T>(path);
      for (const error of warnings) {
        // Query names a sidecar that it misses, which knows of no other cluster.
        const edge = this.fleet.find(({ sidecar }) => error.includes(`Addr: ${sidecar} `));
        this.unsaid.push({ what: `part of ${what}`, error, of: edge?.id });
      }
      return data;
    } catch (error) {
      const codes: number[] = [ExitCode.service, ExitCode.unreachable];
      if (!(error instanceof DeployError) || !codes.includes(error.exitCode)) throw error;
      this.unsaid.push({ what, error });
      return null;
    }
  }

  /** Values of an expression, or (`T`) of a range; `resolution`: samples so far apart (`5m`) will do, which are cheap. */
  async values<T = Sample>(what: string, query: string, resolution = "0s"): Promise<T[] | null> {
    const words = new URLSearchParams({ query, max_source_resolution: resolution });
    const data = await this.read<{ result: T[] }>(what, `/api/v1/query?${words}`);
    return data && data.result;
  }
}

/** Why something could not be said, in a line. */
export function whyOf(error: unknown): string {
  const where = error instanceof DeployError ? error.where.join(" ") : "";
  return (where || messageOf(error)).replace(/\s+/g, " ").slice(0, 300);
}

/** Says on the terminal what had no answer. */
export function tellUnsaid(unsaid: Unsaid[]): void {
  for (const [why, those] of Map.groupBy(unsaid, ({ error }) => whyOf(error))) {
    new Report().warn(`no answer about ${those.map(({ what }) => what).join(", ")}: ${why}`);
  }
}

/** What docs/schema/NAME.json describes, without any secret. */
export function jsonOf(name: string, found: object, now = new Date()): string {
  return documentOf(`${name}/v1`, { at: now.toISOString(), ...found });
}

const LINES = 'opensearch_indices_docs_primary{index=~"logs-(k8s|host)-.*"}';
const UPLOADED = 'thanos_objstore_bucket_last_successful_upload_time{job="thanos-sidecar"}';
/** How full every claim is, and every disk of a node: from 0 to 1. */
export const USED = "max by (cluster, namespace, persistentvolumeclaim) " +
  "(kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes) or " +
  "max by (cluster, instance, mountpoint) (1 - " +
  'node_filesystem_avail_bytes{fstype=~"ext.|xfs|btrfs|zfs"} / node_filesystem_size_bytes)';

/** Labels that tell one line of alerts from others. */
export const SAME = ["cluster", "edge", "ruler_cluster", "severity", "alertname"];

/** How many fire, one series for each name and cluster; of these severities (a matcher), by default of all. */
export function counting(severities = ""): string {
  return `count by (${SAME.join(", ")}) (ALERTS{alertstate="firing"${severities}})`;
}

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

// What of a cluster's logs is on S3: its days, and the snapshots that hold all of one.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { configError, prerequisiteError } from "../../../lib/core/error.ts";
import { hashOf } from "../../../lib/core/hash.ts";
import { ensure } from "../../../lib/core/resource.ts";
import { type Json, type OpenSearch, read, request } from "../../../lib/opensearch/client.ts";
import { document } from "../../../lib/opensearch/documents.ts";
import { documentSpec, REPOSITORY } from "./objects.ts";

/** A snapshot as a repository lists it. */
export type Snapshot = { snapshot: string; state: string; indices: string[] };

/** One part of a day to restore: an index as a snapshot has it. */
export interface Pick {
  index: string;
  target: string; // its name when it is back: the snapshot's own, whatever else S3 has of the day
  snapshot: string;
  bytes: number;
  replaces: string[]; // names of earlier snapshots' copies, of which it has every line
}

const LOG_INDEX = /^logs-(?<stream>[a-z0-9]+)-(?<day>\d{4}\.\d{2}\.\d{2})$/;

/** Where logs of `writer` are read; what is another's is read-only: two that write would damage it. */
export async function openSource(os: OpenSearch, cluster: Cluster, writer: Cluster) {
  const { type, settings } = documentSpec("repository", writer) as { type: string; settings: Json };
  const isOwn = writer.id === cluster.id;
  const name = isOwn ? REPOSITORY : `${REPOSITORY}-${writer.id}`;
  const spec = { type, settings: { ...settings, readonly: true } };
  if (!isOwn) await ensure(document("SnapshotRepository", name, spec), os);
  return {
    repository: name,
    prefix: prefixOf(cluster, writer),
    folder: `${settings.bucket}/${settings.base_path}`,
    // What leads `make restore-logs` to it.
    words: `CLUSTER=${cluster.id}${isOwn ? "" : ` FROM=${writer.id}`}`,
    // What is another's would count as ours; it is refused, to be done later, while a restore from there runs.
    async [Symbol.asyncDispose]() {
      if (!isOwn) await request(os, "DELETE", `/_snapshot/${name}`);
    },
  };
}

/** Where a day comes from. */
export type Source = Awaited<ReturnType<typeof openSource>>;

/** How the names of indices begin that `writer` wrote and `cluster` has back: `restored-`, or `restored-198-`. */
export function prefixOf(cluster: Cluster, writer: Cluster): string {
  return writer.id === cluster.id ? "restored-" : `restored-${writer.id}-`;
}

/** Every snapshot of a source. @throws {DeployError} exit 3 when it is not registered, exit 8. */
export async function snapshotsOf(os: OpenSearch, source: Source): Promise<Snapshot[]> {
  // Without verbose=false OpenSearch would read an object of S3 for each snapshot.
  const answer = await read(os, `/_snapshot/${source.repository}/_all?verbose=false`);
  if (answer) return answer.snapshots;
  const what = `Cannot list snapshots: OpenSearch has no repository ${source.repository}`;
  const fix = `make 40-logging ${source.words}`;
  throw prerequisiteError(what, { fix });
}

const dayOf = (index: string) => LOG_INDEX.exec(index)?.groups?.day;
const isComplete = ({ state }: Snapshot) => state === "SUCCESS";

/** The stream (`host`, `k8s`) of a log index. */
export function streamOf(index: string): string {
  return LOG_INDEX.exec(index)!.groups!.stream!;
}

/** UTC days with at least one complete snapshot, oldest first, with their streams (`host`, `k8s`). */
export function restorableDays(snapshots: Snapshot[]) {
  const parts = snapshots.filter(isComplete).flatMap(({ snapshot, indices }) =>
    indices.filter(dayOf).map((index) => ({ snapshot, index }))
  );
  const days = [...Map.groupBy(parts, ({ index }) => dayOf(index)!)];
  return days.sort(([a], [b]) => a < b ? -1 : 1).map(([day, parts]) => ({
    day,
    streams: [...new Set(parts.map(({ index }) => streamOf(index)))].sort(),
    snapshots: new Set(parts.map(({ snapshot }) => snapshot)).size,
  }));
}

/** One day that can be restored. */
export type Day = ReturnType<typeof restorableDays>[number];

/** Snapshots of log indices that lack something and are never restored from. */
export function incomplete(snapshots: Snapshot[]): Snapshot[] {
  return snapshots.filter((one) =>
    !isComplete(one) && one.state !== "IN_PROGRESS" && one.indices.some(dayOf)
  );
}

/** The parts of a day to restore; `live` is what is back of it. @throws {DeployError} exit 2: S3 has no such day. */
export async function picksOf(os: OpenSearch, source: Source, day: string, live: string[]) {
  const all = await snapshotsOf(os, source);
  const ofDay = all.filter(({ indices }) => indices.some((index) => dayOf(index) === day));
  const whole = ofDay.filter(isComplete), broken = incomplete(ofDay);
  if (whole.length === 0) throw noSuchDay(source, day, broken, restorableDays(all));
  const names = whole.map(({ snapshot }) => encodeURIComponent(snapshot)).join(",");
  const { snapshots } = await read(os, `/_snapshot/${source.repository}/${names}/_status`);
  const torn = new Set(broken.flatMap(({ indices }) => indices));
  const picks = choose(snapshots, day, source.prefix, torn);
  return picks.map((pick): Pick => {
    // Earlier revisions had one part, by the name of the index.
    const old = source.prefix + pick.index;
    if (!live.includes(old)) return pick;
    const isOnly = picks.filter(({ index }) => index === pick.index).length === 1;
    return isOnly ? { ...pick, target: old } : { ...pick, replaces: [...pick.replaces, old] };
  });
}

function noSuchDay({ words, repository }: Source, day: string, broken: Snapshot[], days: Day[]) {
  const first = days[0]?.day, last = days.at(-1)?.day;
  const one = first ? `is 1 day, ${first}` : "is no day at all";
  const several = `are ${days.length} days, ${first} to ${last}`;
  const where = broken.map(({ snapshot, state }) => `${snapshot} is ${state}`)
    .concat(`there ${first === last ? one : several}`);
  const what = `Cannot restore ${day}: no complete snapshot of it in ${repository}`;
  const fix = `make restore-logs ${words}`;
  return configError(what, { where, fix });
}

/** What `_status` says of a snapshot; `incremental`: what no snapshot before it had. */
interface Status {
  snapshot: string;
  stats: { start_time_in_millis: number };
  indices: Record<string, { stats: Record<"incremental" | "total", { size_in_bytes: number }> }>;
}

/** Of each index of a day its newest snapshot, and of namesakes, too: a line that comes late makes it anew. */
export function choose(snapshots: Status[], day: string, prefix: string, torn = new Set<string>()) {
  const chosen = new Map<string, Pick[]>();
  const oldestFirst = snapshots.toSorted((a, b) =>
    a.stats.start_time_in_millis - b.stats.start_time_in_millis
  );
  for (const { snapshot, indices } of oldestFirst) {
    for (const [index, { stats: { incremental, total } }] of Object.entries(indices)) {
      if (dayOf(index) !== day) continue;
      const parts = chosen.getOrInsertComputed(index, () => []);
      // A namesake shares no file with it, but may with a snapshot that is not whole: rather a line twice than none.
      const goesOn = incremental.size_in_bytes < total.size_in_bytes && !torn.has(index);
      const before = goesOn ? parts.pop() : undefined;
      parts.push({
        index,
        target: `${prefix}${index}-${hashOf(snapshot).slice(0, 8)}`,
        snapshot,
        bytes: total.size_in_bytes,
        replaces: before ? [...before.replaces, before.target] : [],
      });
    }
  }
  return [...chosen.values()].flat().sort((a, b) => a.index < b.index ? -1 : 1);
}

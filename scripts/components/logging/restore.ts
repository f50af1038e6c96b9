// A day of logs comes back from S3. Its indices get another name: as logs-* they would be sent there again, and deleted.
import { prerequisiteError, serviceError } from "../../../lib/core/error.ts";
import { type OpenSearch, read, write } from "../../../lib/opensearch/client.ts";
import type { Change } from "../../../lib/io/report.ts";
import { until, type UntilOptions } from "../../../lib/io/wait.ts";
import { type Copy, explain } from "./nodes.ts";
import { type Pick, picksOf, type Source, streamOf } from "./snapshots.ts";

interface Options extends Omit<UntilOptions, "seconds"> {
  replicas: number;
  tell?: (change: Change) => void;
}

const RESTORED_INDEX = /^restored-(?:\d+-)?logs-[a-z0-9]+-\d{4}\.\d{2}\.\d{2}(?:-[0-9a-f]{8})?$/;
const WHOLE = 0.8; // part of its snapshot's size that an index keeps when Lucene merges it

/** Indices that are back, by name; of one day, or of all; with `prefix` (see `prefixOf`) of one cluster. */
export async function restoredIndices(os: OpenSearch, day = "", prefix = "restored-*") {
  const path = `/_cat/indices/${prefix}logs-*-${day}*?format=json&h=index`;
  const found: { index: string }[] = await read(os, path) ?? [];
  return found.map(({ index }) => index).filter((name) => RESTORED_INDEX.test(name)).sort();
}

/** Which streams of a day are back, by the restored indices that are `live`: `restored` for all of it, `-` for none. */
export async function backOf(os: OpenSearch, source: Source, day: string, live: string[]) {
  const beginning = `${source.prefix}logs-`;
  const ofDay = live.filter((name) => name.startsWith(beginning) && name.includes(day));
  if (ofDay.length === 0) return "-";
  const picks = await picksOf(os, source, day, ofDay);
  const isBack = ({ target }: Pick) => ofDay.includes(target);
  if (picks.every(isBack)) return "restored";
  const streams = [...Map.groupBy(picks, ({ index }) => streamOf(index))]
    .filter(([, parts]) => parts.some(isBack))
    .map(([stream, parts]) => parts.every(isBack) ? stream : `a part of ${stream}`);
  return streams.join(", ") || "a part";
}

/** Has a day back, whole. @throws {DeployError} exit 2: no such day, 3: no room, 7: it takes too long, 8: it fails. */
export async function restoreDay(os: OpenSearch, source: Source, day: string, options: Options) {
  const { replicas, tell, ...patience } = options;
  const live = await restoredIndices(os, day);
  const picks = await picksOf(os, source, day, live);
  const changes: Change[] = [], missing: Pick[] = [];
  const done = (change: Change) => (changes.push(change), tell?.(change));
  for (const pick of picks) {
    const { lack } = await stateOf(os, pick);
    if (lack === "broken") done(await remove(os, pick.target));
    if (lack) missing.push(pick);
  }
  const bytes = missing.reduce((sum, pick) => sum + pick.bytes, 0) * (1 + replicas);
  if (bytes > 0) await refuseWithoutRoom(os, day, bytes);
  for (const pick of missing) done(await start(os, source.repository, pick, replicas));
  // A megabyte a second is a bad network; OpenSearch itself goes up to 40.
  const seconds = 600 + Math.ceil(picks.reduce((sum, pick) => sum + pick.bytes, 0) / 1e6);
  await until(`the logs of ${day}`, () => unfinished(os, picks), { ...patience, seconds });
  const superseded = picks.flatMap(({ replaces }) => replaces);
  for (const name of live) if (superseded.includes(name)) done(await remove(os, name));
  const targets = picks.map(({ target }) => target).join(",");
  const lines: number = (await read(os, `/${targets}/_count`)).count;
  return { changes, lines };
}

/** Deletes what is back of a day under a prefix, see `prefixOf`. S3 keeps it. */
export async function dropDay(os: OpenSearch, day: string, prefix: string): Promise<Change[]> {
  const names = await restoredIndices(os, day, prefix);
  return await Promise.all(names.map((name) => remove(os, name)));
}

async function remove(os: OpenSearch, target: string): Promise<Change> {
  await write(os, "DELETE", `/${target}`);
  return { id: target, action: "deleted" };
}

async function refuseWithoutRoom(os: OpenSearch, day: string, bytes: number): Promise<void> {
  type Space = { total_in_bytes: number; available_in_bytes: number };
  type Node = { name: string; roles: string[]; fs: { total: Space } };
  const { nodes } = await read(os, "/_nodes/stats/fs");
  const disks = Object.values<Node>(nodes).filter(({ roles }) => roles.includes("data"))
    .map(({ name, fs: { total: { total_in_bytes: total, available_in_bytes: available } } }) => (
      { name, total, available }
    ));
  const room = roomOf(disks);
  if (room >= bytes) return;
  const what = `Cannot restore ${day}: it takes ${sizeText(bytes)}`;
  throw prerequisiteError(`${what}, and there is room for ${sizeText(room)}`, {
    where: [
      ...disks.map(({ name, total, available }) =>
        `${name}: ${sizeText(total - available)} of ${sizeText(total)} are used`
      ),
      "no disk that is 85 % full gets a day, and none is filled beyond 90 %: at 95 % no line is taken",
    ],
    fix: "drop days that were restored before, or raise OPENSEARCH_STORAGE",
  });
}

/** Bytes that restored indices may take, far from where OpenSearch refuses new lines: none of a disk that is 85 % full. */
export function roomOf(disks: { total: number; available: number }[]): number {
  return disks.filter(({ total, available }) => available > 0.15 * total)
    .reduce((sum, { total, available }) => sum + available - 0.1 * total, 0);
}

/** `411 kB`, `1.2 GB`. */
export function sizeText(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

async function start(os: OpenSearch, from: string, pick: Pick, replicas: number): Promise<Change> {
  const { index, target, snapshot, bytes } = pick;
  const path = `/_snapshot/${from}/${encodeURIComponent(snapshot)}/_restore`;
  await write(os, "POST", `${path}?wait_for_completion=false`, {
    indices: index,
    include_global_state: false,
    include_aliases: false,
    rename_pattern: "(.+)",
    rename_replacement: target.replace(index, "$1"),
    index_settings: {
      "index.number_of_replicas": replicas,
      "index.plugins.index_state_management.auto_manage": false,
    },
  });
  return { id: `${target} (${sizeText(bytes)} of ${snapshot})`, action: "created" };
}

/** What is not there yet, with how far it is. @throws {DeployError} exit 8 when one has failed. */
async function unfinished(os: OpenSearch, picks: Pick[]): Promise<string[]> {
  const states = await Promise.all(picks.map((pick) => stateOf(os, pick)));
  const failed = states.filter(({ lack }) => lack);
  if (failed.length === 0) return states.flatMap(({ about }) => about);
  throw serviceError("Cannot restore: OpenSearch gave up", {
    where: failed.flatMap(({ about }) => about),
    fix: "mend what is named above and run again: what is broken is deleted and restored anew",
  });
}

type State = { lack?: "gone" | "broken"; about: string[] };

// About one that is whole there is nothing to say.
async function stateOf(os: OpenSearch, { target, bytes }: Pick): Promise<State> {
  const path = `/_cat/shards/${target}?format=json&bytes=b&h=index,shard,prirep,state,node,store`;
  const shards: (Copy & { store: string | null })[] | undefined = await read(os, path);
  if (!shards) return { lack: "gone", about: [`${target} is gone`] };
  const primaries = shards.filter(({ prirep }) => prirep === "p");
  const answer = await read(os, `/${target}/_recovery`);
  const all: Recovery[] = answer?.[target]?.shards ?? [];
  const past = all.filter(({ primary }) => primary);
  // Not by health: an index that is being restored is yellow, as one that lacks replicas.
  if (primaries.every(({ state }) => state === "STARTED")) {
    // A node that restarts during a restore forgets it, and makes the index anew: green and empty.
    const isWhole = past.length > 0 && past.every(({ type }) => type === "SNAPSHOT") ||
      primaries.reduce((sum, { store }) => sum + Number(store), 0) >= WHOLE * bytes;
    if (isWhole) return { about: [] };
    return { lack: "broken", about: [`${target} is not whole: a node went away meanwhile`] };
  }
  const lost = primaries.find(({ state }) => state === "UNASSIGNED");
  const why = lost && await explain(os, lost);
  if (why?.gaveUp) return { lack: "broken", about: why.lines };
  const done = past.reduce((sum, { index }) => sum + index.size.recovered_in_bytes, 0);
  // In steps of ten, because each other text is a line of output.
  const percent = Math.min(90, Math.floor(done * 10 / Math.max(bytes, 1)) * 10);
  return { about: [`${target} at ${percent} % of ${sizeText(bytes)}`] };
}

type Recovery = { primary: boolean; type: string; index: { size: { recovered_in_bytes: number } } };

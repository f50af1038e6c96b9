// Days of logs that are on S3 only: a list of them, or DAY back in OpenSearch until --drop. FROM names another cluster,
// which may be gone, whose logs are wanted. Needs 40-logging. Safe to run again: what is there stays.
import "../needs.ts";
import process from "node:process";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { command, LOOKS, onlyOf, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { configError } from "../../lib/core/error.ts";
import { connect } from "../../lib/kube/target.ts";
import type { OpenSearch } from "../../lib/opensearch/client.ts";
import { type Change, print, Report, table } from "../../lib/io/report.ts";
import { counted } from "../../lib/core/short_list.ts";
import { openOpenSearch, replicas } from "../components/logging/objects.ts";
import { backOf, dropDay, restoreDay, restoredIndices } from "../components/logging/restore.ts";
import { utcDay } from "../components/logging/search.ts";
import * as snapshots from "../components/logging/snapshots.ts";

const USAGE = "[DAY=2026.11.08] [FROM=198] restore-logs.ts CLUSTER";
const FLAGS = { drop: "delete what was restored of DAY; S3 keeps it" };

const report = new Report(), started = performance.now();

await command(USAGE, FLAGS, async (ids, { drop }) => {
  const { DAY, FROM } = process.env;
  const day = DAY ? utcDay(DAY) : undefined;
  if (drop && !day) {
    const fix = "make restore-logs CLUSTER=197 DAY=2026.11.08 ARGS=--drop";
    throw configError("Cannot drop: no day is named", { fix });
  }
  const cluster = await onlyOf(ids, "make restore-logs CLUSTER=", WITHOUT_SECRETS);
  const reading = { ...WITHOUT_SECRETS, ...LOOKS };
  const words = `make restore-logs CLUSTER=${cluster.id} FROM=`;
  const writer = FROM ? await onlyOf([FROM], words, reading) : cluster;
  await connect(cluster);
  await using os = await openOpenSearch(cluster);
  // Without S3: what is back can be dropped while that is away.
  if (drop) {
    const changes = await dropDay(os, day!, snapshots.prefixOf(cluster, writer));
    report.changes(changes);
    if (changes.length === 0) report.say(`  nothing was restored of ${day}`);
    return summary(changes);
  }
  await using source = await snapshots.openSource(os, cluster, writer);
  await (day ? restores(os, cluster, source, day) : lists(os, cluster, source));
}, import.meta.main);

async function lists(os: OpenSearch, cluster: Cluster, source: snapshots.Source): Promise<void> {
  const all = await snapshots.snapshotsOf(os, source);
  const days = snapshots.restorableDays(all);
  for (const { snapshot, state } of snapshots.incomplete(all)) {
    report.warn(`${snapshot} is ${state}: it is never restored from`);
  }
  if (days.length === 0) {
    const when = `after ${text(cluster, "LOG_RETENTION")}, until then make logs has it`;
    return report.say(`nothing on S3 yet (${source.folder}): a day goes there ${when}`);
  }
  const live = await restoredIndices(os);
  const back = await Promise.all(days.map(({ day }) => backOf(os, source, day, live)));
  print(dayTable(days, back));
  report.say(`restore one: make restore-logs ${source.words} DAY=${days.at(-1)!.day}`);
}

/** Days on S3, and what {@link backOf} each of them is. */
export function dayTable(days: snapshots.Day[], back: string[]): string {
  const rows = days.map(({ day, streams, snapshots }, at) => {
    return [day, streams.join(", "), String(snapshots), back[at]!];
  });
  return table([["DAY (UTC)", "STREAMS", "SNAPSHOTS", "IN OPENSEARCH"], ...rows]);
}

async function restores(os: OpenSearch, cluster: Cluster, source: snapshots.Source, day: string) {
  report.heading(`${day} from S3 (${source.folder}) to ${cluster.name}`);
  const { changes, lines } = await restoreDay(os, source, day, {
    replicas: replicas(cluster),
    say: report.waiting,
    tell: (change) => report.changes([change]),
  });
  report.say(`  lines   ${lines} of ${day} can be searched`);
  report.say(`  search  make logs CLUSTER=${cluster.id} DAY=${day}`);
  report.say(`  drop    make restore-logs ${source.words} DAY=${day} ARGS=--drop`);
  summary(changes);
}

function summary({ length }: Change[]): void {
  const seconds = (performance.now() - started) / 1000;
  report.say(`${counted(length, "change")} in ${seconds.toFixed(1)}s`);
}

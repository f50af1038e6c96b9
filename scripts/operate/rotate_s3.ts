// The S3 keys of the settings for the whole fleet: made where they can be, proved, given to every program, proved again;
// only then the old ones are disabled. Needs a deployed fleet. Safe to run again: a run that was cut off goes on.
import "../needs.ts";
import { Inventory, pruneCommand } from "../../lib/apply/inventory.ts";
import { choiceFor, command } from "../../lib/cli/command.ts";
import * as check from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { deployFleet } from "../../lib/deploy/fleet.ts";
import { type ClusterResult, exitCodeOfFleet, summary } from "../../lib/deploy/results.ts";
import { type Step, step } from "../../lib/deploy/step.ts";
import { maskSecrets, Report } from "../../lib/io/report.ts";
import { connect } from "../../lib/kube/target.ts";
import { ask, growthOf, PROMETHEUS, valueOf } from "../checks/metrics.ts";
import { backupTarget } from "../checks/storage.ts";
import { uploads } from "../checks/thanos.ts";
import { verifyBy } from "../checks/verify.ts";
import { STEPS } from "../steps.ts";
import * as keys from "./rotation/keys.ts";

const FLAGS = { "keep-old": "leave the old keys as they are" };
const LOOKBACK = 300; // seconds from sample to sample that a graph still bridges
const SELF = "prometheus_build_info"; // in every scrape of Prometheus by itself

await command("rotate-s3.ts", FLAGS, async (_, flags) => {
  const { clusters, ...choice } = await choiceFor(["all"]);
  const paused = choice.paused.map(({ id }) => id);
  return await rotate(clusters, { keepOld: flags["keep-old"], paused });
}, import.meta.main);

/** Rotates the keys of the fleet and gives the exit code. */
export async function rotate(fleet: Cluster[], {
  keepOld = false,
  paused = [] as string[], // ids of clusters that are none of it now, and go on with the keys they have
  report = new Report(),
  prepare = STEPS.slice(0, 1), // makes and proves the new keys
  steps = STEPS.slice(1), // give the programs theirs, in order
  patience = 180, // seconds that the proof may take to come true: programs have only just started
} = {}): Promise<number> {
  const started = Date.now();
  const end = (results: ClusterResult[], why = "") => {
    report.say(`\n${summary(results, (Date.now() - started) / 1000)}${why && `\n\n${why}`}`);
    return exitCodeOfFleet(results);
  };
  const seats = await Promise.all(fleet.map(look));
  const clusters = seats.filter(({ holdings }) => holdings.length > 0).map((seat) => seat.cluster);
  const holdings = seats.flatMap(({ holdings }) => holdings);
  keys.refuseSameId(holdings);
  const old = keys.oldKeys(fleet, seats.flatMap(({ seen }) => seen));
  tellBefore(seats, report);
  if (keys.outdated(holdings).length === 0 && old.length === 0) {
    report.say("\nnothing to rotate: every cluster holds the keys of the settings");
    return ExitCode.done;
  }

  const prepared = await deployFleet(prepare, clusters);
  if (exitCodeOfFleet(prepared) !== ExitCode.done) {
    return end(prepared, "nothing is rotated: every cluster keeps its keys");
  }
  await Promise.all(seats.map(async ({ cluster, inventory, seen }) => {
    const own = keys.oldKeys(fleet, seen);
    if (own.length > 0) await keys.remember(inventory, keys.andOfPaused(own, cluster, paused));
  }));

  const results = await deployFleet([...steps, proofSince(started, patience)], clusters);
  if (exitCodeOfFleet(results) !== ExitCode.done) {
    const next = "every old key stays valid; mend it and run make rotate-s3 again: it goes on";
    return end(results, next);
  }

  report.heading("Old keys");
  const then = "then: make rotate-s3, before any other deploy to it";
  const pause = paused.length > 0 && `while ${paused.join(", ")} is paused; ${then}`;
  const why = pause || keepOld && "as --keep-old says";
  if (!why) await keys.retire(old, fleet, report);
  else for (const id of old) report.note(`the old key ${keys.lastFour(id)} stays, ${why}`);
  // The run after the pause needs to know what there is to retire.
  if (paused.length === 0) await Promise.all(fleet.map(keys.forget));
  return end(results);
}

/** What a cluster holds; `seen`: ids of old keys, also of those that an earlier run, cut off, has left to be retired. */
async function look(cluster: Cluster) {
  const inventory = new Inventory(await connect(cluster));
  const [holdings, ids] = await Promise.all([keys.holdingsOf(cluster), keys.remembered(cluster)]);
  maskSecrets(holdings.map(({ key }) => key.secretKey));
  const seen = [...keys.outdated(holdings).map(({ key }) => key.accessKey), ...ids];
  return { cluster, inventory, holdings, seen };
}

function tellBefore(seats: Awaited<ReturnType<typeof look>>[], report: Report): void {
  for (const { cluster: { name }, holdings } of seats) {
    if (holdings.length === 0) report.warn(`${name} holds no key yet: it is left alone`);
    for (const { where, key } of keys.outdated(holdings)) {
      report.say(`  ${name}: ${where} holds the old key ${keys.lastFour(key.accessKey)}`);
    }
  }
}

/** The step that looks at what has come since `started` (ms), after all have the new keys. @throws {DeployError} exit 11. */
function proofSince(started: number, patience: number): Step {
  return step({
    name: "rotate-s3",
    afterFleet: true,
    objects: () => Promise.resolve([]),
    async run(context) {
      const deadline = Date.now() + patience * 1000;
      // Only what runs needs a while: a key is right at once, or not at all.
      const until = ({ needs }: check.Check) => needs === "pods" ? deadline : 0;
      await verifyBy(proofs(context.cluster, started), context, until);
    },
  });
}

function proofs(cluster: Cluster, started: number): check.Check[] {
  const interval = durationSeconds(text(cluster, "SCRAPE_INTERVAL"));
  /** Seconds since then, and what a rate needs before it. */
  const since = () => Math.ceil((Date.now() - started) / 1000 + 2 * interval);

  async function samples({ proxy }: check.Subject): Promise<check.Finding> {
    type Series = { values: [time: number, value: string][] };
    const seconds = since(), found = await ask<Series>(proxy, PROMETHEUS, `${SELF}[${seconds}s]`);
    const times = found.flatMap(({ values }) => values.map(([time]) => time));
    // By the clock of the server.
    const age = await valueOf(proxy, `time() - max(timestamp(${SELF}))`);
    const now = Math.max(0, ...times) + (age ?? 0);
    // The first must be as old as the rotation: a volume that was lost would show none before it.
    return judgeGap(largestGap([now - seconds, ...times, now]), age, interval);
  }

  async function lines({ proxy }: check.Subject): Promise<check.Finding> {
    const counter = "fluentbit_output_dropped_records_total";
    const dropped = await growthOf(proxy, counter, `${since()}s`);
    if (dropped === 0) return check.ok("none was lost");
    return {
      what: dropped === undefined
        ? "Prometheus has no metrics of Fluent Bit"
        : `Fluent Bit has lost ${Math.ceil(dropped)} lines or events meanwhile`,
      cause: "OpenSearch was away for longer than the buffer lasts, or refused them",
      fix: `which, and of what: the check Dropped logs of make verify-${cluster.id}`,
    };
  }

  const { LIVE } = check, held = async () => judgeKeys(await keys.holdingsOf(cluster));
  // Longhorn reads its key at each of its looks, and by now the Secret holds the new one.
  const written = Date.now(), target = (it: check.Subject) => backupTarget(it, written);
  const uploaded = (it: check.Subject) => uploads(it, started);
  const toLogs = { hop: "Fluent Bit -> OpenSearch", program: "fluent-bit" };
  return [
    { when: "after", name: "New keys", hop: "settings -> Secrets", run: held },
    ...check.checksOf(STEPS, cluster, "after").filter(({ s3 }) => s3),
    { ...LIVE, name: "Backup target", hop: "Longhorn -> S3", run: target },
    { ...LIVE, name: "Samples without a gap", hop: "exporters -> Prometheus", run: samples },
    { ...LIVE, name: "Uploads meanwhile", hop: "sidecar -> S3", run: uploaded },
    { ...LIVE, ...toLogs, name: "Log lines meanwhile", run: lines },
  ];
}

/** Whether the Secrets of a cluster hold the keys of the settings, of which the ends alone are shown. */
export function judgeKeys(holdings: keys.Holding[]): check.Finding[] {
  const wrong = keys.outdated(holdings).map(({ where, key, cluster: { id } }) => ({
    what: `Secret ${where} holds another key (${keys.lastFour(key.accessKey)}) than the settings`,
    cause: "no step wants it any longer, or somebody wrote it meanwhile",
    fix: `make cluster-${id}; if it is left over: ${pruneCommand(id)}`,
  }));
  const held = holdings.map(({ keeps, key }) => `${keeps} ${keys.lastFour(key.accessKey)}`);
  return wrong.length > 0 ? wrong : [check.ok(held.join(", "))];
}

/** The longest time between two neighbours, in their unit; 0 with fewer than two. */
export function largestGap(times: number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.max(0, ...sorted.slice(1).map((time, index) => time - sorted[index]!));
}

/** Judges the longest gap and the age of the newest sample (undefined: there is none), in seconds. */
export function judgeGap(gap: number, age: number | undefined, interval: number): check.Finding {
  if (age === undefined || age > 2 * interval + 10) {
    return {
      what: `Prometheus has no new sample of itself${age ? ` for ${age.toFixed(0)} s` : ""}`,
      cause: "it has restarted only just now, or does not scrape",
      fix: "kubectl -n monitoring get pods; kubectl -n monitoring describe prometheus",
    };
  }
  const most = `${gap.toFixed(0)} s without a sample`;
  if (gap <= LOOKBACK) return check.ok(`${most} at most`);
  return {
    what: `${most}: more than the ${LOOKBACK} s that graphs bridge`,
    cause: "Prometheus restarts for a new key, and took too long to start",
    fix: "kubectl -n monitoring describe pod prometheus-kube-prometheus-stack-prometheus-0; " +
      "the gap stays, data before and after it is whole",
  };
}

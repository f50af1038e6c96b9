// The S3 keys of the settings for the whole fleet: made where they can be, proved, given to every program, proved again;
// only then the old ones are disabled. Needs a deployed fleet. Safe to run again: a run that was cut off goes on.
import "../needs.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { choiceFor, command } from "../../lib/cli/command.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { deployFleet } from "../../lib/deploy/fleet.ts";
import { Inventory } from "../../lib/apply/inventory.ts";
import { connect } from "../../lib/kube/target.ts";
import { maskSecrets, Report } from "../../lib/io/report.ts";
import { type ClusterResult, exitCodeOfFleet, summary } from "../../lib/deploy/results.ts";
import { STEPS } from "../steps.ts";
import * as keys from "./rotation/keys.ts";
import { PATIENCE, proofSince } from "./rotation/proof.ts";

const FLAGS = { "keep-old": "leave the old keys as they are" };

/** Rotates the keys of the fleet and gives the exit code. */
export async function rotate(fleet: Cluster[], {
  keepOld = false,
  paused = [] as string[], // ids of clusters that are none of it now, and go on with the keys they have
  report = new Report(),
  prepare = STEPS.slice(0, 1), // makes and proves the new keys
  steps = STEPS.slice(1), // give the programs theirs, in order
  patience = PATIENCE, // seconds that the proof may take to come true
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

await command("rotate-s3.ts", FLAGS, async (_, flags) => {
  const { clusters, ...choice } = await choiceFor(["all"]);
  const paused = choice.paused.map(({ id }) => id);
  return await rotate(clusters, { keepOld: flags["keep-old"], paused });
}, import.meta.main);

// The whole fleet through one entry: deploy, plan, drift, verify and remove, for one cluster, some or all.
import "./needs.ts";
import process from "node:process";
import { choiceFor, command, LOOKS, tellWarnings, WITHOUT_SECRETS } from "../lib/cli/command.ts";
import type { ChoiceOptions, Flags, Values } from "../lib/cli/command.ts";
import { deploy, DEPLOY_FLAGS, tellUnpinned } from "../lib/cli/deploy.ts";
import { configError, refusalError } from "../lib/core/error.ts";
import { exitCodeOfFleet, summary } from "../lib/deploy/results.ts";
import { driftCode, planCode, planFleet, printPlans } from "../lib/deploy/plan_fleet.ts";
import { plansJson, refuseOtherFile, writePlan } from "../lib/deploy/plan_file.ts";
import { removeFleet } from "../lib/deploy/fleet.ts";
import { isUntouched } from "../lib/deploy/waves.ts";
import { signalCode } from "../lib/io/interrupt.ts";
import { printJson, Report } from "../lib/io/report.ts";
import { verify } from "./50-verify.ts";
import { STEPS } from "./steps.ts";

const VERBS: Record<string, (ids: string[], flags: Flags, values: Values) => Promise<number>> = {
  deploy: (ids, flags, { take }) => deploy([...STEPS, verify], ids, flags, { all: true, take }),
  verify: (ids, flags) => deploy([verify], ids, flags),
  async plan(ids, flags, values) {
    const { PLAN } = process.env;
    if (PLAN) await refuseOtherFile(PLAN);
    const { plans, paused } = await plansOf(ids, flags, values, LOOKS);
    if (PLAN && plans.every(({ error }) => error === undefined)) {
      await writePlan(PLAN, plans, paused);
      new Report().say(`kept in ${PLAN}: PLAN=${PLAN} makes it binding for a deploy`);
    }
    return planCode(plans);
  },
  async remove(ids, flags) {
    const started = performance.now();
    const { clusters } = await choiceFor(ids, WITHOUT_SECRETS);
    tellWarnings(clusters);
    const { YES } = process.env;
    const named = clusters.map(({ id }) => id).join(",");
    if (YES && YES !== named) {
      throw refusalError(`Refused: YES=${YES} does not name what would be removed`, {
        fix: `YES=${named} behind make remove-${named}`,
      });
    }
    const really = YES === named, { matrix, "steal-lock": stealLock } = flags;
    const results = await removeFleet(STEPS, clusters, { really, stealLock });
    const { say } = new Report();
    say(`\n${summary(results, (performance.now() - started) / 1000, matrix)}`);
    say(really ? FORGET : `\nnothing is deleted yet: the same with YES=${named} does it`);
    const held = results.filter(isUntouched).map(({ cluster }) => cluster.id).join();
    if (held) say(`\nheld back, and as they were: make remove-${held} YES=${held}`);
    return Math.max(exitCodeOfFleet(results), held ? signalCode() : 0);
  },
  drift: async (ids, flags, values) =>
    driftCode((await plansOf(ids, flags, values, { paused: "left out" })).plans),
};

async function plansOf(ids: string[], flags: Flags, { take }: Values, options: ChoiceOptions) {
  const { clusters, central, paused } = await choiceFor(ids, options);
  tellWarnings(clusters);
  await tellUnpinned(STEPS, clusters);
  const plans = await planFleet(STEPS, clusters, { central, take });
  if (flags.json) printJson(plansJson(plans, paused));
  else printPlans(plans, flags);
  return { plans, paused };
}

const FORGET = `
volumes, claims, namespaces and definitions stay; kubectl delete them when their data may go.
An edge that will not come back: delete its env file, then deploy the centre`;

const verbs = Object.keys(VERBS);
await command(
  `fleet.ts ${verbs.join(" | ")} CLUSTER... | GROUP... | edges | all`,
  { ...DEPLOY_FLAGS, short: "of a plan: what changes and how many, without the fields" },
  ([word = "", ...ids], flags, values) => {
    const verb = VERBS[word];
    if (verb) return verb(ids, flags, values);
    throw configError(`Cannot do "${word}" with the fleet: no such verb`, {
      where: `known verbs: ${verbs.join(", ")}`,
      fix: "deno task fleet plan 196",
    });
  },
  import.meta.main,
);

// The deploying commands: what they understand, in which order clusters have their turn, and the closing words.
import process from "node:process";
import { missingBundles } from "../render/bundle.ts";
import { chooseClusters } from "../config/cluster.ts";
import { isSecret, SETTINGS } from "../config/schema.ts";
import { type Cluster, flag, quoted, text } from "../core/cluster.ts";
import { choiceFor, command, type Flags, tellPaused, tellWarnings } from "./command.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { FEW } from "../core/short_list.ts";
import { deployFleet } from "../deploy/fleet.ts";
import { connect } from "../kube/target.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import type { Manifest } from "../core/object.ts";
import { planCentral } from "../deploy/central.ts";
import { planSteps } from "../deploy/plan_fleet.ts";
import { readPlan, refuseMoved } from "../deploy/plan_file.ts";
import { chosenToReplace } from "../apply/replace.ts";
import { signalCode } from "../io/interrupt.ts";
import { printJson, Report } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import {
  type ClusterResult,
  exitCodeOfFleet,
  notShown,
  openDoors,
  resultsJson,
  summary,
  urlsOf,
} from "../deploy/results.ts";
import { desiredOf, type Step, taggedImages } from "../deploy/step.ts";
import { addNotRun, heldBack, runWaves, wavesOf } from "../deploy/waves.ts";

/** What every deploying command understands. */
export const DEPLOY_FLAGS = {
  adopt: "accept a rebuilt cluster (its kube-system UID changed)",
  json: "the results as JSON on stdout",
  matrix: "every step of every cluster in the closing table, every cluster of a plan, be they many",
  "steal-lock": "deploy though another run holds the cluster (its process must be gone)",
  prune: "delete what no step wants any more; volumes, claims and namespaces stay",
  "prune-most": "the same, also when that is more than stays",
  "take=NAME": "take fields away that this program has written beside ours",
};

/**
 * Deploys steps (`all` that there are, or some) to clusters, writes the closing table (or, with `--json`,
 * the results to stdout), and gives the exit code. Of the environment it obeys `WAVES` (which clusters go first: the
 * others follow when those are well) with its short form `CANARY`, `MAX_FAILURES` (so many of a wave may fail before
 * nothing else begins), `PLAN` (an approved plan) and `REPLACE` (ids of objects that may be deleted and created).
 */
export async function deploy(
  steps: Step[],
  ids: string[],
  flags: Flags = {},
  { all = false, take }: { all?: boolean; take?: string[] } = {},
): Promise<number> {
  const started = performance.now();
  const { PLAN, REPLACE, MAX_FAILURES } = process.env;
  const maxFailures = MAX_FAILURES ? countOf("MAX_FAILURES", MAX_FAILURES) : undefined;
  const { clusters, fleet, central, paused } = await choiceFor(ids);
  const waves = wavesOf(wavesTyped(), clusters, (name) => chooseClusters(fleet, name.split(",")));
  tellWarnings(clusters);
  await tellUnpinned(steps, clusters);
  const approved = PLAN ? await readPlan(PLAN) : undefined;
  const replace = REPLACE
    ? chosenToReplace(REPLACE, await desiredOfAll(steps, clusters))
    : undefined;
  // Its own wave tells a centre of which a plan was approved: all of that is to be done there at once.
  const centre = central ??
    (approved ? undefined : clusters.find(({ role }) => role === "central"));
  const deployWave = (wave: Cluster[]) =>
    deployFleet(steps, wave, {
      adopt: flags.adopt,
      prune: flags.prune,
      pruneMost: flags["prune-most"],
      stealLock: flags["steal-lock"],
      take,
      replace,
      maxFailures,
      all,
      approve: approved && (async (inventory) => {
        const { cluster } = inventory;
        const now = wave.includes(cluster)
          ? await planSteps(steps, inventory, all)
          : await planCentral(steps, wave.map(({ id }) => id), cluster, { take });
        refuseMoved(approved, cluster, now);
      }),
      central: centre,
    });
  const { results, held } = await runWaves(waves, deployWave, maxFailures);
  addNotRun(results, clusters, steps);
  await close(steps, results, (performance.now() - started) / 1000, flags.matrix);
  if (held.length > 0) {
    const whole = ids.includes("all") ? "all" : `cluster-${ids}`;
    const goal = all ? [whole] : [steps[0]!.name, `CLUSTER=${ids}`];
    const { typed, secret } = typedSettings();
    new Report().say(`\n${heldBack(held, results, ["make", ...goal, ...typed].join(" "))}`);
    if (secret) new Report().say(`  with the same ${secret} in the environment`);
  }
  tellPaused(paused);
  // Where nothing was under way no result tells of Ctrl-C.
  const code = Math.max(exitCodeOfFleet(results), held.length > 0 ? signalCode() : 0);
  if (flags.json) printJson(resultsJson(results, code, paused));
  return code;
}

/** The waves of the environment; without any all clusters are one. */
function wavesTyped(): string {
  const { WAVES, CANARY } = process.env;
  if (WAVES && CANARY) {
    throw new DeployError(`Cannot use CANARY=${CANARY} and WAVES="${WAVES}" together`, {
      exitCode: ExitCode.config,
      fix: `CANARY=${CANARY} is short for WAVES="${CANARY} all": leave one of them out`,
    });
  }
  return WAVES || (CANARY ? `${CANARY} all` : "all");
}

/**
 * What else makes this run what it is, as it is typed behind make, which hands it on: settings of the environment,
 * were they empty, and words of a deploy. Of secrets the names.
 */
function typedSettings(): { typed: string[]; secret: string } {
  const own = ["PROFILE", "CANARY", "WAVES", "MAX_FAILURES", "PLAN", "REPLACE", "ARGS"];
  const given = Object.keys(SETTINGS).filter((name) => process.env[name] !== undefined);
  const shown = [...given.filter((name) => !isSecret(name)), ...own.filter((n) => process.env[n])];
  return {
    typed: shown.map((name) => `${name}=${quoted(process.env[name]!)}`),
    secret: given.filter(isSecret).join(", "),
  };
}

/** What the steps want there; undefined when a cluster cannot be asked, of which its deploy will tell. */
async function desiredOfAll(steps: Step[], clusters: Cluster[]): Promise<Manifest[] | undefined> {
  try {
    const objects = await sideBySide(clusters, CLUSTERS_AT_ONCE, async (cluster) => {
      await connect(cluster);
      return await desiredOf(steps, cluster);
    });
    return objects.flat();
  } catch (error) {
    if (error instanceof DeployError) return undefined;
    throw error;
  }
}

function countOf(name: string, value: string): number {
  if (/^[1-9]\d*$/.test(value)) return Number(value);
  throw new DeployError(`Cannot use ${name}=${value}`, {
    exitCode: ExitCode.config,
    fix: `a number of clusters, at least 1: ${name}=1`,
  });
}

/** Says how many images of the steps go by their tags, where others of the site are pinned. */
export async function tellUnpinned(steps: Step[], clusters: Cluster[]): Promise<void> {
  const pinned = clusters.filter(({ digests }) => digests);
  const images = pinned.map((cluster) =>
    taggedImages(steps, cluster).catch((error): string[] => {
      // What cannot be rendered is told of each cluster in its turn.
      if (error instanceof DeployError) return [];
      throw error;
    })
  );
  const { size } = new Set((await Promise.all(images)).flat());
  if (size === 0) return;
  const file = text(pinned[0]!, "IMAGE_PINS_FILE");
  new Report().warn(`${size} ${size === 1 ? "image is" : "images are"} not in ${file}: make pin`);
}

/** What a run of so many seconds came to, what it could not show, and where to look now. */
async function close(
  steps: Step[],
  results: ClusterResult[],
  seconds: number,
  matrix?: boolean,
): Promise<void> {
  const report = new Report();
  report.say(`\n${summary(results, seconds, matrix)}`);
  const hidden = notShown(results);
  if (hidden.length > 0) report.say(`\nNot shown here:\n  ${hidden.join("\n  ")}`);
  for (const bundle of missingBundles()) {
    report.warn(`${bundle} was left out: it could not be had (UPSTREAM_MIRROR, docs/install.md)`);
  }
  const ended = results.filter(({ cluster }) => !flag(cluster, "SIMULATED_NODES"))
    .map(({ cluster, steps: ran }) => ({
      cluster,
      steps: steps.filter(({ name }) =>
        ran.some(({ step, state }) => step === name && state === "ok")
      ),
    }));
  const isFew = ended.length <= FEW;
  for (const { cluster, steps } of ended) {
    // The centre shows all of them; of many edges nobody reads four lines each.
    if (!isFew && cluster.role === "edge") continue;
    const urls = await urlsOf(steps, cluster);
    if (urls.length > 0) report.say(`\nopen  ${urls.join("\n      ")}`);
  }
  if (!isFew) report.say("      and the doors of each edge under its DOMAIN (README.md)");
  // Where nothing changed nothing opened either: `make config` tells them at any time.
  const changed = results.some(({ steps }) => steps.some(({ changed }) => changed > 0));
  const doors = changed ? openDoors(ended) : "";
  if (doors) report.say(`\n${doors}`);
}

/** Runs one step script: `scripts/30-thanos.ts 197 [--adopt]`. */
export function main(step: Step): Promise<never> {
  return command(
    `scripts/${step.name}.ts CLUSTER... | GROUP... | edges | all`,
    DEPLOY_FLAGS,
    (words, flags, { take }) => deploy([step], words, flags, { take }),
  );
}

// The deploying commands: what they understand, in which order clusters have their turn, and the closing words.
import process from "node:process";
import { chooseClusters } from "../config/cluster.ts";
import { isSecret, SETTINGS } from "../config/schema.ts";
import { type Cluster, flag, quoted, text } from "../core/cluster.ts";
import { isStandIn } from "../core/check.ts";
import { choiceFor, command, type Flags, tellPaused, tellWarnings } from "./command.ts";
import { configError, DeployError } from "../core/error.ts";
import { FEW, shortList } from "../core/short_list.ts";
import { deployFleet, planCentral } from "../deploy/fleet.ts";
import { planSteps } from "../deploy/plan_fleet.ts";
import { readPlan, refuseMoved } from "../deploy/plan_file.ts";
import { chosenToReplace } from "../apply/rejection.ts";
import { signalCode } from "../io/interrupt.ts";
import { printJson, Report, table } from "../io/report.ts";
import { connect } from "../kube/target.ts";
import { missingBundles } from "../render/bundle.ts";
import {
  type ClusterResult,
  exitCodeOfFleet,
  hasHad,
  resultsJson,
  summary,
} from "../deploy/results.ts";
import { desiredOf, type Step, taggedImages } from "../deploy/step.ts";
import { addNotRun, heldBack, runWaves, wavesOf } from "../deploy/waves.ts";

/** The flags of every deploying command. */
export const DEPLOY_FLAGS = {
  adopt: "accept a rebuilt cluster (its kube-system UID changed)",
  json: "the results as JSON on stdout",
  matrix: "every step of every cluster in the closing table, every cluster of a plan, be they many",
  "steal-lock": "deploy though another run holds the cluster (its process must be gone)",
  prune: "delete what no step wants any more; volumes, claims and namespaces stay",
  "prune-most": "the same, also when that is more than stays",
  "take=NAME": "take fields away that this program has written beside ours",
};

/** Deploys steps (`all` or some) as WAVES, CANARY, MAX_FAILURES, PLAN and REPLACE say, and gives the exit code. */
export async function deploy(
  steps: Step[],
  ids: string[],
  flags: Flags = {},
  { all = false, take }: { all?: boolean; take?: string[] } = {},
): Promise<number> {
  const started = performance.now();
  const { PLAN, REPLACE, MAX_FAILURES } = process.env;
  if (MAX_FAILURES && !/^[1-9]\d*$/.test(MAX_FAILURES)) {
    throw configError(`Cannot use MAX_FAILURES=${MAX_FAILURES}`, {
      fix: "a number of clusters, at least 1: MAX_FAILURES=1",
    });
  }
  const maxFailures = MAX_FAILURES ? Number(MAX_FAILURES) : undefined;
  const { clusters, fleet, central, paused } = await choiceFor(ids);
  const waves = wavesOf(wavesTyped(), clusters, (name) => chooseClusters(fleet, name.split(",")));
  tellWarnings(clusters);
  await tellUnpinned(steps, clusters);
  const approved = PLAN ? await readPlan(PLAN) : undefined;
  const replace = REPLACE ? await toReplace(REPLACE, steps, clusters) : undefined;
  // Its own wave tells a centre of which a plan was approved: all of that is to be done there at once.
  const own = approved ? undefined : clusters.find(({ role }) => role === "central");
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
      central: central ?? own,
    });
  const { results, held } = await runWaves(waves, deployWave, maxFailures);
  addNotRun(results, clusters, steps);
  await tellResults(steps, results, (performance.now() - started) / 1000, flags.matrix);
  if (held.length > 0) {
    const whole = ids.includes("all") ? "all" : `cluster-${ids}`;
    const goal = all ? whole : `${steps[0]!.name} CLUSTER=${ids}`;
    new Report().say(`\n${heldBack(held, results, `make ${goal} ${typedSettings()}`)}`);
  }
  tellPaused(paused);
  // Where nothing was under way no result tells of Ctrl-C.
  const code = Math.max(exitCodeOfFleet(results), held.length > 0 ? signalCode() : 0);
  if (flags.json) printJson(resultsJson(results, code, paused));
  return code;
}

function wavesTyped(): string {
  const { WAVES, CANARY } = process.env;
  if (WAVES && CANARY) {
    throw configError(`Cannot use CANARY=${CANARY} and WAVES="${WAVES}" together`, {
      fix: `CANARY=${CANARY} is short for WAVES="${CANARY} all": leave one of them out`,
    });
  }
  return WAVES || (CANARY ? `${CANARY} all` : "all");
}

/** What else makes this run what it is, as it is typed behind make; of secrets the names. */
function typedSettings(): string {
  const own = ["PROFILE", "CANARY", "WAVES", "MAX_FAILURES", "PLAN", "REPLACE", "ARGS"];
  // Also settings that are set to nothing.
  const given = Object.keys(SETTINGS).filter((name) => process.env[name] !== undefined);
  const shown = [...given.filter((name) => !isSecret(name)), ...own.filter((n) => process.env[n])];
  const secrets = given.filter(isSecret).join(", ");
  return shown.map((name) => `${name}=${quoted(process.env[name]!)}`).join(" ") +
    (secrets && `\n  with the same ${secrets} in the environment`);
}

async function toReplace(ids: string, steps: Step[], clusters: Cluster[]): Promise<Set<string>> {
  const wanted = clusters.map((cluster) => connect(cluster).then(() => desiredOf(steps, cluster)));
  return chosenToReplace(ids, (await Promise.all(wanted).catch(toldLater))?.flat());
}

/** Says how many images of the steps go by their tags, where others of the site are pinned. */
export async function tellUnpinned(steps: Step[], clusters: Cluster[]): Promise<void> {
  const pinned = clusters.filter(({ digests }) => digests);
  const images = pinned.map((cluster) => taggedImages(steps, cluster).catch(toldLater));
  const { size } = new Set((await Promise.all(images)).flatMap((some) => some ?? []));
  if (size === 0) return;
  const file = text(pinned[0]!, "IMAGE_PINS_FILE");
  new Report().warn(`${size} ${size === 1 ? "image is" : "images are"} not in ${file}: make pin`);
}

// A cluster that cannot be asked, and what cannot be rendered, is told in its turn.
function toldLater(error: unknown): undefined {
  if (!(error instanceof DeployError)) throw error;
}

/** Says what a run of so many seconds came to, what it could not show, and where to look now. */
async function tellResults(
  steps: Step[],
  results: ClusterResult[],
  seconds: number,
  matrix?: boolean,
): Promise<void> {
  const report = new Report();
  report.say(`\n${summary(results, seconds, matrix)}`);
  const all = results.flatMap(({ steps }) => steps);
  const hidden = all.flatMap(({ step, notShown }) => notShown.map((phase) => `${step}: ${phase}`));
  if (hidden.length > 0) report.say(`\nNot shown here:\n  ${[...new Set(hidden)].join("\n  ")}`);
  for (const bundle of missingBundles()) {
    report.warn(`${bundle} was left out: it could not be had (UPSTREAM_MIRROR, docs/install.md)`);
  }
  const ended = results.filter(({ cluster }) => !flag(cluster, "SIMULATED_NODES"))
    .map(({ cluster, steps: done }) => (
      { cluster, steps: steps.filter(({ name }) => hasHad(done, name)) }
    ));
  const isFew = ended.length <= FEW;
  for (const { cluster, steps } of ended) {
    // The centre shows all of them; of many edges nobody reads four lines each.
    if (!isFew && cluster.role === "edge") continue;
    const urls = await urlsOf(steps, cluster);
    if (urls.length > 0) report.say(`\nopen  ${urls.join("\n      ")}`);
  }
  if (!isFew) report.say("      and the doors of each edge under its DOMAIN (README.md)");
  // Where nothing changed nothing opened either: `make config` tells them at any time.
  const doors = all.some(({ changed }) => changed > 0) ? openDoors(ended) : "";
  if (doors) report.say(`\n${doors}`);
}

/** What steps leave open on clusters, as a table with what closes it; "" where there is nothing. */
export function openDoors(on: { cluster: Cluster; steps: Step[] }[]): string {
  const doors = on.flatMap(({ cluster, steps }) => {
    const open = steps.flatMap(({ opens }) => opens?.(cluster) ?? []);
    return open.map((door) => ({ ...door, id: cluster.id }));
  });
  const rows = [...Map.groupBy(doors, ({ what }) => what)].map(([what, same]) => {
    const ids = same.map(({ id }) => id);
    return [ids.length > FEW ? shortList(ids) : ids.join(", "), what, same[0]!.closedBy];
  });
  return rows.length > 0 ? table([["open on", "to whoever reaches it", "closed by"], ...rows]) : "";
}

/** Addresses that the cluster's Ingresses open, as a person types them; a stand-in has no page to open. */
export async function urlsOf(steps: Step[], cluster: Cluster): Promise<string[]> {
  const [scheme, port] = flag(cluster, "INGRESS_TLS")
    ? ["https", text(cluster, "HTTPS_NODE_PORT")]
    : ["http", text(cluster, "HTTP_NODE_PORT")];
  // Without the bundles: they bring no Ingress, and patching them again would cost seconds.
  const objects = await Promise.all(steps.map((step) => step.objects(cluster)));
  return objects.flat()
    .filter(({ kind, metadata }) => kind === "Ingress" && !isStandIn(cluster, metadata.name))
    .flatMap(({ spec }) => spec.rules)
    .map(({ host }: { host: string }) => `${scheme}://${host}:${port}`);
}

/** Runs one step script: `scripts/30-thanos.ts 197 [--adopt]`. */
export function main(step: Step): Promise<void> {
  return command(
    `scripts/${step.name}.ts CLUSTER... | GROUP... | edges | all`,
    DEPLOY_FLAGS,
    (words, flags, { take }) => deploy([step], words, flags, { take }),
  );
}

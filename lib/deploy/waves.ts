// A fleet in waves: some clusters have their turn first, the others when those are well.
import type { Cluster } from "../core/cluster.ts";
import { configError, type DeployError, ExitCode } from "../core/error.ts";
import { signalCode } from "../io/interrupt.ts";
import { Report, table } from "../io/report.ts";
import { type ClusterResult, exitCodeOfFleet, hasFailed, notRun } from "./results.ts";
import type { Step } from "./step.ts";

/** Clusters that have their turn together; the name as it was typed: `197`, `pilot`, `25%`. */
export interface Wave {
  name: string;
  clusters: Cluster[];
}

/** The chosen in waves as typed (`197 pilot 25% all`), each in the first that names it; exit 2 for an empty one. */
export function wavesOf(
  typed: string,
  chosen: Cluster[],
  named: (word: string) => Cluster[],
): Wave[] {
  const waves: Wave[] = [];
  let left = chosen;
  for (const name of typed.split(/\s+/).filter(Boolean)) {
    const those = name.endsWith("%") ? partOf(typed, name, left) : named(name);
    const clusters = left.filter((one) => those.includes(one));
    left = left.filter((one) => !those.includes(one));
    if (clusters.length > 0) waves.push({ name, clusters });
    // `all` are those that are left, were it none.
    else if (name !== "all") {
      const why = `every cluster of ${name} is in a wave before it, paused or not chosen`;
      throw unusable(typed, why, `leave ${name} out`);
    }
  }
  if (left.length === 0) return waves;
  const rest = `${idsOf(left)} would be in no wave, and stay as they are`;
  throw unusable(typed, rest, `${typed} all`.trim() + "; or choose fewer clusters");
}

/** A percentage of them, rounded up, the centre last. */
function partOf(typed: string, name: string, left: Cluster[]): Cluster[] {
  if (!/^([1-9]\d?|100)%$/.test(name)) {
    throw unusable(typed, `${name} is no part of the clusters`, "a part is 1% to 100%");
  }
  const isCentre = ({ role }: Cluster) => Number(role === "central");
  return left.toSorted((a, b) => isCentre(a) - isCentre(b))
    .slice(0, Math.ceil(left.length * Number.parseInt(name) / 100));
}

function unusable(typed: string, where: string, fix: string): DeployError {
  return configError(`Cannot use WAVES="${typed}"`, { where, fix });
}

/** Deploys wave after wave until `maxFailures` of one (or all) failed, or a signal came: `held` has not begun. */
export async function runWaves(
  waves: Wave[],
  deploy: (clusters: Cluster[]) => Promise<ClusterResult[]>,
  maxFailures = 1,
): Promise<{ results: ClusterResult[]; held: Wave[] }> {
  const results: ClusterResult[] = [], held = [...waves];
  while (held.length > 0) {
    const { name, clusters } = held.shift()!;
    if (waves.length > 1) {
      const which = `wave ${waves.length - held.length} of ${waves.length}: ${name}`;
      new Report().heading(name === clusters[0]!.id ? which : `${which}  ${idsOf(clusters)}`);
    }
    const ended = await deploy(clusters);
    results.push(...ended);
    const isOver = Math.max(exitCodeOfFleet(ended), signalCode()) >= ExitCode.hungUp;
    const allowed = Math.min(maxFailures, clusters.length);
    if (!isOver && merged(ended).filter(hasFailed).length < allowed) continue;
    const left = clusters.filter((one) =>
      ended.some((result) => result.cluster === one && isUntouched(result))
    );
    if (left.length > 0) held.unshift({ name, clusters: left });
    break;
  }
  return { results: merged(results), held };
}

/** Whether nothing was begun there, and nothing went wrong. */
export function isUntouched(result: ClusterResult): boolean {
  return !hasFailed(result) && result.steps.every(({ state }) => state === "not run");
}

/** One result per cluster: the centre is told after each wave, and may have one of its own. */
function merged(results: ClusterResult[]): ClusterResult[] {
  return [...Map.groupBy(results, ({ cluster }) => cluster)].map(([cluster, parts]) => ({
    cluster,
    // What it could not be told then may have run since.
    steps: parts.flatMap(({ steps }) => steps).filter(({ step, state }, index, all) =>
      state !== "not run" || !all.slice(index + 1).some((later) => later.step === step)
    ),
    error: parts.find(({ error }) => error !== undefined)?.error,
  }));
}

/** Adds to the results what was not run of these steps on these clusters, of which one may have no result yet. */
export function addNotRun(results: ClusterResult[], clusters: Cluster[], steps: Step[]): void {
  for (const cluster of clusters) {
    let result = results.find((one) => one.cluster === cluster);
    if (!result) results.push(result = { cluster, steps: [] });
    const done = result.steps.map(({ step }) => step);
    // First, so that a centre that was only told of others does not count as stopped in the middle.
    result.steps.unshift(...steps.filter(({ name }) => !done.includes(name)).map(notRun));
  }
}

/** The waves that were held back, what their centre was told in spite of it, and the command that goes on with them. */
export function heldBack(held: Wave[], results: ClusterResult[], command: string): string {
  const rows = held.map(({ name, clusters }) => [`  ${name}`, idsOf(clusters)]);
  const left = held.flatMap(({ clusters }) => clusters);
  const told = results.filter(({ cluster, steps }) =>
    left.includes(cluster) && steps.some(({ state }) => state === "ok")
  ).map(({ cluster }) => `but for ${cluster.id}: its lists of the fleet were brought up to date\n`);
  return `held back, and as they were:\n${table(rows)}\n${told.join("")}` +
    `to go on, once what failed above is well: ${command}`;
}

function idsOf(clusters: Cluster[]): string {
  return clusters.map(({ id }) => id).join(", ");
}

// Whether clusters that should be alike are: the live objects of each against those of the first,
// field by field, in two groups: what their env files explain, and what they do not. Changes nothing.
import "../needs.ts";
import { missingBundles } from "../../lib/render/bundle.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { clustersFor, command } from "../../lib/cli/command.ts";
import {
  compareSides,
  type Comparison,
  type Difference,
  fieldsOf,
  type Side,
  sideOf,
} from "./inspect/compare.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { connect } from "../../lib/kube/target.ts";
import { owned } from "../../lib/apply/live.ts";
import { kindsOf } from "../../lib/kube/kinds.ts";
import { idOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { print, Report, worstCode } from "../../lib/io/report.ts";
import { desiredOf, type Step } from "../../lib/deploy/step.ts";
import { STEPS } from "../steps.ts";

const USAGE = "compare.ts [CLUSTER CLUSTER...]; without any: every edge against the first";

if (import.meta.main) {
  await command(USAGE, {}, async (ids) => await compare(STEPS, await chosen(ids)));
}

async function chosen(ids: string[]): Promise<Cluster[]> {
  if (ids.length > 0) return await clustersFor(ids);
  return (await clustersFor(["all"])).filter(({ role }) => role === "edge");
}

/**
 * Compares every cluster with the first and writes what was found; gives 0 when all is explained, 11
 * when not, or the code of a cluster that cannot be looked at.
 */
export async function compare(steps: Step[], clusters: Cluster[]): Promise<number> {
  if (clusters.length < 2) {
    throw new DeployError("Cannot compare fewer than two clusters", {
      exitCode: ExitCode.config,
      where: `chosen: ${clusters.map(({ id }) => id).join(", ") || "none"}`,
      fix: 'make compare CLUSTERS="197 198"',
    });
  }
  const looks = await Promise.all(clusters.map((cluster) => look(steps, cluster)));
  for (const { cluster, error } of looks) {
    if (error) new Report(`${cluster.id} | `).error(error, cluster);
  }
  for (const bundle of missingBundles()) {
    new Report().warn(`${bundle} was left out: what it wants cannot explain anything`);
  }
  const [first, ...others] = looks;
  const found = others.flatMap(({ cluster, side }) =>
    first!.side && side ? [{ cluster, comparison: compareSides(first!.side, side) }] : []
  );
  for (const { cluster, comparison } of found) show(first!.cluster, cluster, comparison);
  const failure = worstCode(looks.map(({ error }) => error));
  if (failure !== ExitCode.done) return failure;
  const alike = found.every(({ comparison }) => comparison.unexplained.length === 0);
  return alike ? ExitCode.done : ExitCode.verification;
}

/** What a cluster should have and has, or why that cannot be said. */
interface Look {
  cluster: Cluster;
  side?: Side;
  error?: unknown;
}

async function look(steps: Step[], cluster: Cluster): Promise<Look> {
  try {
    await connect(cluster);
    const wanted = await desiredOf(steps, cluster);
    const ids = new Set(wanted.map(idOf));
    // What has our label and comes from no step is what a deploy keeps for itself.
    const ofSteps = (object: Manifest) =>
      ids.has(idOf(object)) || object.metadata.labels?.[STEP_LABEL] !== undefined;
    const live = await owned(cluster, kindsOf(wanted));
    return { cluster, side: sideOf(wanted, [...live.values()].filter(ofSteps)) };
  } catch (error) {
    return { cluster, error };
  }
}

function show(left: Cluster, right: Cluster, { shared, ...found }: Comparison): void {
  const names = [left, right].map((one) => `${one.id} (${text(one, "CLUSTER_NAME")})`);
  print(`${names.join(" -> ")}  ${shared} objects on both`);
  group("explained by their env files", found.explained);
  group("not explained", found.unexplained);
  print("");
}

function group(title: string, found: Difference[]): void {
  print(`  ${title}: ${fieldsOf(found)} fields of ${found.length} objects`);
  for (const { id, fields } of found) {
    print(`    ${id}`);
    for (const field of fields) print(`      ${field}`);
  }
}

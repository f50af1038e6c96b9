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
} from "./inspect/compare.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { connect } from "../../lib/kube/target.ts";
import { byId, owned } from "../../lib/apply/live.ts";
import { kindsOf } from "../../lib/kube/kinds.ts";
import { STEP_LABEL } from "../../lib/core/object.ts";
import { print, Report, worstCode } from "../../lib/io/report.ts";
import { desiredOf, type Step } from "../../lib/deploy/step.ts";
import { STEPS } from "../steps.ts";

const USAGE =
  "compare.ts [CLUSTER CLUSTER... | GROUP...]; without any: every edge against the first";

if (import.meta.main) {
  await command(
    USAGE,
    {},
    async (words) => await compare(STEPS, await clustersFor(words.length > 0 ? words : ["edges"])),
  );
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
  const errors: unknown[] = [];
  const looks = await Promise.all(clusters.map(async (cluster) => {
    try {
      return { cluster, side: await look(steps, cluster) };
    } catch (error) {
      errors.push(error);
      new Report(`${cluster.id} | `).error(error, cluster);
      return { cluster };
    }
  }));
  for (const bundle of missingBundles()) {
    new Report().warn(`${bundle} was left out: what it wants cannot explain anything`);
  }
  const [first, ...others] = looks;
  const found = others.flatMap(({ cluster, side }) =>
    first!.side && side ? [{ cluster, comparison: compareSides(first!.side, side) }] : []
  );
  for (const { cluster, comparison } of found) show(first!.cluster, cluster, comparison);
  if (errors.length > 0) return worstCode(errors);
  const alike = found.every(({ comparison }) => comparison.unexplained.length === 0);
  return alike ? ExitCode.done : ExitCode.verification;
}

async function look(steps: Step[], cluster: Cluster): Promise<Side> {
  await connect(cluster);
  const wanted = byId(await desiredOf(steps, cluster));
  const live = await owned(cluster, kindsOf([...wanted.values()]));
  // What has our label and comes from no step is what a deploy keeps for itself.
  const ofSteps = [...live].filter(([id, { metadata }]) =>
    wanted.has(id) || metadata.labels?.[STEP_LABEL] !== undefined
  );
  return { wanted, live: new Map(ofSteps) };
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

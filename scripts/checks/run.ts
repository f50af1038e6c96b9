// The checks of a step that only looks: one table, and exit 11 where a hop is broken.
import type { Check } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { openSubject, runChecks, tableOf, verdictsOf } from "../../lib/probe/check.ts";
import type { StepContext } from "../../lib/deploy/context.ts";

/**
 * Runs every check until it is well, or its time (`until`, as of `Date.now()`) is over, and shows the table.
 * @throws {DeployError} exit 11 that names every check which failed; what, why and the fix are in the table.
 */
export async function verifyBy(
  checks: Check[],
  { cluster, phase, notShown, found, report }: StepContext,
  until: (check: Check) => number,
  objects: () => Manifest[] | Promise<Manifest[]> = () => [],
): Promise<void> {
  const { waiting: say } = report;
  await using subject = openSubject(cluster, { when: "after", objects, say });
  const rows = await phase(`${checks.length} checks`, () => runChecks(checks, subject, { until }));
  for (const { check, state } of rows) if (state === "hidden") notShown(check.name);
  found(verdictsOf(rows));
  report.say(tableOf(rows));
  const failed = rows.filter(({ state }) => state === "fail");
  if (failed.length === 0) return;
  const name = text(cluster, "CLUSTER_NAME");
  const causes = rows.filter(({ check, state }) => check.first && state === "warn")
    .flatMap(({ check, findings }) => findings.map((finding) => ({ ...finding, of: check.name })))
    .filter(({ state }) => state === "warn");
  throw new DeployError(`${failed.length} of ${rows.length} checks failed on ${name}`, {
    exitCode: ExitCode.verification,
    where: [
      ...causes.map(({ of, what, fix }) => `${of}: ${what}: that first (${fix})`),
      ...failed.map(({ check: { name, hop } }) => `${name} (${hop})`),
    ],
    fix: "follow the fixes above, from the top: a broken hop breaks those behind it",
  });
}

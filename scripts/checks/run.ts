// Checks of one cluster as phases of a step.
import { type Result, runUntilOk, throwIfFailed } from "../../lib/probe/check.ts";
import type { Check, ClusterProxy } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { openProxy } from "../../lib/probe/http.ts";
import type { StepContext } from "../../lib/deploy/step.ts";

export interface RunOptions {
  /** Everything that the steps want there, for checks that ask for it. */
  objects?: Manifest[];
  /** Time (as of `Date.now()`) until which a check that fails is run again. */
  until: (check: Check) => number;
}

/** Runs every check, whatever the others say; throws exit 11 with all that is wrong. */
export async function runChecks(
  checks: Check[],
  { cluster, fleet, phase, live, report }: StepContext,
  { objects = [], until }: RunOptions,
): Promise<void> {
  await using resources = new AsyncDisposableStack();
  let opening: Promise<ClusterProxy> | undefined;
  const proxy = () => opening ??= openProxy(cluster).then((proxy) => resources.use(proxy));
  const results: Result[] = [];
  const say = (missing: string) => report.waiting(missing);
  for (const check of checks) {
    await (check.live ? live : phase)(check.name, async () => {
      const subject = { cluster, fleet, objects, proxy };
      const result = await runUntilOk(check, subject, { until: until(check), say });
      results.push(result);
      for (const { what } of result.problems) report.warn(what);
      if (result.fact) report.note(result.fact);
    }, check.program);
  }
  throwIfFailed(text(cluster, "CLUSTER_NAME"), results);
}

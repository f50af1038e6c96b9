// The way to the centre, whose Thanos Query knows of every cluster: the only API server that is asked.
import { hiddenBy } from "../../../lib/core/check.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { documentOf, Report } from "../../../lib/io/report.ts";
import { connect } from "../../../lib/kube/target.ts";
import { openProxy, readJson } from "../../../lib/probe/http.ts";
import type { Sample } from "../../checks/metrics.ts";
import { QUERY } from "../../components/thanos/stores.ts";

/** Asks Thanos Query for a path of its API, such as `/api/v1/rules`; gives what is under `data`. */
export type Ask = <T>(path: string) => Promise<T>;

/**
 * What `work` finds out at the central one of these clusters; whose part is missing in an answer is a warning.
 * @throws {DeployError} exit 5 when it or its Thanos Query does not answer, 4 when it is another cluster, 3 when its
 * pods are simulated.
 */
export async function atCentre<T>(fleet: Cluster[], work: (ask: Ask) => Promise<T>): Promise<T> {
  const centre = fleet.find(({ role }) => role === "central")!;
  const cannot = (exitCode: number, ...where: string[]) => {
    const fix = `make verify-${centre.id}`;
    return new DeployError("Cannot ask the centre about the fleet", { exitCode, where, fix });
  };
  const why = hiddenBy(centre);
  if (why) throw cannot(ExitCode.prerequisite, why);
  try {
    const connecting = connect(centre);
    connecting.catch(() => {});
    await using proxy = await openProxy(centre);
    await connecting;
    const warnings = new Set<string>();
    const found = await work(async <T>(path: string) => {
      const answer = await readJson<{ data: T; warnings?: string[] }>(proxy, QUERY, path);
      answer.warnings?.forEach((warning) => warnings.add(warning));
      return answer.data;
    });
    for (const warning of warnings) new Report().warn(`Thanos Query: ${warning}`);
    return found;
  } catch (error) {
    if (!(error instanceof DeployError) || error.exitCode !== ExitCode.service) throw error;
    throw cannot(ExitCode.unreachable, error.message, ...error.where);
  }
}

/** The value of an expression now, or (`T`) the values of one over a time, such as `up[1h:1m]`. */
export async function valuesOf<T = Sample>(ask: Ask, expression: string): Promise<T[]> {
  const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
  return (await ask<{ result: T[] }>(path)).result;
}

/** What docs/schema/NAME.json describes, without any secret. */
export function jsonOf(name: string, found: object, now = new Date()): string {
  return documentOf(`${name}/v1`, { at: now.toISOString(), ...found });
}

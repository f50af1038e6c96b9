// The way to the centre, whose Thanos Query knows of every cluster: the only API server that is asked.
import { hiddenBy } from "../../../lib/core/check.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../../../lib/core/error.ts";
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

/**
 * The value of an expression now, or (`T`) the values of one over a time, such as `up[1h:1m]`; `resolution`: samples so
 * far apart will do, such as `5m`, which the Compactor makes of raw ones after two days.
 */
export async function valuesOf<T = Sample>(
  ask: Ask,
  expression: string,
  resolution = "0s",
): Promise<T[]> {
  const words = new URLSearchParams({ query: expression, max_source_resolution: resolution });
  return (await ask<{ result: T[] }>(`/api/v1/query?${words}`)).result;
}

/** What the centre could not say, though it answers other questions: `what`, as a heading has it, and why not. */
export interface Unsaid {
  what: string;
  error: unknown;
}

/** The answer, null where it is an error or none: then `unsaid` has got what and why. */
export async function orNull<T>(
  answer: Promise<T>,
  what: string,
  unsaid: Unsaid[],
): Promise<T | null> {
  return await answer.catch((error) => {
    const codes: number[] = [ExitCode.service, ExitCode.unreachable];
    if (!(error instanceof DeployError) || !codes.includes(error.exitCode)) throw error;
    unsaid.push({ what, error });
    return null;
  });
}

/** Why something could not be said, in a line. */
export function whyOf(error: unknown): string {
  const where = error instanceof DeployError ? error.where.join(" ") : "";
  return (where || messageOf(error)).replace(/\s+/g, " ").slice(0, 300);
}

/** Says on the terminal what the centre could not say. */
export function tellUnsaid(unsaid: Unsaid[]): void {
  for (const { what, error } of unsaid) {
    new Report().warn(`no answer about ${what}: ${whyOf(error)}`);
  }
}

/** What docs/schema/NAME.json describes, without any secret. */
export function jsonOf(name: string, found: object, now = new Date()): string {
  return documentOf(`${name}/v1`, { at: now.toISOString(), ...found });
}

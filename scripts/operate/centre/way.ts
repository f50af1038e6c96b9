// The way to the centre, whose Thanos Query knows of every cluster, so that no other API server need be asked.
import { hiddenBy } from "../../../lib/core/check.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../../../lib/core/error.ts";
import { documentOf, Report } from "../../../lib/io/report.ts";
import { connect } from "../../../lib/kube/target.ts";
import { openProxy, readJson } from "../../../lib/probe/http.ts";
import type { Sample } from "../../checks/metrics.ts";
import { QUERY } from "../../components/thanos/stores.ts";

/** What Query says, and why some of it may be missing. */
export interface Said<T> {
  data: T;
  warnings?: string[];
}

/** Asks Thanos Query for a path of its API, such as `/api/v1/rules`. */
export type Ask = <T>(path: string) => Promise<Said<T>>;

/**
 * What `work` finds out at the central one of these clusters.
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
    return await work((path) => readJson(proxy, QUERY, path));
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
): Promise<Said<T[]>> {
  const words = new URLSearchParams({ query: expression, max_source_resolution: resolution });
  const { data, warnings } = await ask<{ result: T[] }>(`/api/v1/query?${words}`);
  return { data: data.result, warnings };
}

/**
 * What the centre could not say, though it answers other questions: `what`, as a heading has it (`part of` it, where
 * only some is missing: then the error is a warning of Query), and why not.
 */
export interface Unsaid {
  what: string;
  error: unknown;
  /** Id of the cluster of which alone it is missing, where that is no edge that Query names. */
  of?: string;
}

/** What the answer says; `unsaid` gets why where some of it is missing. */
export async function heard<T>(
  answer: Promise<Said<T>>,
  what: string,
  unsaid: Unsaid[],
): Promise<T> {
  const { data, warnings = [] } = await answer;
  unsaid.push(...warnings.map((error) => ({ what: `part of ${what}`, error })));
  return data;
}

/** As {@link heard}, null where the answer is an error or none: then `unsaid` has got what and why. */
export async function orNull<T>(
  answer: Promise<Said<T>>,
  what: string,
  unsaid: Unsaid[],
): Promise<T | null> {
  return await heard(answer, what, unsaid).catch((error) => {
    const codes: number[] = [ExitCode.service, ExitCode.unreachable];
    if (!(error instanceof DeployError) || !codes.includes(error.exitCode)) throw error;
    unsaid.push({ what, error });
    return null;
  });
}

/** Id of the edge of which alone something is missing: Query names its sidecar, which knows of no other cluster. */
export function missedOf({ error, of }: Unsaid, fleet: Cluster[]): string | undefined {
  const warning = typeof error === "string" ? error : "";
  return of ?? fleet.find(({ sidecar }) => warning.includes(`Addr: ${sidecar} `))?.id;
}

/** Why something could not be said, in a line. */
export function whyOf(error: unknown): string {
  const where = error instanceof DeployError ? error.where.join(" ") : "";
  return (where || messageOf(error)).replace(/\s+/g, " ").slice(0, 300);
}

/** Says on the terminal what the centre could not say. */
export function tellUnsaid(unsaid: Unsaid[]): void {
  for (const [why, those] of Map.groupBy(unsaid, ({ error }) => whyOf(error))) {
    new Report().warn(`no answer about ${those.map(({ what }) => what).join(", ")}: ${why}`);
  }
}

/** What docs/schema/NAME.json describes, without any secret. */
export function jsonOf(name: string, found: object, now = new Date()): string {
  return documentOf(`${name}/v1`, { at: now.toISOString(), ...found });
}

// The way to the centre, whose Thanos Query knows of every cluster, so that no other API server need be asked.
import { hiddenBy } from "../../../lib/core/check.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../../../lib/core/error.ts";
import { documentOf, Report } from "../../../lib/io/report.ts";
import { connect } from "../../../lib/kube/target.ts";
import { openProxy, readJson } from "../../../lib/probe/http.ts";
import type { Sample } from "../../checks/metrics.ts";
import { QUERY } from "../../components/thanos/stores.ts";

/** Asks Thanos Query for a path of its API, such as `/api/v1/rules`; `warnings`: why some of it may be missing. */
export type Ask = <T>(path: string) => Promise<{ data: T; warnings?: string[] }>;

/** What had no answer (`part of` it, where Query only warned), and why; `of`: id of the cluster that alone lacks it. */
export type Unsaid = { what: string; error: unknown; of?: string };

/** The central cluster of a site. */
export function centralOf(fleet: Cluster[]): Cluster {
  return fleet.find(({ role }) => role === "central")!;
}

/** What `work` finds at the centre. @throws {DeployError} exit 5: no answer, 4: another cluster, 3: simulated pods. */
export async function atCentre<T>(fleet: Cluster[], work: (ask: Ask) => Promise<T>): Promise<T> {
  const centre = centralOf(fleet);
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

/** Questions to the centre about its clusters, of which one without an answer spoils no other. */
export class Questions {
  readonly unsaid: Unsaid[] = [];

  constructor(readonly ask: Ask, readonly fleet: Cluster[]) {}

  async read<T>(what: string, path: string): Promise<T | null> {
    try {
      const { data, warnings = [] } = await this.ask<T>(path);
      for (const error of warnings) {
        // Query names a sidecar that it misses, which knows of no other cluster.
        const edge = this.fleet.find(({ sidecar }) => error.includes(`Addr: ${sidecar} `));
        this.unsaid.push({ what: `part of ${what}`, error, of: edge?.id });
      }
      return data;
    } catch (error) {
      const codes: number[] = [ExitCode.service, ExitCode.unreachable];
      if (!(error instanceof DeployError) || !codes.includes(error.exitCode)) throw error;
      this.unsaid.push({ what, error });
      return null;
    }
  }

  /** Values of an expression, or (`T`) of a range; `resolution`: samples so far apart (`5m`) will do, which are cheap. */
  async values<T = Sample>(what: string, query: string, resolution = "0s"): Promise<T[] | null> {
    const words = new URLSearchParams({ query, max_source_resolution: resolution });
    const data = await this.read<{ result: T[] }>(what, `/api/v1/query?${words}`);
    return data && data.result;
  }
}

/** Why something could not be said, in a line. */
export function whyOf(error: unknown): string {
  const where = error instanceof DeployError ? error.where.join(" ") : "";
  return (where || messageOf(error)).replace(/\s+/g, " ").slice(0, 300);
}

/** Says on the terminal what had no answer. */
export function tellUnsaid(unsaid: Unsaid[]): void {
  for (const [why, those] of Map.groupBy(unsaid, ({ error }) => whyOf(error))) {
    new Report().warn(`no answer about ${those.map(({ what }) => what).join(", ")}: ${why}`);
  }
}

/** What docs/schema/NAME.json describes, without any secret. */
export function jsonOf(name: string, found: object, now = new Date()): string {
  return documentOf(`${name}/v1`, { at: now.toISOString(), ...found });
}

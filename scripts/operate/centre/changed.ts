// When a deploy last changed a cluster. No series tells, so its own API server is asked.
import { Inventory } from "../../../lib/apply/inventory.ts";
import { owned } from "../../../lib/apply/live.ts";
import { entriesOf } from "../../../lib/apply/managers.ts";
import { type Cluster, isPaused } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode, isCutOff } from "../../../lib/core/error.ts";
import { OWNER } from "../../../lib/core/object.ts";
import { connect, type Connection } from "../../../lib/kube/target.ts";
import type { Age } from "./answers.ts";
import type { Unsaid } from "./way.ts";

/**
 * The age in seconds of the last change of each cluster that is not paused, by id; none: no deploy was ever there.
 * One that cannot be asked is null, and `unsaid` gets why.
 */
export async function changesOf(clusters: Cluster[], unsaid: Unsaid[]): Promise<Map<string, Age>> {
  const ageOn = async (cluster: Cluster): Promise<Age> => {
    try {
      const at = await lastWrite(await connect(cluster));
      return at ? Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000)) : "none";
    } catch (error) {
      if (!(error instanceof DeployError) || isCutOff(error)) throw error;
      // A refusal says in its message alone what is wrong.
      const why = error.exitCode === ExitCode.refused ? error.message : error;
      unsaid.push({ what: `the last change of ${cluster.id}`, error: why, of: cluster.id });
      return null;
    }
  };
  const asked = clusters.filter((one) => !isPaused(one));
  return new Map(await Promise.all(asked.map(async (one) => [one.id, await ageOn(one)] as const)));
}

/**
 * When a deploy last changed any of ours (RFC 3339); undefined: never. A deletion changes the ConfigMap that keeps
 * them. Secrets, which not everybody may list, and definitions, which are megabytes, are not looked at.
 */
export async function lastWrite(connection: Connection): Promise<string | undefined> {
  const { cluster } = connection, kinds = await new Inventory(connection).kinds();
  const asked = kinds.filter((kind) => !/^(secret|customresourcedefinition)\./.test(kind));
  const found = await owned(cluster, [...new Set(["configmap.v1.", ...asked])], 20);
  return [...found.values()].flatMap(entriesOf)
    .flatMap(({ manager, time }) => manager === OWNER && time ? time : []).sort().at(-1);
}

// What is on a cluster before an apply: ours, other people's, and what is only just defined.
import type { Cluster } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { foreignAmong, whyForeign } from "./ownership.ts";
import { liveOf, servedAmong } from "./inventory.ts";
import { defines, idOf, type Manifest } from "../core/object.ts";
import { wasAppliedByHand } from "./takeover.ts";

/** What an apply finds. */
export interface Before {
  /** What is there of the objects, by id: ours, and what is ours from now on. */
  live: Map<string, Manifest>;
  /** Those whose definition is there, from a run that was cut off, and in force in a moment. */
  unserved: Manifest[];
}

/**
 * Looks at what is there; `say` is told what was a person's and is ours from now on.
 * @throws {DeployError} exit 6, before anything is sent, when another deployer has something.
 */
export async function thereBefore(
  cluster: Cluster,
  definitions: Manifest[],
  rest: Manifest[],
  say: (text: string) => void = () => {},
): Promise<Before> {
  const defined = definitions.length > 0 ? await liveOf(cluster, definitions) : new Map();
  const undefinedYet = definitions.filter((object) => !defined.has(idOf(object)));
  // Of a kind that is not defined yet nobody has anything.
  const possible = rest.filter((object) => !undefinedYet.some((crd) => defines(crd, object)));
  const live = possible.length > 0 ? await liveOf(cluster, possible) : new Map();
  const missing = possible.filter((object) => !live.has(idOf(object)));
  const custom = missing.filter((object) => definitions.some((crd) => defines(crd, object)));
  const served = new Set(await servedAmong(cluster, custom));
  const unserved = custom.filter((object) => !served.has(object));
  const others = missing.filter((object) => !unserved.includes(object));
  const found = await foreignAmong(cluster, [...undefinedYet, ...others]);
  const refusals = [...found].flatMap(([id, object]) => {
    const [reason, ...advice] = whyForeign(cluster, object) ?? [];
    return reason ? [`${id}: ${reason}`, ...advice.map((text) => `  ${text}`)] : [];
  });
  if (refusals.length > 0) {
    throw new DeployError(`Refused: another deployer has what is wanted on ${cluster.id}`, {
      exitCode: ExitCode.rejected,
      where: refusals,
      fix: "one deployer to an object: do one of the two, then run again",
    });
  }
  for (const [id, object] of found) {
    // Of the others it is said when it is done.
    if (!wasAppliedByHand(object)) say(`${id} was here before, and is ours from now on`);
  }
  return { live: new Map([...defined, ...live, ...found]), unserved };
}

// What steps want beside Kubernetes objects, looked at for plans and put by deploys, both on the word of one look.
import { setTimeout as sleep } from "node:timers/promises";
import { hiddenBy } from "../core/check.ts";
import type { Cluster } from "../core/cluster.ts";
import { DeployError } from "../core/error.ts";
import { ensure, type Look, type Resources } from "../core/resource.ts";
import type { Planned } from "./plan.ts";

/** Seconds after which a look is given up. */
const LONGEST_LOOK = 10;

/** What a deploy would do to these resources, all looked at side by side; changes nothing. */
export async function planResources(all: Resources[], cluster: Cluster): Promise<Planned[]> {
  return (await Promise.all(all.map((some) => lookAtAll(some, cluster)))).flat();
}

async function lookAtAll(resources: Resources, cluster: Cluster): Promise<Planned[]> {
  const wanted = resources.of(cluster);
  const seen = new Map<string, Look>();
  async function look(): Promise<Look> {
    await using opened = await resources.open?.(cluster, true);
    const way = opened ?? cluster;
    await Promise.all(wanted.map(async (resource) => {
      seen.set(resource.id, await resource.look(way).catch(unseen));
    }));
    return notLookedAt("");
  }
  const hidden = resources.live ? hiddenBy(cluster, resources.program) : undefined;
  const late = notLookedAt(`no answer within ${LONGEST_LOOK} s`);
  const rest = hidden ? notLookedAt(hidden) : await inTime(look().catch(unseen), late);
  return wanted.map(({ id }): Planned => {
    const { state, fields = [], mark = "" } = seen.get(id) ?? rest;
    return { id, action: ACTIONS[state], fields, mark };
  });
}

const ACTIONS = {
  "as wanted": "unchanged",
  missing: "create",
  differs: "update",
  "not looked at": "unseen",
} as const;

function notLookedAt(reason: string): Look {
  return { state: "not looked at", fields: [reason] };
}

/** What an error comes to that is no bug. */
function unseen(error: unknown): Look {
  if (!(error instanceof DeployError)) throw error;
  return notLookedAt([error.message, ...error.where].join("; "));
}

/** What the work comes to; `late` where it takes too long. */
async function inTime<T>(work: Promise<T>, late: T): Promise<T> {
  const over = new AbortController();
  const end = sleep(LONGEST_LOOK * 1000, late, { signal: over.signal });
  return await Promise.race([work, end]).finally(() => over.abort());
}

/**
 * Looks at one resource after the other, and puts what is not as wanted; what is left as it is goes to `warn`.
 * @throws {DeployError} where one cannot be looked at, or put.
 */
export async function putResources(
  resources: Resources,
  cluster: Cluster,
  { warn, changed }: Record<"warn" | "changed", (text: string) => void>,
): Promise<void> {
  await using opened = await resources.open?.(cluster);
  const way = opened ?? cluster;
  const left = new Map<string, string[]>();
  for (const resource of resources.of(cluster)) {
    const { id } = resource;
    const { outcome, look: { state, fields = [] } } = await ensure(resource, way, warn);
    const why = fields.join("; ");
    if (state === "not looked at") left.set(why, [...left.get(why) ?? [], id]);
    else if (outcome !== "unchanged") changed(`${id} ${outcome}${why && `: ${why}`}`);
  }
  for (const [why, ids] of left) warn(`${why} (${ids.join(", ")})`);
}

// Desired state sent to the cluster as far as it is not there, definitions first, and what that has changed.
import type { Cluster } from "../core/cluster.ts";
import { hashOf } from "../core/hash.ts";
import { defines, idOf, inWaves, isDefinition, kindsOf, type Manifest } from "../core/object.ts";
import { shortList } from "../core/short_list.ts";
import type { Change } from "../io/report.ts";
import { until } from "../io/wait.ts";
import { reading } from "../kube/api.ts";
import { isTransient, retried } from "../kube/kubectl_error.ts";
import { isGoing, isOwnership, isUnsigned, withHash } from "./diff.ts";
import type { Inventory } from "./inventory.ts";
import { awaitGone, type ById, goesWith, listed, sendOnce } from "./live.ts";
import { adopt, takeOver } from "./ownership.ts";
import { applyRefused } from "./rejection.ts";

/** Applies the objects that are not there as wanted; what needs none of the definitions does not wait for them. */
export async function apply(inventory: Inventory, objects: Manifest[]): Promise<Change[]> {
  if (objects.length === 0) return [];
  const wanted = objects.map(withHash), [definitions, rest] = inWaves(wanted);
  const { live, others } = await inventory.before(wanted);
  adopt(inventory, others);
  const before = new Map([...live, ...others]);
  const { custom = [], plain = [] } = Object.groupBy(
    rest,
    (object) => definitions.some((one) => defines(one, object)) ? "custom" : "plain",
  );
  const defined = await applyWave(inventory, definitions, before);
  const [applied] = await Promise.all([
    applyWave(inventory, plain, before),
    // One that is there as wanted, by a run that was cut off, may not be served yet.
    established(inventory.cluster, definitions.filter(isDefinition)),
  ]);
  return [...defined, ...applied, ...await applyWave(inventory, custom, before)];
}

/** Those of the objects that an {@link apply} would send. */
export async function staleAmong(inventory: Inventory, objects: Manifest[]): Promise<Manifest[]> {
  const deltas = await inventory.deltas(objects);
  return objects.filter((object) => deltas.get(idOf(object))?.state !== "current");
}

async function applyWave(
  inventory: Inventory,
  objects: Manifest[],
  before: ById,
): Promise<Change[]> {
  await forgetGoing(inventory, objects, before);
  const judged = objects.map((object) => {
    const id = idOf(object), old = before.get(id);
    return { object, id, old, ...inventory.judge(old, object) };
  });
  for (const { id, astray } of judged) {
    const lost = astray.filter(isUnsigned);
    if (lost.length > 0) inventory.say(`taking ${id} back: ${shortList(lost, "; ")}`);
  }
  const stale = judged.filter(({ state }) => state !== "current").map(({ object }) => object);
  // Where people had the whole object, what they have added can be taken only after it was sent.
  await takeOver(inventory, stale, before);
  const after = await send(inventory, stale);
  const again = await send(inventory, await takeOver(inventory, stale, after));
  for (const [id, object] of again) after.set(id, object);
  await inventory.note(after);
  return judged.map(({ id, old, state, astray, others }) => {
    if (!old) return { id, action: "created" };
    // Who has a field is a change as well: the plan names it.
    const isMoved = others.some(({ isTaken }) => isTaken) || astray.some(isOwnership);
    const isSame = state === "current" || !isMoved && stateOf(old) === stateOf(after.get(id));
    return { id, action: isSame ? "unchanged" : "configured" };
  });
}

/** Waits for those that are being deleted, and forgets them and what goes with them: all of it is made anew. */
async function forgetGoing(inventory: Inventory, objects: Manifest[], before: ById): Promise<void> {
  const going = objects.flatMap((object) => before.get(idOf(object)) ?? []).filter(isGoing);
  if (going.length === 0) return;
  await awaitGone(inventory.cluster, going, inventory.say);
  inventory.refresh();
  for (const [id, object] of before) {
    if (going.some((one) => one === object || goesWith(one, object))) before.delete(id);
  }
}

/** Applies a List, and after a failure that passes what has not arrived. */
async function send(inventory: Inventory, objects: Manifest[]): Promise<ById> {
  const { cluster } = inventory;
  const arrived: ById = new Map();
  let left = objects;
  const sending = retried(async () => {
    while (left.length > 0) {
      try {
        return new Map([...arrived, ...await sendOnce(cluster, left)]);
      } catch (error) {
        if (!isTransient(error)) throw error;
        const live = await reading(cluster, (api) => listed(api, kindsOf(left)));
        const came = left.filter((object) =>
          inventory.judge(live.get(idOf(object)), object).state === "current"
        );
        // While some arrive there is no need for a pause, nor for an end.
        if (came.length === 0) throw error;
        for (const object of came) arrived.set(idOf(object), live.get(idOf(object))!);
        left = left.filter((object) => !came.includes(object));
      }
    }
    return arrived;
  });
  return await sending.catch((error) => applyRefused(inventory, objects, error));
}

/** A text that changes with what people write; a resourceVersion moves with the status and with who has a field. */
export function stateOf(object?: Manifest): string {
  if (!object) return "";
  const { metadata: { uid, generation, labels, annotations }, ...rest } = object;
  const content = generation ? [] : [{ ...rest, status: undefined }];
  return hashOf([uid, generation, labels, annotations, ...content]);
}

async function established(cluster: Cluster, crds: Manifest[]): Promise<void> {
  const kinds = kindsOf(
    crds.flatMap(({ spec: { group, names: { kind }, versions } }) =>
      versions.filter(({ served }: { served: boolean }) => served)
        .map(({ name }: { name: string }) => ({ apiVersion: `${group}/${name}`, kind }))
    ),
  );
  if (kinds.length === 0) return;
  await until("CRDs to be established", async () => {
    const served = await reading(cluster, (api) => api.served());
    return kinds.filter((kind) => !served.has(kind));
  }, { seconds: 120, every: 0.5 });
}

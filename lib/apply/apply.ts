// Desired state sent to the cluster as far as it is not there: one JSON List per wave, server-side apply,
// what changed.
import { takeOver, thereBefore } from "./ownership.ts";
import type { Cluster } from "../core/cluster.ts";
import { awaitGone, goesWith } from "./deletion.ts";
import { isGoing, isOwnership, isUnsigned, withHash } from "./diff.ts";
import { hashOf } from "../core/hash.ts";
import { ownFields } from "./managers.ts";
import type { Inventory } from "./inventory.ts";
import type { ById } from "./live.ts";
import { reading } from "../kube/api.ts";
import { defines, idOf, inWaves, isDefinition, type Manifest, resourceOf } from "../core/object.ts";
import { applyRefused } from "./rejection.ts";
import type { Change } from "../io/report.ts";
import { retried } from "../kube/retry.ts";
import { sendAll, sendList } from "./send.ts";
import { until } from "../io/wait.ts";
import { shortList } from "../core/short_list.ts";

/**
 * Applies the objects that are not there as wanted, definitions first, and tells what was changed. What
 * does not need a new definition goes on while the API server takes that in.
 */
export async function apply(inventory: Inventory, objects: Manifest[]): Promise<Change[]> {
  if (objects.length === 0) return [];
  const wanted = objects.map(withHash), [definitions, rest] = inWaves(wanted);
  const { live: before, unserved } = await thereBefore(inventory, wanted);
  const crds = definitions.filter((object) =>
    isDefinition(object) &&
    (isStale(inventory, before, object) || unserved.some((one) => defines(object, one)))
  );
  const { custom = [], plain = [] } = Object.groupBy(
    rest,
    (object) => crds.some((crd) => defines(crd, object)) ? "custom" : "plain",
  );
  const defined = await applyWave(inventory, definitions, before);
  const [applied] = await Promise.all([
    applyWave(inventory, plain, before),
    crds.length > 0 ? established(inventory.cluster, crds) : undefined,
  ]);
  return [...defined, ...applied, ...await applyWave(inventory, custom, before)];
}

/**
 * Keeps on the cluster which objects are ours: those that are there, and these, which are to be sent next. That
 * is one write, or none where it is kept already.
 */
export async function keep(inventory: Inventory, objects: Manifest[] = []): Promise<void> {
  const kept = await inventory.keeping(objects);
  if (!kept) return;
  // It is ours alone, whoever may have put it back from a backup.
  const whole = [withHash(kept)];
  await retried(() => sendList(inventory.cluster, whole, ["--force-conflicts"]));
  inventory.keeps(kept.data);
}

/** Those of the objects that an {@link apply} would send. */
export async function staleAmong(inventory: Inventory, objects: Manifest[]): Promise<Manifest[]> {
  const deltas = await inventory.deltas(objects);
  return objects.filter((object) => deltas.get(idOf(object))?.state !== "current");
}

function isStale(inventory: Inventory, before: ById, object: Manifest): boolean {
  return inventory.judge(before.get(idOf(object)), object).state !== "current";
}

async function applyWave(
  inventory: Inventory,
  objects: Manifest[],
  before: ById,
): Promise<Change[]> {
  if (objects.length === 0) return [];
  const stale = objects.filter((object) => isStale(inventory, before, object));
  await forget(inventory, stale, before);
  const after: ById = stale.length > 0 ? await send(inventory, stale, before) : new Map();
  await inventory.note(after.values());
  const sent = new Set(stale);
  return objects.map((object) => {
    const id = idOf(object), old = before.get(id);
    if (!old) return { id, action: "created" };
    // Who has a field is a change as well: the plan names it.
    const same = !sent.has(object) ||
      !isMoved(inventory, old, object) && stateOf(old) === stateOf(after.get(id));
    return { id, action: same ? "unchanged" : "configured" };
  });
}

/** Waits for those that are being deleted, and forgets them and what goes with them: all of it is made anew. */
async function forget(inventory: Inventory, objects: Manifest[], before: ById): Promise<void> {
  const going = objects.flatMap((object) => before.get(idOf(object)) ?? []).filter(isGoing);
  if (going.length === 0) return;
  await awaitGone(inventory.cluster, going, inventory.say);
  inventory.refresh();
  for (const [id, object] of before) {
    if (going.some((one) => one === object || goesWith(one, object))) before.delete(id);
  }
}

/** Sends the objects; what people have added is ours before, and of what was theirs afterwards. */
async function send(inventory: Inventory, objects: Manifest[], before: ById): Promise<ById> {
  const { say } = inventory;
  const takeFrom = async (live: ById) => {
    const touched: Manifest[] = [];
    for (const object of objects) {
      const found = live.get(idOf(object));
      const lines = found && ownFields(found) ? addedTo(inventory, found, object) : [];
      if (lines.length === 0) continue;
      for (const line of lines) say(`taking ${line} from ${idOf(object)}`);
      await retried(() => takeOver(inventory, object));
      touched.push(object);
    }
    return touched;
  };
  for (const object of objects) {
    const id = idOf(object);
    const lost = inventory.judge(before.get(id), object).astray.filter(isUnsigned);
    if (lost.length > 0) say(`taking ${id} back: ${shortList(lost, "; ")}`);
  }
  await takeFrom(before);
  const after = await sendAll(inventory, objects)
    .catch((error) => applyRefused(inventory, objects, error));
  const adopted = await takeFrom(after);
  if (adopted.length === 0) return after;
  const again = await retried(() => sendList(inventory.cluster, adopted))
    .catch((error) => applyRefused(inventory, adopted, error));
  return new Map([...after, ...again]);
}

/** Whether fields of a live object change hands by an apply. */
function isMoved(inventory: Inventory, live: Manifest, wanted: Manifest): boolean {
  const { astray, others } = inventory.judge(live, wanted);
  return others.some(({ isTaken }) => isTaken) || astray.some(isOwnership);
}

/** What people have added to a live object and a deploy takes away, a line for each of them. */
function addedTo(inventory: Inventory, live: Manifest, wanted: Manifest): string[] {
  const others = inventory.judge(live, wanted).others.filter(({ isTaken }) => isTaken);
  return [...Map.groupBy(others, ({ manager, time }) => `${manager}, ${time}`)].map(
    ([who, all]) => `${shortList(all.map(({ path }) => path))} (${who})`,
  );
}

/**
 * A text that changes with what people write. Where there is a generation it counts, and else the content: the
 * resourceVersion moves with the status and with who has a field.
 */
export function stateOf(object?: Manifest): string {
  if (!object) return "";
  const { metadata: { uid, generation, labels, annotations }, ...rest } = object;
  const content = generation ? [] : [{ ...rest, status: undefined }];
  return hashOf([uid, generation, labels, annotations, ...content]);
}

/** Waits for definitions until the kinds that they define are served. */
async function established(cluster: Cluster, crds: Manifest[]): Promise<void> {
  await until("CRDs to be established", async () => {
    const served = await reading(cluster, (api) => api.served());
    return crds.filter(({ spec: { group, names, versions } }) =>
      versions.some(({ name, served: wanted }: { name: string; served: boolean }) =>
        wanted && !served.has(resourceOf({ apiVersion: `${group}/${name}`, kind: names.kind }))
      )
    ).map(({ metadata }) => metadata.name);
  }, { seconds: 120, every: 0.5 });
}

// Desired state sent to the cluster as far as it is not there, definitions first, and what that has changed.
import type { Cluster } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { hashOf } from "../core/hash.ts";
import type { Manifest } from "../core/object.ts";
import { defines, idOf, inWaves, isDefinition, kindsOf, resourceOf } from "../core/object.ts";
import { shortList } from "../core/short_list.ts";
import type { Change } from "../io/report.ts";
import { until } from "../io/wait.ts";
import { reading } from "../kube/api.ts";
import { kubectl } from "../kube/kubectl.ts";
import { isTransient, KubectlError, retried } from "../kube/kubectl_error.ts";
import { isGoing, isOwnership, isUnsigned, withHash } from "./diff.ts";
import type { Inventory } from "./inventory.ts";
import { awaitGone, type ById, goesWith, namedOf, owned, sendOnce } from "./live.ts";
import { ownFields, whyForeign, withPeoplesFields } from "./managers.ts";
import { applyRefused } from "./rejection.ts";

/** Applies the objects that are not there as wanted; what needs none of the definitions does not wait for them. */
export async function apply(inventory: Inventory, objects: Manifest[]): Promise<Change[]> {
  if (objects.length === 0) return [];
  const wanted = objects.map(withHash), [definitions, rest] = inWaves(wanted);
  const { live, others, unserved } = await inventory.before(wanted);
  adopt(inventory, others);
  const before = new Map([...live, ...others]);
  // One that is there as wanted, by a run that was cut off, may not be served yet.
  const crds = definitions.filter((one) =>
    isDefinition(one) && (unserved.some((object) => defines(one, object)) ||
      inventory.judge(before.get(idOf(one)), one).state !== "current")
  );
  const custom = rest.filter((object) => crds.some((one) => defines(one, object)));
  const defined = await applyWave(inventory, definitions, before);
  const [applied] = await Promise.all([
    applyWave(inventory, rest.filter((object) => !custom.includes(object)), before),
    established(inventory.cluster, crds),
  ]);
  return [...defined, ...applied, ...await applyWave(inventory, custom, before)];
}

/** Those of the objects that an {@link apply} would send. */
export async function staleAmong(inventory: Inventory, objects: Manifest[]): Promise<Manifest[]> {
  const deltas = await inventory.deltas(objects);
  return objects.filter((object) => deltas.get(idOf(object))?.state !== "current");
}

/** Says which objects, there without our label, are ours from now on; exit 6 when another deployer has one. */
function adopt({ cluster, say }: Inventory, others: ById): void {
  const refusals = [...others].flatMap(([id, object]) => {
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
  for (const [id, object] of others) {
    // One of ours may have lost its label, and its line in what is kept.
    if (!ownFields(object)) say(`${id} was here before, and is ours from now on`);
  }
}

async function applyWave(inventory: Inventory, objects: Manifest[], before: ById) {
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
  if (stale.length > 0) inventory.changedAt = Date.now();
  const sent = await send(inventory, stale);
  const again = await send(inventory, await takeOver(inventory, stale, sent));
  const after = new Map([...sent, ...again]);
  await inventory.note(after);
  return judged.map(({ id, old, state, astray, others }): Change => {
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

/** Makes ours what people have added to live objects, so that an apply takes it away; gives those to be applied. */
async function takeOver(inventory: Inventory, objects: Manifest[], live: ById) {
  const taken: Manifest[] = [];
  for (const object of objects) {
    const id = idOf(object), found = live.get(id);
    if (!found || !ownFields(found)) continue;
    const added = inventory.judge(found, object).others.filter(({ isTaken }) => isTaken);
    if (added.length === 0) continue;
    for (const [who, those] of Map.groupBy(added, ({ manager, time }) => `${manager}, ${time}`)) {
      inventory.say(`taking ${shortList(those.map(({ path }) => path))} (${who}) from ${id}`);
    }
    await retried(() => takeFields(inventory, object));
    taken.push(object);
  }
  return taken;
}

async function takeFields(inventory: Inventory, wanted: Manifest, tries = 10): Promise<void> {
  const { cluster, takes } = inventory, { name, namespace } = wanted.metadata;
  const live = (await namedOf(cluster, [wanted])).get(idOf(wanted));
  // Gone meanwhile: it is made anew.
  if (!live) return;
  const patch = [
    { op: "replace", path: "/metadata/managedFields", value: withPeoplesFields(live, takes) },
    // Refused when somebody else has written meanwhile.
    { op: "replace", path: "/metadata/resourceVersion", value: live.metadata.resourceVersion },
  ];
  const where = namespace ? ["--namespace", namespace] : [];
  // Of many fields it is longer than an argument can be.
  const flags = ["--type=json", "--patch-file=/dev/stdin"], input = JSON.stringify(patch);
  await kubectl(["patch", resourceOf(wanted), name, ...where, ...flags], { cluster, input })
    .catch((error) => {
      // A controller writes its status just now.
      const passes = error instanceof KubectlError && /\((Conflict|NotFound)\)/.test(error.stderr);
      if (!passes || tries === 1) throw error;
      return takeFields(inventory, wanted, tries - 1);
    });
}

/** Applies a List, and after a failure that passes what has not arrived. */
async function send(inventory: Inventory, objects: Manifest[]): Promise<ById> {
  const { cluster } = inventory, arrived: ById = new Map();
  const sendLeft = async (): Promise<ById> => {
    const left = objects.filter((object) => !arrived.has(idOf(object)));
    if (left.length === 0) return arrived;
    try {
      return new Map([...arrived, ...await sendOnce(cluster, left)]);
    } catch (error) {
      if (!isTransient(error)) throw error;
      const live = await owned(cluster, kindsOf(left)), before = arrived.size;
      for (const object of left) {
        const id = idOf(object), now = live.get(id);
        if (inventory.judge(now, object).state === "current") arrived.set(id, now!);
      }
      // While some arrive there is no need for a pause, nor for an end.
      if (arrived.size === before) throw error;
      return await sendLeft();
    }
  };
  return await retried(sendLeft).catch((error) => applyRefused(inventory, objects, error));
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

// Objects that go: those of ours that no step wants any more, deleted only when asked for; and how they are waited for.
import type { Cluster } from "../core/cluster.ts";
import { asList, defines, idOf, isCustom, isDefinition, type Manifest } from "../core/object.ts";
import type { Change } from "../io/report.ts";
import { until } from "../io/wait.ts";
import { kubectl } from "../kube/kubectl.ts";
import type { Condition } from "../kube/list.ts";
import type { Inventory, Tell } from "./inventory.ts";
import { namedOf } from "./live.ts";
import { ownFields } from "./managers.ts";

// Their loss would lose data or other people's objects; they are named and stay.
const KEPT = ["Namespace", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"]
  .concat("CustomResourceDefinition");

/** True for a live object that no deploy deletes, wanted or not: for its kind, or because a person has marked it. */
export function isKept({ kind, metadata: { annotations } }: Manifest): boolean {
  return KEPT.includes(kind) || annotations?.["deploy.miribit.lab/keep"] === "true";
}

/** What these steps have there and is not `wanted` (ids); with `all`, also what a step that is no more has left. */
export async function unwanted(
  inventory: Inventory,
  steps: string[],
  wanted: Set<string>,
  { all = false }: { all?: boolean } = {},
): Promise<Manifest[]> {
  if (steps.length === 0) return [];
  return [...(await inventory.live()).values()].filter((object) => {
    const { deletionTimestamp, ownerReferences } = object.metadata;
    const step = inventory.stepOf(object);
    // Controllers copy labels to what they make.
    return step && (all || steps.includes(step)) && !wanted.has(idOf(object)) &&
      !isDefinition(object) && !deletionTimestamp && !ownerReferences?.length &&
      ownFields(object) !== undefined;
  });
}

/** Deletes the objects but those that are kept, and waits until they are gone; exit 7 as {@link awaitGone}. */
export async function prune(
  inventory: Inventory,
  objects: Manifest[],
  say?: Tell,
): Promise<Change[]> {
  const doomed = objects.filter((object) => !isKept(object));
  if (doomed.length === 0) return [];
  const { cluster } = inventory;
  // While the operators that clean up after them still run.
  await deleted(cluster, doomed.filter(isCustom), say);
  await deleted(cluster, doomed.filter((object) => !isCustom(object)), say);
  inventory.refresh();
  // They are gone all the same, and the next run keeps that.
  await inventory.keep().catch(() => {});
  return doomed.map((object) => ({ id: idOf(object), action: "deleted" }));
}

/** What a person types to have deleted what no step wants any more on the clusters with these ids. */
export function pruneCommand(...ids: string[]): string {
  const target = ids.length === 1 ? `cluster-${ids}` : `all GROUP="${ids.join(" ")}"`;
  return `make ${target} ARGS=--prune`;
}

/** Whether an object is gone when the first one is: what is in a namespace, or of a kind that it defines. */
export function goesWith(gone: Manifest, object: Manifest): boolean {
  return gone.kind === "Namespace"
    ? object.metadata.namespace === gone.metadata.name
    : defines(gone, object);
}

export async function deleted(cluster: Cluster, objects: Manifest[], say?: Tell): Promise<void> {
  if (objects.length === 0) return;
  const names = objects.map(({ apiVersion, kind, metadata: { name, namespace } }) => (
    { apiVersion, kind, metadata: { name, namespace } }
  ));
  const words = ["delete", "--ignore-not-found", "--wait=false", "--filename", "-"];
  await kubectl(words, { cluster, input: asList(names) });
  await awaitGone(cluster, objects, say);
}

/** Waits until live objects are gone, or others of their name; exit 7 after two minutes, with what holds them. */
export async function awaitGone(cluster: Cluster, objects: Manifest[], say?: Tell): Promise<void> {
  await until("objects to be gone", async () => {
    const live = await namedOf(cluster, objects);
    return objects.flatMap((object) => {
      const id = idOf(object), now = live.get(id);
      if (!now || now.metadata.uid !== object.metadata.uid) return [];
      return `${id}: is being deleted, held by ${holdersOf(now)}`;
    });
  }, { seconds: 120, every: 2, say });
}

function holdersOf({ metadata: { finalizers = [] }, status }: Manifest): string {
  const conditions: Condition[] = status?.conditions ?? [];
  const words = conditions.filter(({ type, status }) =>
    status === "True" && /Remaining|Terminating|Failure$/.test(type)
  ).map(({ message, reason }) => message || reason);
  return [...finalizers, ...words].join(", ") || "nothing known";
}

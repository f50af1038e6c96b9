// Objects of ours that no step wants any more: found by their labels, deleted only when asked for.
import { deleted } from "./deletion.ts";
import type { Inventory } from "./inventory.ts";
import { ownFields } from "./managers.ts";
import { idOf, isCustom, isDefinition, type Manifest } from "../core/object.ts";
import type { Change } from "../io/report.ts";

/** Kinds whose loss would lose data or other people's objects; they are named and stay. */
const KEPT = ["Namespace", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"]
  .concat("CustomResourceDefinition");
/** With this annotation, "true" on the cluster, a person keeps any other object. */
const KEEP_ANNOTATION = "deploy.miribit.lab/keep";

/** True for an object that no deploy deletes, wanted or not. */
export function isKept({ kind, metadata: { annotations } }: Manifest): boolean {
  return KEPT.includes(kind) || annotations?.[KEEP_ANNOTATION] === "true";
}

/**
 * What these steps have on the cluster and is not `wanted` (ids); where they are `all` that there are, also
 * what a step has left that was renamed or removed. An object counts as theirs by its labels, by our field
 * manager, and by having no owner: controllers copy labels to what they make.
 */
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
    return step && (all || steps.includes(step)) && !wanted.has(idOf(object)) &&
      !isDefinition(object) && !deletionTimestamp && !ownerReferences?.length &&
      ownFields(object) !== undefined;
  });
}

/**
 * Deletes the objects but those that are kept, and waits until they are gone: custom resources first, while the
 * operators that clean up after them still run.
 * @throws {DeployError} exit 7 for those that are not gone after two minutes, with what holds them.
 */
export async function prune(
  inventory: Inventory,
  objects: Manifest[],
  say?: (text: string) => void,
): Promise<Change[]> {
  const doomed = objects.filter((object) => !isKept(object));
  if (doomed.length === 0) return [];
  const { cluster } = inventory;
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

// Objects of ours that no step wants any more: found by their labels, deleted only when asked for.
import type { Cluster } from "../core/cluster.ts";
import { allOurs, listOwned, lookAgain } from "./inventory.ts";
import { entriesOf } from "./managers.ts";
import { kubectl } from "../kube/kubectl.ts";
import { asList, idOf, isCustom, type Manifest, OWNED, OWNER, STEP_LABEL } from "../core/object.ts";
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
  cluster: Cluster,
  steps: string[],
  wanted: Set<string>,
  { all = false }: { all?: boolean } = {},
): Promise<Manifest[]> {
  if (steps.length === 0) return [];
  const ours = await allOurs(cluster) ??
    [...(await listOwned(cluster, await everyKind(cluster), OWNED)).values()];
  return ours.filter((object) => {
    const { labels, deletionTimestamp, ownerReferences } = object.metadata;
    const step = labels?.[STEP_LABEL];
    return step !== undefined && (all || steps.includes(step)) && !wanted.has(idOf(object)) &&
      !deletionTimestamp && !ownerReferences?.length &&
      entriesOf(object).some(({ manager }) => manager === OWNER);
  });
}

// Made by controllers only, many, or (definitions) large and never deleted here.
const SKIPPED =
  /^(customresourcedefinitions|endpoints|endpointslices|events|pods|replicasets|controllerrevisions|leases)(\.|$)/;

/** Every kind that the cluster can list and delete: what is gone from the manifests may be of any. */
async function everyKind(cluster: Cluster): Promise<string[]> {
  const names = await kubectl(["api-resources", "--verbs=list,delete", "--output", "name"], {
    cluster,
  });
  return names.split("\n").filter((name) => name && !SKIPPED.test(name));
}

/**
 * Deletes the objects but those that are kept, and waits until they are gone (2 min at most each):
 * custom resources first, while the operators that clean up after them still run.
 */
export async function prune(cluster: Cluster, objects: Manifest[]): Promise<Change[]> {
  const doomed = objects.filter((object) => !isKept(object));
  for (const wave of [doomed.filter(isCustom), doomed.filter((object) => !isCustom(object))]) {
    if (wave.length === 0) continue;
    const input = asList(wave.map(({ apiVersion, kind, metadata: { name, namespace } }) => ({
      apiVersion,
      kind,
      metadata: { name, namespace },
    })));
    await kubectl(["delete", "--ignore-not-found", "--timeout=120s", "--filename", "-"], {
      cluster,
      input,
      seconds: 130,
    });
  }
  lookAgain(cluster);
  return doomed.map((object) => ({ id: idOf(object), action: "deleted" }));
}

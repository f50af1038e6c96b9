// Objects of ours that no step wants any more: found by their labels, deleted only when asked for.
import type { Cluster } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";
import { asList, idOf, type Manifest, OWNED, OWNER, STEP_LABEL } from "./manifest.ts";
import type { Change } from "./report.ts";

/** Kinds whose loss would lose data or other people's objects; they are named and stay. */
const KEPT = new Set(["Namespace", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"]);

/** True for an object that no deploy deletes, wanted or not. */
export function isKept({ kind }: Manifest): boolean {
  return KEPT.has(kind);
}

/**
 * What these steps have on the cluster and is not `wanted` (ids). An object counts as theirs by its
 * labels, by our field manager, and by having no owner: controllers copy labels to what they make.
 */
export async function unwanted(
  cluster: Cluster,
  steps: string[],
  wanted: Set<string>,
): Promise<Manifest[]> {
  if (steps.length === 0) return [];
  const kinds = await listedKinds(cluster);
  if (kinds.length === 0) return [];
  const selector = `${OWNED},${STEP_LABEL} in (${steps.join(",")})`;
  const list = await kubectl(
    ["get", kinds.join(","), "--all-namespaces", "--selector", selector]
      .concat("--show-managed-fields", "--output", "json"),
    { cluster, seconds: 120 },
  );
  return (JSON.parse(list).items as Manifest[]).filter((object) =>
    isOurs(object) && !wanted.has(idOf(object))
  );
}

function isOurs({ metadata }: Manifest): boolean {
  return !metadata.deletionTimestamp && !metadata.ownerReferences?.length &&
    metadata.managedFields?.some(({ manager }: { manager: string }) => manager === OWNER);
}

// Made by controllers only, many, or (definitions) large and never deleted here.
const SKIPPED =
  /^(customresourcedefinitions|endpoints|endpointslices|events|pods|replicasets|controllerrevisions|leases)(\.|$)/;

/** Every kind that the cluster can list and delete: what is gone from the manifests may be of any. */
async function listedKinds(cluster: Cluster): Promise<string[]> {
  const names = await kubectl(["api-resources", "--verbs=list,delete", "--output", "name"], {
    cluster,
  });
  return names.split("\n").filter((name) => name && !SKIPPED.test(name));
}

/** Deletes the objects but those of a kept kind, and waits until they are gone (2 min at most). */
export async function prune(cluster: Cluster, objects: Manifest[]): Promise<Change[]> {
  const doomed = objects.filter((object) => !isKept(object));
  if (doomed.length === 0) return [];
  const input = asList(doomed.map(({ apiVersion, kind, metadata: { name, namespace } }) => ({
    apiVersion,
    kind,
    metadata: { name, namespace },
  })));
  await kubectl(["delete", "--ignore-not-found", "--timeout=120s", "--filename", "-"], {
    cluster,
    input,
    seconds: 130,
  });
  return doomed.map((object) => ({ id: idOf(object), action: "deleted" }));
}

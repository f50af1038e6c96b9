// Sizes of volumes. A claim may grow, but the template it was made from (of a StatefulSet) is immutable,
// and an operator that meets that deletes the StatefulSet and its pods with it. So the claims are grown
// here, and the StatefulSet is taken away from its pods, which go on, to be made again for them.
import { apply } from "./apply.ts";
import type { Cluster } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import type { Inventory } from "./inventory.ts";
import { byId } from "./live.ts";
import { reading } from "../kube/api.ts";
import { kubectl } from "../kube/kubectl.ts";
import { idOf, inWaves, isOurs, type Manifest, OWNER } from "../core/object.ts";
import { bytesOf } from "../core/quantity.ts";
import { retried } from "../kube/retry.ts";
import { DRY_RUN, sendList } from "./send.ts";
import { storageClasses } from "../kube/storage_class.ts";

/** A live claim, and the larger size that it should ask for. */
export interface Resize {
  claim: Manifest;
  size: string;
  /** true: the claim is one of the desired objects, so applying them grows it. */
  applied: boolean;
}

/** What has to be done before the desired objects can be applied. */
export interface Growth {
  resizes: Resize[];
  /** Live StatefulSets with a template of another size than wanted. */
  outdated: Manifest[];
  /** Desired resources whose operator makes one of the `outdated`. */
  operated: Manifest[];
}

/** One claim template of a StatefulSet, with the size that the desired objects want for it. */
interface Template {
  object: Manifest;
  set: string;
  name: string;
  size: string;
  live?: Manifest;
}

/**
 * Compares the sizes that the objects want with the volumes that the cluster has: of claims, of
 * StatefulSets, and of resources that an operator makes StatefulSets for. Changes nothing.
 * @throws {DeployError} exit 2 naming every volume that would have to shrink, or that cannot grow.
 */
export async function volumeGrowth(cluster: Cluster, objects: Manifest[]): Promise<Growth> {
  const wanting = objects.filter((object) => sizesOf(object).length > 0);
  const live = wanting.length > 0 ? await setsAndClaims(cluster) : [];
  const templates = wanting.flatMap((object) => templatesOf(object, live));
  const plain = wanting.filter(({ kind }) => kind === "PersistentVolumeClaim");
  const differing = [
    ...plain.flatMap((object) => ofSize(live, sizesOf(object)[0]!, idOf(object), true)),
    ...templates.flatMap(({ object, set, name, size }) => {
      const prefix = `PersistentVolumeClaim/${object.metadata.namespace}/${name}-${set}-`;
      return ofSize(live, size, prefix, false);
    }),
  ];
  refuseShrinking(cluster, differing);
  await refuseFixed(cluster, differing);
  const outdated = templates.filter(({ live, name, size }) => {
    const template = live?.spec.volumeClaimTemplates.find((one: Manifest) =>
      one.metadata.name === name
    );
    return template && bytesOf(sizeOf(template)!) !== bytesOf(size);
  });
  return {
    resizes: differing,
    outdated: [...new Set(outdated.map(({ live }) => live!))],
    operated: [...new Set(outdated.map(({ object }) => object))].filter(({ kind }) =>
      kind !== "StatefulSet"
    ),
  };
}

function setsAndClaims(cluster: Cluster): Promise<Manifest[]> {
  const kinds = ["statefulset.v1.apps", "persistentvolumeclaim.v1."];
  return reading(cluster, (api) => api.list(kinds, ""));
}

/**
 * Grows volumes as far as the objects want it, so that they can be applied next; one sentence for each
 * claim that was told to grow, and for each definition that had to be applied before. When a run ends
 * in the middle, the next one goes on from there: a StatefulSet that is away is simply made by its
 * apply, and a held operator is let go by it.
 * @throws {DeployError} as {@link volumeGrowth} does, or for an object that the API server would
 *   refuse, with no volume and no StatefulSet touched.
 */
export async function growVolumes(inventory: Inventory, objects: Manifest[]): Promise<string[]> {
  const { cluster, say } = inventory;
  const { resizes, outdated, operated } = await volumeGrowth(cluster, objects);
  const told = resizes.filter(({ applied }) => !applied);
  // Our own field: the apply that follows does not have it, so the API server takes it away again.
  const held = operated.map((object) => ({ ...object, spec: { ...object.spec, paused: true } }));
  // The resources may have fields that only the definitions of the same step know.
  const changes = held.length > 0 ? await apply(inventory, inWaves(objects)[0]) : [];
  // Throws when the API server would refuse one of them. Forced: a conflict is the business of the apply, and a
  // StatefulSet that is made anew has none.
  const tried = [...withLiveSizes(objects, outdated), ...held];
  const flags = [...DRY_RUN, "--force-conflicts"];
  if (tried.length > 0) await sendList(cluster, tried, flags);
  for (const { claim, size } of told) await retried(() => request(cluster, claim, size));
  await apply(inventory, held);
  for (const { metadata: { namespace, name } } of outdated) {
    say(`StatefulSet/${namespace}/${name} is made again for larger volumes; its pods go on`);
    const away = ["delete", "statefulset", name, "-n", namespace!, "--cascade=orphan"];
    await kubectl([...away, "--ignore-not-found"], { cluster });
  }
  const defined = changes.filter(({ action }) => action !== "unchanged");
  return [
    ...defined.map(({ id, action }) => `${id} ${action}, before the volumes that need it`),
    ...told.map(({ claim, size }) =>
      `volume ${claim.metadata.name} grows from ${sizeOf(claim)} to ${size}`
    ),
  ];
}

/** The outdated ones of our own StatefulSets as wanted, but for the sizes, which nobody can change. */
function withLiveSizes(objects: Manifest[], outdated: Manifest[]): Manifest[] {
  const sets = byId(outdated);
  return objects.filter((object) => sets.has(idOf(object)))
    .map((object) => withTemplateSizes(object, sets.get(idOf(object))!));
}

/** A copy of a StatefulSet with the sizes that the templates of another one ask for. */
export function withTemplateSizes(set: Manifest, other: Manifest): Manifest {
  const copy = structuredClone(set);
  for (const template of copy.spec.volumeClaimTemplates) {
    const { spec: { volumeClaimTemplates } } = other;
    const same = volumeClaimTemplates.find((one: Manifest) =>
      one.metadata.name === template.metadata.name
    );
    if (same) template.spec.resources.requests.storage = sizeOf(same);
  }
  return copy;
}

/** Size that a claim or a template asks for, such as `10Gi`. */
export function sizeOf(claim: Partial<Manifest> | undefined): string | undefined {
  return claim?.spec?.resources?.requests?.storage;
}

/** Sizes that an object asks for: itself, for each pod of its own, or for those of its operator. */
function sizesOf({ kind, metadata, spec }: Manifest): string[] {
  const claims = kind === "PersistentVolumeClaim"
    ? [{ spec }]
    : kind === "StatefulSet"
    ? spec.volumeClaimTemplates ?? []
    : [spec?.storage?.volumeClaimTemplate];
  return metadata.namespace ? claims.map(sizeOf).filter(Boolean) : [];
}

function templatesOf(object: Manifest, live: Manifest[]): Template[] {
  const { kind, metadata: { namespace, name }, spec } = object;
  const sets = live.filter((one) =>
    one.kind === "StatefulSet" && one.metadata.namespace === namespace
  );
  if (kind === "StatefulSet") {
    const found = sets.find(({ metadata }) => metadata.name === name);
    // Somebody else's, and so are its claims.
    if (found && !isOurs(found)) return [];
    return (spec.volumeClaimTemplates ?? []).map((template: Manifest) => (
      { object, set: name, name: template.metadata.name, size: sizeOf(template), live: found }
    ));
  }
  const size = sizeOf(spec?.storage?.volumeClaimTemplate);
  if (!size) return [];
  const made = sets.filter(({ metadata }) =>
    metadata.ownerReferences?.some((owner: { kind: string; name: string }) =>
      owner.kind === kind && owner.name === name
    )
  );
  return made.flatMap((set) =>
    (set.spec.volumeClaimTemplates ?? []).map((template: Manifest) => (
      { object, set: set.metadata.name, name: template.metadata.name, size, live: set }
    ))
  );
}

/** Live claims of another size, of this id or (for claims of pods) of this id and an ordinal. */
function ofSize(live: Manifest[], size: string, id: string, applied: boolean): Resize[] {
  return live.filter((claim) => {
    const own = idOf(claim);
    const rest = own.slice(id.length);
    return own.startsWith(id) && (applied ? rest === "" : /^\d+$/.test(rest)) &&
      bytesOf(sizeOf(claim)!) !== bytesOf(size);
  }).map((claim) => ({ claim, size, applied }));
}

function refuseShrinking(cluster: Cluster, resizes: Resize[]): void {
  const smaller = resizes.filter(({ claim, size }) => bytesOf(sizeOf(claim)!) > bytesOf(size));
  if (smaller.length === 0) return;
  throw new DeployError(`Cannot shrink volumes of ${cluster.id}: Kubernetes can only grow them`, {
    exitCode: ExitCode.config,
    where: smaller.map(({ claim, size }) => `${idOf(claim)}  is ${sizeOf(claim)}, wanted ${size}`),
    fix: "set the size to what the volume has; or, when its data may go, delete its workload and " +
      "the claim with kubectl, then run again: it starts with an empty volume",
  });
}

async function refuseFixed(cluster: Cluster, resizes: Resize[]): Promise<void> {
  if (resizes.length === 0) return;
  const classes = await storageClasses(cluster);
  const obstacles = resizes.flatMap(({ claim, size }) => {
    const name = claim.spec.storageClassName;
    const growing = `${idOf(claim)}  ${sizeOf(claim)} -> ${size}`;
    const found = classes.find(({ metadata }) => metadata.name === name);
    if (!found?.allowVolumeExpansion) {
      return [`${growing}: StorageClass ${name} has no allowVolumeExpansion`];
    }
    // The API server lets nobody change a claim that has no volume yet.
    return claim.status?.phase === "Bound" ? [] : [`${growing}: the claim is not bound yet`];
  });
  if (obstacles.length === 0) return;
  throw new DeployError(`Cannot grow volumes of ${cluster.id}`, {
    exitCode: ExitCode.config,
    where: obstacles,
    fix: "set the size back; or, if the provisioner of the class can grow volumes, kubectl patch " +
      `storageclass NAME -p '{"allowVolumeExpansion":true}'`,
  });
}

async function request(cluster: Cluster, claim: Manifest, size: string): Promise<void> {
  const { namespace, name } = claim.metadata;
  const patch = JSON.stringify({ spec: { resources: { requests: { storage: size } } } });
  await kubectl(
    ["patch", "pvc", name, "-n", namespace!, `--field-manager=${OWNER}`]
      .concat("--type=merge", "-p", patch),
    { cluster },
  );
}

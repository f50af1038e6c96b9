// Sizes of volumes. A claim may grow, but its template in a StatefulSet cannot, and an operator that meets that deletes
// the pods too. So the claims are grown here, and the StatefulSet is taken away from its pods, which go on, and made anew.
import type { Cluster } from "../core/cluster.ts";
import { configError } from "../core/error.ts";
import { idOf, inWaves, isOurs, type Manifest, OWNER } from "../core/object.ts";
import { bytesOf } from "../core/quantity.ts";
import { reading } from "../kube/api.ts";
import { kubectl } from "../kube/kubectl.ts";
import { retried } from "../kube/kubectl_error.ts";
import { storageClasses } from "../kube/storage_class.ts";
import { apply } from "./apply.ts";
import type { Inventory } from "./inventory.ts";
import { byId, DRY_RUN, sendList } from "./live.ts";

/** What has to grow before the objects can be applied; exit 2 naming every volume that would shrink or cannot grow. */
export async function volumeGrowth(cluster: Cluster, objects: Manifest[]) {
  const isClaim = ({ kind }: Manifest) => kind === "PersistentVolumeClaim";
  const claims = objects.filter((object) => isClaim(object) && sizeOf(object));
  const makers = objects.filter((object) => operatedSize(object) ?? sizeOf(templatesOf(object)[0]));
  const kinds = ["statefulset.v1.apps", "persistentvolumeclaim.v1."];
  const live = claims.length + makers.length > 0
    ? await reading(cluster, (api) => api.list(kinds, ""))
    : [];
  const resized = (size: string, isMeant: (id: string) => boolean) =>
    live.filter((one) => isClaim(one) && isMeant(idOf(one)) && isOther(one, size))
      .map((claim) => ({ claim, size }));
  const applied = claims.flatMap((object) => resized(sizeOf(object)!, (id) => id === idOf(object)));
  const templates = makers.flatMap((object) => templatesFor(object, live));
  const resizes = templates.flatMap(({ claims, size }) =>
    resized(size, (id) => id.startsWith(claims) && /^\d+$/.test(id.slice(claims.length)))
  );
  await refuseOthers(cluster, [...applied, ...resizes]);
  const outdated = templates.filter(({ live, name, size }) => {
    const template = live && templateOf(live, name);
    return template && isOther(template, size);
  });
  const operated = outdated.map(({ object }) => object).filter(operatedSize);
  return {
    resizes, // live claims, and what they should ask for
    /** Live StatefulSets with a template of another size than wanted. */
    outdated: [...new Set(outdated.map(({ live }) => live!))],
    operated: [...new Set(operated)], // desired resources whose operator makes one of the outdated
  };
}

// After a run that was cut off the next apply makes the StatefulSet that is away, and lets go an operator that is held.
/** Grows volumes so that the objects can be applied next, or throws with none of them touched; a sentence for each change. */
export async function growVolumes(inventory: Inventory, objects: Manifest[]): Promise<string[]> {
  const { cluster, say } = inventory;
  const { resizes, outdated, operated } = await volumeGrowth(cluster, objects);
  // Our own field: the apply that follows does not have it, so the API server takes it away again.
  const held = operated.map((object) => ({ ...object, spec: { ...object.spec, paused: true } }));
  // The resources may have fields that only the definitions of the same step know.
  const changes = held.length > 0 ? await apply(inventory, inWaves(objects)[0]) : [];
  const sets = byId(outdated);
  const remade = objects.filter((object) => sets.has(idOf(object)))
    .map((object) => withTemplateSizes(object, sets.get(idOf(object))!));
  const tried = [...remade, ...held];
  // Forced: a conflict is the business of the apply, and a StatefulSet that is made anew has none.
  if (tried.length > 0) await sendList(cluster, tried, [...DRY_RUN, "--force-conflicts"]);
  for (const { claim: { metadata: { name, namespace } }, size } of resizes) {
    const patch = JSON.stringify({ spec: { resources: { requests: { storage: size } } } });
    const words = ["patch", "pvc", name, "-n", namespace!, `--field-manager=${OWNER}`];
    await retried(() => kubectl([...words, "--type=merge", "-p", patch], { cluster }));
  }
  await apply(inventory, held);
  for (const { metadata: { namespace, name } } of outdated) {
    say(`StatefulSet/${namespace}/${name} is made again for larger volumes; its pods go on`);
    const away = ["delete", "statefulset", name, "-n", namespace!, "--cascade=orphan"];
    await kubectl([...away, "--ignore-not-found"], { cluster });
  }
  const defined = changes.filter(({ action }) => action !== "unchanged");
  return [
    ...defined.map(({ id, action }) => `${id} ${action}, before the volumes that need it`),
    ...resizes.map(({ claim, size }) =>
      `volume ${claim.metadata.name} grows from ${sizeOf(claim)} to ${size}`
    ),
  ];
}

/** The StatefulSet with the sizes that the templates of another one ask for. */
export function withTemplateSizes(set: Manifest, other: Manifest): Manifest {
  const copy = structuredClone(set);
  for (const template of copy.spec.volumeClaimTemplates) {
    const same = templateOf(other, template.metadata.name);
    if (same) template.spec.resources.requests.storage = sizeOf(same);
  }
  return copy;
}

/** Size that a claim or a template asks for, such as `10Gi`. */
export function sizeOf(claim: Partial<Manifest> | undefined): string | undefined {
  return claim?.spec?.resources?.requests?.storage;
}

function isOther(claim: Manifest, size: string): boolean {
  return bytesOf(sizeOf(claim)!) !== bytesOf(size);
}

function templatesOf({ spec }: Manifest): Manifest[] {
  return spec?.volumeClaimTemplates ?? [];
}

function templateOf(set: Manifest, name: string): Manifest | undefined {
  return templatesOf(set).find(({ metadata }) => metadata.name === name);
}

function operatedSize({ spec }: Manifest): string | undefined {
  return sizeOf(spec?.storage?.volumeClaimTemplate);
}

/** Claim templates, the sizes that the object wants for them, and the ids of their claims but for the ordinal. */
function templatesFor(object: Manifest, live: Manifest[]) {
  const { kind, metadata: { namespace, name } } = object, size = operatedSize(object);
  const isMade = ({ kind: of, metadata }: Manifest) =>
    of === "StatefulSet" && metadata.namespace === namespace &&
    metadata.ownerReferences?.some((owner: Manifest) => owner.kind === kind && owner.name === name);
  // Those that an operator has made tell which templates there are.
  const sets = size ? live.filter(isMade) : [object];
  return sets.flatMap((set) => {
    const there = live.find((one) => idOf(one) === idOf(set));
    // Somebody else's, and so are its claims.
    if (set === object && there && !isOurs(there)) return [];
    return templatesOf(set).map((template) => {
      const { name } = template.metadata;
      const claims = `PersistentVolumeClaim/${namespace}/${name}-${set.metadata.name}-`;
      return { object, name, size: size ?? sizeOf(template)!, claims, live: there };
    });
  });
}

async function refuseOthers(cluster: Cluster, resizes: { claim: Manifest; size: string }[]) {
  if (resizes.length === 0) return;
  const classes = await storageClasses(cluster);
  const obstacles = resizes.flatMap(({ claim, size }) => {
    const name = claim.spec.storageClassName;
    const line = `${idOf(claim)}  is ${sizeOf(claim)}, wanted ${size}`;
    if (bytesOf(sizeOf(claim)!) > bytesOf(size)) return line;
    const found = classes.find(({ metadata }) => metadata.name === name);
    if (!found?.allowVolumeExpansion) {
      return `${line}: StorageClass ${name} has no allowVolumeExpansion`;
    }
    // The API server lets nobody change a claim that has no volume yet.
    return claim.status?.phase === "Bound" ? [] : `${line}: the claim is not bound yet`;
  });
  if (obstacles.length === 0) return;
  const isSmaller = resizes.some(({ claim, size }) => bytesOf(sizeOf(claim)!) > bytesOf(size));
  const [what, fix] = isSmaller
    ? [
      `Cannot shrink volumes of ${cluster.id}: Kubernetes can only grow them`,
      "set the size to what the volume has; or, when its data may go, delete its workload and the " +
      "claim with kubectl, then run again: it starts with an empty volume",
    ]
    : [
      `Cannot grow volumes of ${cluster.id}`,
      "set the size back; or, if the provisioner of the class can grow volumes, kubectl patch " +
      `storageclass NAME -p '{"allowVolumeExpansion":true}'`,
    ];
  throw configError(what, { where: obstacles, fix });
}

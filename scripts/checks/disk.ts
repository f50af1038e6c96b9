// Whether there is disk for the volumes that the steps claim.
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { bytesOf } from "../../lib/core/quantity.ts";
import { defaultClasses, storageClasses } from "../../lib/kube/storage_class.ts";
import { replicasFor } from "../components/longhorn/nodes.ts";
import type { NodeFacts } from "./node_facts.ts";
import { ok, type Row, stop, warn } from "../../lib/probe/row.ts";

/** Bytes as `12.5Gi`. */
export function inGi(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)}Gi`;
}

/** The claims of the steps and of others, against the class and (Longhorn) the disks. */
export async function volumeRow(
  cluster: Cluster,
  objects: Manifest[],
  facts: () => Promise<NodeFacts[]>,
): Promise<Row> {
  const wanted = text(cluster, "STORAGE_CLASS");
  const claimed = claimsOf(objects);
  if (text(cluster, "STORAGE") !== "longhorn") {
    return judgeClass(await storageClasses(cluster), wanted, claimed);
  }
  const words = ["get", "persistentvolumeclaims", "--all-namespaces", "-o", "json"];
  const live: Manifest[] = JSON.parse(await kubectl(words, { cluster, seconds: 15 })).items;
  for (const { metadata: { namespace, name }, spec } of live) {
    if (spec.storageClassName !== wanted) continue;
    const id = `${namespace}/${name}`, bytes = bytesOf(spec.resources.requests.storage);
    claimed.set(id, Math.max(bytes, claimed.get(id) ?? 0));
  }
  return judgeDisks(await facts(), claimed, {
    path: text(cluster, "LONGHORN_DATA_PATH"),
    replicas: number(cluster, "LONGHORN_REPLICAS"),
    reserved: number(cluster, "LONGHORN_RESERVED"),
    overProvisioning: number(cluster, "LONGHORN_OVER_PROVISIONING"),
    minimalAvailable: number(cluster, "LONGHORN_MINIMAL_AVAILABLE"),
  });
}

/** A claim, or the template of one. */
// deno-lint-ignore no-explicit-any
type Claim = { spec: any };

/** Bytes of every claim that the objects lead to, by namespace and name. */
export function claimsOf(objects: Manifest[]): Map<string, number> {
  const claims = new Map<string, number>();
  for (const { kind, metadata: { namespace, name }, spec } of objects) {
    const add = (claim: string, { spec: { resources } }: Claim) =>
      claims.set(`${namespace}/${claim}`, bytesOf(resources.requests.storage));
    if (kind === "PersistentVolumeClaim") add(name, { spec });
    const templates: (Claim & Manifest)[] = kind === "StatefulSet"
      ? spec.volumeClaimTemplates ?? []
      : [];
    for (let index = 0; index < (spec?.replicas ?? 1); index++) {
      for (const template of templates) add(`${template.metadata.name}-${name}-${index}`, template);
      const operated = spec?.storage?.volumeClaimTemplate;
      const set = `${kind.toLowerCase()}-${name}`;
      if (operated) add(`${set}-db-${set}-${index}`, operated);
    }
  }
  return claims;
}

function total(claims: Map<string, number>): number {
  return [...claims.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** A class of the site's own: it has to be there. Its disks are its own business. */
export function judgeClass(classes: Manifest[], wanted: string, claims: Map<string, number>): Row {
  const found = classes.find(({ metadata }) => metadata.name === wanted);
  const asked = `${claims.size} claims, ${inGi(total(claims))}`;
  if (!found) {
    const names = classes.map(({ metadata }) => metadata.name).join(", ") || "none";
    return stop(
      `no class ${wanted} (there: ${names}) for ${asked}`,
      "set STORAGE_CLASS to one of them, install its provisioner, or set STORAGE=longhorn",
    );
  }
  if (!found.allowVolumeExpansion) {
    return warn(
      `class ${wanted} (${found.provisioner}) cannot grow volumes; ${asked}`,
      "choose sizes that last, or a class with allowVolumeExpansion",
    );
  }
  return ok(`class ${wanted} (${found.provisioner}) for ${asked}`);
}

/** Settings of Longhorn that decide how much it puts on a disk; percentages as whole numbers. */
export interface DiskSettings {
  path: string;
  replicas: number;
  reserved: number;
  overProvisioning: number;
  minimalAvailable: number;
}

/** Longhorn's own sum: it schedules nothing beyond (disk - reserved) x over-provisioning. */
export function judgeDisks(
  facts: NodeFacts[],
  claims: Map<string, number>,
  { path, replicas, reserved, overProvisioning, minimalAvailable }: DiskSettings,
): Row {
  const copies = replicasFor(replicas, facts.length);
  const asked = total(claims) * copies;
  const sum = (field: "diskBytes" | "diskFreeBytes") =>
    facts.reduce((total, node) => total + node[field], 0);
  const size = sum("diskBytes"), free = sum("diskFreeBytes");
  const room = size * (1 - reserved / 100) * overProvisioning / 100;
  const claimed = `${claims.size} claims x ${copies} = ${inGi(asked)}`;
  const seen = `${claimed}; ${path} ${inGi(size)}, free ${inGi(free)}, Longhorn gives ${
    inGi(room)
  }`;
  const grow = `a larger disk at LONGHORN_DATA_PATH, or smaller *_STORAGE settings`;
  if (!(asked <= room)) return stop(`too small: ${seen}`, grow);
  // Longhorn takes no new replica on such a disk, and a full one stops what is there.
  if (free < size * minimalAvailable / 100) {
    return stop(
      `less than ${minimalAvailable} % free: ${seen}`,
      `free space below ${path}; or ${grow}`,
    );
  }
  if (free < asked) return warn(`not all of it can be filled: ${seen}`, grow);
  return ok(seen);
}

/** Minikube's own class comes back as the default one at each of its starts. */
export function judgeAddon(classes: Manifest[], wanted: string): Row {
  const addon = classes.find(({ metadata, provisioner }) =>
    provisioner === "k8s.io/minikube-hostpath" && metadata.name !== wanted
  );
  const defaults = defaultClasses(classes);
  const seen = `default: ${defaults.join(", ") || "none"}`;
  if (!addon) return ok(seen);
  return warn(
    `Minikube's class ${addon.metadata.name} is there and takes over at every minikube start; ${seen}`,
    "minikube addons disable default-storageclass",
  );
}

// Whether there is disk for the volumes that the steps claim, and which class the default one is.
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { objectsEverywhere } from "../../lib/kube/list.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { bytesOf } from "../../lib/core/quantity.ts";
import { defaultClasses, storageClasses } from "../../lib/kube/storage_class.ts";
import { replicasFor } from "../components/longhorn/limits.ts";
import { factsOf, type NodeFacts, UNKNOWN_NODES } from "./node_facts.ts";
import {
  fail,
  type Finding,
  hidden,
  hiddenBy,
  ok,
  type Subject,
  warn,
} from "../../lib/core/check.ts";

/** Bytes as `12.5Gi`. */
export function inGi(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)}Gi`;
}

/** The claims of the steps and of others, against the class and (Longhorn) the disks. */
export async function disks(subject: Subject): Promise<Finding> {
  const { cluster } = subject;
  const wanted = text(cluster, "STORAGE_CLASS");
  const claimed = claimsOf(await subject.objects());
  if (text(cluster, "STORAGE") !== "longhorn") return await ownClass(cluster, claimed);
  const why = hiddenBy(cluster);
  const facts = why ? undefined : await factsOf(subject).catch(() => undefined);
  if (!facts) return hidden(why ?? UNKNOWN_NODES);
  const live = await objectsEverywhere(cluster, "persistentvolumeclaims");
  for (const { metadata: { namespace, name }, spec } of live) {
    if (spec.storageClassName !== wanted) continue;
    const id = `${namespace}/${name}`, bytes = bytesOf(spec.resources.requests.storage);
    claimed.set(id, Math.max(bytes, claimed.get(id) ?? 0));
  }
  return judgeDisks(facts, claimed, cluster);
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
async function ownClass(cluster: Cluster, claims: Map<string, number>): Promise<Finding> {
  const wanted = text(cluster, "STORAGE_CLASS");
  const classes = await storageClasses(cluster);
  const found = classes.find(({ metadata }) => metadata.name === wanted);
  const asked = `${claims.size} claims, ${inGi(total(claims))}`;
  if (!found) {
    const names = classes.map(({ metadata }) => metadata.name).join(", ") || "none";
    return fail(
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

/** Longhorn's own sum: it schedules nothing beyond (disk - reserved) x over-provisioning. */
export function judgeDisks(
  facts: NodeFacts[],
  claims: Map<string, number>,
  cluster: Cluster,
): Finding {
  const share = (setting: string) => number(cluster, setting) / 100;
  const copies = replicasFor(number(cluster, "LONGHORN_REPLICAS"), facts.length);
  const asked = total(claims) * copies;
  const size = facts.reduce((sum, { diskBytes }) => sum + diskBytes, 0);
  const free = facts.reduce((sum, { diskFreeBytes }) => sum + diskFreeBytes, 0);
  const room = size * (1 - share("LONGHORN_RESERVED")) * share("LONGHORN_OVER_PROVISIONING");
  const least = number(cluster, "LONGHORN_MINIMAL_AVAILABLE");
  const seen = `${claims.size} claims x ${copies} = ${inGi(asked)}; ` +
    `${text(cluster, "LONGHORN_DATA_PATH")} ${inGi(size)}, free ${inGi(free)}, ` +
    `Longhorn gives ${inGi(room)}`;
  const grow = `a larger disk at LONGHORN_DATA_PATH, or smaller *_STORAGE settings`;
  if (!(asked <= room)) return fail(`too small: ${seen}`, grow);
  // Longhorn takes no new replica on such a disk, and a full one stops what is there.
  if (free < size * least / 100) {
    const path = text(cluster, "LONGHORN_DATA_PATH");
    return fail(`less than ${least} % free: ${seen}`, `free space below ${path}; or ${grow}`);
  }
  if (free < asked) return warn(`not all of it can be filled: ${seen}`, grow);
  return ok(seen);
}

/**
 * The default StorageClass: before a deploy nothing takes it over, after one it is ours. A class of the site's own is
 * asked for by its name.
 */
export async function defaultClass({ cluster, when }: Subject): Promise<Finding> {
  const why = when === "after" ? hiddenBy(cluster) : undefined;
  if (why) return hidden(why);
  const classes = await storageClasses(cluster);
  const wanted = text(cluster, "STORAGE_CLASS");
  const defaults = defaultClasses(classes);
  const seen = `default: ${defaults.join(" and ") || "none"}`;
  const addon = classes.find(({ metadata, provisioner }) =>
    provisioner === "k8s.io/minikube-hostpath" && metadata.name !== wanted
  );
  if (when === "before" && addon) {
    const { name } = addon.metadata;
    return warn(
      `Minikube's class ${name} is there and takes over at every minikube start; ${seen}`,
      "minikube addons disable default-storageclass",
    );
  }
  const fine = defaults.length === 1 && defaults[0] === wanted;
  if (when === "before" || fine || text(cluster, "STORAGE") === "existing") return ok(seen);
  return {
    what: `${seen}, wanted only ${wanted}`,
    cause: "Minikube switched its own class on again, or 10-longhorn has not run to its end",
    fix: `make 10-longhorn CLUSTER=${cluster.id}`,
  };
}

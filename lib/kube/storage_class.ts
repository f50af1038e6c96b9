// The cluster's default StorageClass: exactly one, and the one we want.
import type { Cluster } from "../core/cluster.ts";
import { notReadyError } from "../core/error.ts";
import { reading } from "./api.ts";
import { kubectl } from "./kubectl.ts";
import type { Manifest } from "../core/object.ts";
import { differing, type Resource } from "../core/resource.ts";

const ANNOTATION = "storageclass.kubernetes.io/is-default-class";
/** Kubernetes still honours the old name. */
const BETA_ANNOTATION = "storageclass.beta.kubernetes.io/is-default-class";

/** Every StorageClass of the cluster. */
export function storageClasses(cluster: Cluster): Promise<Manifest[]> {
  return reading(cluster, (api) => api.get("storageclasses.storage.k8s.io"));
}

/** Names of the classes that count as default, by name. */
export function defaultClasses(classes: Manifest[]): string[] {
  return classes.filter(({ metadata: { annotations } }) =>
    annotations?.[ANNOTATION] === "true" || annotations?.[BETA_ANNOTATION] === "true"
  ).map(({ metadata }) => metadata.name).sort();
}

/** The class as the only default one. Where it does not exist, no put makes it: exit 7. */
export function onlyDefault(wanted: string): Resource<Cluster> {
  return {
    id: `DefaultStorageClass/${wanted}`,
    async look(cluster) {
      const classes = await storageClasses(cluster);
      if (!classes.some(({ metadata }) => metadata.name === wanted)) return { state: "missing" };
      const old = defaultClasses(classes).join(", ");
      return differing(old === wanted ? [] : [{ path: "default", old, now: wanted }]);
    },
    async put(cluster) {
      const classes = await storageClasses(cluster), defaults = defaultClasses(classes);
      const names = classes.map(({ metadata }) => metadata.name);
      if (!names.includes(wanted)) {
        throw notReadyError(`Cannot make ${wanted} the default StorageClass: it does not exist`, {
          where: `classes of ${cluster.id}: ${names.join(", ") || "none"}`,
          fix: "set STORAGE_CLASS to a class of the cluster, or install its provisioner",
        });
      }
      const annotate = (name: string, ...annotations: string[]) =>
        kubectl(["annotate", "--overwrite", "storageclass", name, ...annotations], { cluster });
      // First the new one: a claim made in between finds two defaults, of which the newest wins.
      if (!defaults.includes(wanted)) await annotate(wanted, `${ANNOTATION}=true`);
      for (const name of defaults.filter((one) => one !== wanted)) {
        await annotate(name, `${ANNOTATION}=false`, `${BETA_ANNOTATION}-`);
      }
      return defaults.join() !== wanted;
    },
  };
}

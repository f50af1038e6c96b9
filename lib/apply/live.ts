// Objects as the cluster lists them at this moment.
import type { Cluster } from "../core/cluster.ts";
import { idOf, type Manifest, OWNED } from "../core/object.ts";
import { type Api, reading } from "../kube/api.ts";

/** Objects by their id. */
export type ById = Map<string, Manifest>;

// Made by controllers only, or many.
const SKIPPED =
  /^(endpoints|endpointslices?|events?|pods?|replicasets?|controllerrevisions?|leases?)\./;

/** Every kind that the server can list and delete: what is ours may be of any where nothing is kept. */
export async function everyKind(api: Api): Promise<string[]> {
  return [...await api.served()].filter(([kind, { verbs, isFirst }]) =>
    isFirst && verbs.includes("list") && verbs.includes("delete") && !SKIPPED.test(kind)
  ).map(([kind]) => kind);
}

/** What we own of these kinds as it is now, by id: as {@link owned}, but of definitions names and labels alone. */
export async function listed(api: Api, kinds: string[]): Promise<ById> {
  const isDefinitions = (kind: string) => kind.startsWith("customresourcedefinition.");
  const [definitions, whole] = await Promise.all([
    // Whole they are megabytes.
    api.list(kinds.filter(isDefinitions), OWNED, true),
    api.list(kinds.filter((kind) => !isDefinitions(kind)), OWNED),
  ]);
  const short = definitions.map(({ apiVersion, kind, metadata }): Manifest => {
    const { managedFields: _, ...rest } = metadata;
    return { apiVersion, kind, metadata: rest };
  });
  return byId([...short, ...whole]);
}

/** Whole objects of these kinds that have our label, with the managers of their fields, as they are now, by id. */
export async function owned(cluster: Cluster, kinds: string[], seconds?: number): Promise<ById> {
  return byId(await reading(cluster, (api) => api.list(kinds, OWNED), seconds));
}

/** Those of the objects that are there, whoever made them, as they are now, by id. */
export async function namedOf(cluster: Cluster, objects: Manifest[]): Promise<ById> {
  if (objects.length === 0) return new Map();
  return byId(await reading(cluster, (api) => api.named(objects)));
}

/** Objects by their id. */
export function byId(items: Manifest[]): ById {
  return new Map(items.map((item) => [idOf(item), item]));
}

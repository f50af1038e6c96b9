// Objects as the cluster lists them at this moment.
import type { Cluster } from "../core/cluster.ts";
import { idOf, type Manifest, OWNED } from "../core/object.ts";
import { reading } from "../kube/api.ts";
import type { Api } from "../kube/discovery.ts";

/** Objects by their id. */
export type ById = Map<string, Manifest>;

/** What we own of these kinds as it is now: as {@link owned}, but of definitions (megabytes) name and labels alone. */
export async function listed(api: Api, kinds: string[]): Promise<ById> {
  const isDefinitions = (kind: string) => kind.startsWith("customresourcedefinition.");
  const [definitions, whole] = await Promise.all([
    api.list(kinds.filter(isDefinitions), OWNED, true),
    api.list(kinds.filter((kind) => !isDefinitions(kind)), OWNED),
  ]);
  const short = definitions.map(({ apiVersion, kind, metadata }): Manifest => (
    { apiVersion, kind, metadata: { ...metadata, managedFields: undefined } }
  ));
  return byId([...short, ...whole]);
}

/** Whole objects of these kinds that have our label, with the managers of their fields, as they are now. */
export async function owned(cluster: Cluster, kinds: string[], seconds?: number): Promise<ById> {
  return byId(await reading(cluster, (api) => api.list(kinds, OWNED), seconds));
}

/** Those of the objects that are there, whoever made them, as they are now. */
export async function namedOf(cluster: Cluster, objects: Manifest[]): Promise<ById> {
  if (objects.length === 0) return new Map();
  return byId(await reading(cluster, (api) => api.named(objects)));
}

/** Objects by their id. */
export function byId(items: Manifest[]): ById {
  return new Map(items.map((item) => [idOf(item), item]));
}

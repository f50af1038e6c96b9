// What the cluster has of ours: ids and states, or whole objects, of the kinds in question.
import type { Cluster } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";
import { idOf, type Manifest, OWNED } from "./manifest.ts";

/** jsonpath of one line that {@link parseStates} reads. */
export const STATE_FIELDS =
  ["kind", "metadata.namespace", "metadata.name", "metadata.resourceVersion"]
    .concat("metadata.generation", "metadata.labels", "metadata.annotations")
    .map((field) => `{.${field}}`).join('{"\\t"}') + '{"\\n"}';

/**
 * Id to a text that changes with what people write. Where there is a generation it counts and not the
 * resourceVersion, which controllers move when they write the status.
 */
export function parseStates(output: string): Map<string, string> {
  return new Map(
    output.split("\n").filter(Boolean).map((line) => {
      const [kind, namespace, name, version, generation, ...notes] = line.split("\t");
      const id = [kind, namespace, name].filter(Boolean).join("/");
      return [id, generation ? [generation, ...notes].join() : version!];
    }),
  );
}

/** States of what we own, of the kinds of `objects`; one cheap list call. */
export async function states(cluster: Cluster, objects: Manifest[]): Promise<Map<string, string>> {
  return parseStates(
    await kubectl(
      ["get", resources(objects), "--all-namespaces", "--selector", OWNED]
        .concat("--ignore-not-found", "-o", `jsonpath={range .items[*]}${STATE_FIELDS}{end}`),
      { cluster },
    ),
  );
}

/** Whole objects that we own, by id, of the kinds of `objects`; `selector` narrows them further. */
export async function owned(
  cluster: Cluster,
  objects: Manifest[],
  selector = OWNED,
): Promise<Map<string, Manifest>> {
  const list = await kubectl(
    ["get", resources(objects), "--all-namespaces", "--selector", selector, "-o", "json"],
    { cluster },
  );
  return byId(JSON.parse(list).items);
}

/** Objects by their id. */
export function byId(items: Manifest[]): Map<string, Manifest> {
  return new Map(items.map((item) => [idOf(item), item]));
}

/** Ids of the objects that the cluster does not have, or has from somebody else. */
export async function absent(cluster: Cluster, objects: Manifest[]): Promise<string[]> {
  if (objects.length === 0) return [];
  const live = await states(cluster, objects);
  return objects.map(idOf).filter((id) => !live.has(id));
}

/** `deployment.v1.apps,service.v1.`: the kinds of the objects as kubectl takes them. */
function resources(objects: Manifest[]): string {
  const kinds = objects.map(({ apiVersion, kind }) => {
    const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    return `${kind.toLowerCase()}.${version}.${group}`;
  });
  return [...new Set(kinds)].sort().join(",");
}

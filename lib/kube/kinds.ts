// Names of kinds and objects, as kubectl takes and prints them.
import type { Manifest } from "../core/object.ts";

/** The kinds of the objects, each once, as kubectl takes them. */
export function kindsOf(objects: Manifest[]): string[] {
  return [...new Set(objects.map(resourceOf))].sort();
}

/** `deployment.apps/web`, `service/web`: an object as kubectl prints it. */
export function printedName({ apiVersion, kind, metadata: { name } }: Manifest): string {
  const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
  return `${kind.toLowerCase()}${group}/${name}`;
}

/** `deployment.v1.apps`, `service.v1.`: the kind of an object as kubectl takes it. */
export function resourceOf({ apiVersion, kind }: Pick<Manifest, "apiVersion" | "kind">): string {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  return `${kind.toLowerCase()}.${version}.${group}`;
}

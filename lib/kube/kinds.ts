// Names of kinds and objects, as kubectl takes and prints them.
import type { Cluster } from "../core/cluster.ts";
import type { Manifest } from "../core/object.ts";
import { kubectl } from "./kubectl.ts";
import { KubectlError } from "./kubectl_error.ts";

/**
 * Every kind that the cluster serves at this moment (by `flags`, some), in each version of its group, as
 * {@link resourceOf} names it.
 */
export async function servedKinds(cluster: Cluster, flags: string[] = []): Promise<Set<string>> {
  const [output, versions] = await Promise.all([
    kubectl(["api-resources", ...flags, "--no-headers"], { cluster }).catch(allButOne),
    kubectl(["api-versions"], { cluster }),
  ]);
  const served = Map.groupBy(versions.split("\n"), (line) => line.split("/").slice(0, -1).join());
  // NAME [SHORTNAMES] APIVERSION NAMESPACED KIND, in the version that is preferred
  const rows = output.split("\n").filter(Boolean).map((line) => line.trim().split(/\s+/));
  return new Set(rows.flatMap((row) => {
    const [apiVersion, , kind] = row.slice(-3) as [string, string, string];
    const group = apiVersion.split("/").slice(0, -1).join();
    return [apiVersion, ...group ? served.get(group) ?? [] : []]
      .map((apiVersion) => resourceOf({ apiVersion, kind }));
  }));
}

/** What kubectl has listed although a group that another server answers for is away. */
function allButOne(error: unknown): string {
  const isPart = error instanceof KubectlError && /complete list of server APIs/.test(error.stderr);
  if (isPart && error.stdout) return error.stdout;
  throw error;
}

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

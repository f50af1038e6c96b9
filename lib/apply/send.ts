// Objects handed to kubectl: one JSON List, server-side apply.
import type { Cluster } from "../core/cluster.ts";
import { asList, type Manifest, OWNER } from "../core/object.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError, retried } from "../kube/kubectl_error.ts";
import { type ById, byId } from "./live.ts";

// The API server refuses unknown fields and double keys of a server-side apply by itself; for the same check kubectl
// would first read the schema of everything (seconds, after new CRDs).
const APPLY = ["apply", "--server-side", `--field-manager=${OWNER}`, "--validate=false"];

/** Flags of an apply that only tells what would come of it. */
export const DRY_RUN = ["--dry-run=server"];

/** Applies a List, again while that fails for a reason that passes; gives the objects after it. */
export function sendList(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<ById> {
  return retried(() => sendOnce(cluster, objects, flags));
}

/** The same, and not again. */
export async function sendOnce(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<ById> {
  // kubectl's own words do not tell what changed.
  const asked = [...flags, "--show-managed-fields", "-o", "json"];
  const output = JSON.parse(await applied(cluster, objects, asked));
  // kubectl prints a List for several objects and the bare object for one.
  return byId(output.kind === "List" ? output.items : [output]);
}

function applied(cluster: Cluster, objects: Manifest[], flags: string[]): Promise<string> {
  // CRDs take the server long.
  const options = { cluster, input: asList(objects), seconds: 300 };
  return kubectl([...APPLY, ...flags, "-f", "-"], options);
}

/** Applies a List that is refused; gives what was, or may have been: kubectl names what it could apply. */
export async function rejectedOf(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<Manifest[]> {
  const output = await applied(cluster, objects, flags).catch((error) => {
    if (error instanceof KubectlError) return error.stdout;
    throw error;
  });
  // A dry run says so at the end of the line.
  const names = output.split("\n").map((line) => line.split(" serverside-applied")[0]);
  // kubectl names no namespace: of several objects of one name it is not known which was refused.
  return [...Map.groupBy(objects, printedName)].flatMap(([name, alike]) =>
    names.filter((one) => one === name).length < alike.length ? alike : []
  );
}

/** `deployment.apps/web`, `service/web`: an object as kubectl prints it. */
function printedName({ apiVersion, kind, metadata: { name } }: Manifest): string {
  const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
  return `${kind.toLowerCase()}${group}/${name}`;
}

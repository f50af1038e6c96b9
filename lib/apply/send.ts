// Objects handed to kubectl: one JSON List, server-side apply.
import type { Cluster } from "../core/cluster.ts";
import type { Inventory } from "./inventory.ts";
import { type ById, byId, listed } from "./live.ts";
import { reading } from "../kube/api.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import { asList, idOf, kindsOf, type Manifest, OWNER } from "../core/object.ts";
import { isTransient, retried } from "../kube/retry.ts";

/**
 * How kubectl is told to apply. The API server refuses unknown fields and double keys of a server-side apply
 * by itself; for the same check kubectl would first read the schema of everything (seconds, after new CRDs).
 */
const APPLY = ["apply", "--server-side", `--field-manager=${OWNER}`, "--validate=false"];

/** Flags of an apply that only tells what would come of it. */
export const DRY_RUN = ["--dry-run=server"];

/** Deadline of one List in seconds; CRDs take the server long. */
const LONG = 300;

/** Applies a List and gives the objects after it (kubectl's own words do not tell what changed). */
export async function sendList(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<ById> {
  const output = JSON.parse(
    await kubectl([...APPLY, ...flags, "--show-managed-fields", "-o", "json", "-f", "-"], {
      cluster,
      input: asList(objects),
      seconds: LONG,
    }),
  );
  // kubectl prints a List for several objects and the bare object for one.
  return byId(output.kind === "List" ? output.items : [output]);
}

/**
 * Applies a List, and after a failure that passes only what has not arrived: of a long one something is
 * always lost on a bad line. Gives the objects after it.
 */
export async function sendAll(
  inventory: Inventory,
  objects: Manifest[],
): Promise<ById> {
  const arrived = new Map<string, Manifest>();
  let left = objects;
  return await retried(async () => {
    for (;;) {
      try {
        return new Map([...arrived, ...await sendList(inventory.cluster, left)]);
      } catch (error) {
        if (!isTransient(error)) throw error;
        const before = left.length;
        left = await missing(inventory, left, arrived);
        if (left.length === 0) return arrived;
        // While some arrive there is no need for a pause, nor for an end.
        if (left.length === before) throw error;
      }
    }
  });
}

/** Which of the objects have not arrived; those that have, though nobody heard, are added there. */
async function missing(
  inventory: Inventory,
  objects: Manifest[],
  arrived: ById,
): Promise<Manifest[]> {
  const live = await reading(inventory.cluster, (api) => listed(api, kindsOf(objects)));
  for (const object of objects) {
    const now = live.get(idOf(object));
    if (inventory.judge(now, object).state === "current") arrived.set(idOf(object), now!);
  }
  return objects.filter((object) => !arrived.has(idOf(object)));
}

/**
 * Applies a List that is refused, and gives what the API server refuses of it, or may refuse: kubectl applies
 * what it can and names that, but not always what was refused.
 */
export async function rejectedOf(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<Manifest[]> {
  const output = await kubectl([...APPLY, ...flags, "-f", "-"], {
    cluster,
    input: asList(objects),
    seconds: LONG,
  })
    .catch((error) => {
      if (error instanceof KubectlError) return error.stdout;
      throw error;
    });
  // A dry run says so at the end of the line.
  const applied = Map.groupBy(output.split("\n"), (line) => line.split(" serverside-applied")[0]!);
  const alike = Map.groupBy(objects, printedName);
  // kubectl names no namespace: of several objects of one name it is not known which was refused.
  return objects.filter((object) => {
    const name = printedName(object);
    return (applied.get(name)?.length ?? 0) < alike.get(name)!.length;
  });
}

/** `deployment.apps/web`, `service/web`: an object as kubectl prints it. */
function printedName({ apiVersion, kind, metadata: { name } }: Manifest): string {
  const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
  return `${kind.toLowerCase()}${group}/${name}`;
}

// Objects handed to kubectl: one JSON List, server-side apply, tried again while the API server is away.
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { byId } from "./inventory.ts";
import { kubectl, KubectlError } from "./kubectl.ts";
import { asList, type Manifest, OWNER } from "./manifest.ts";

/** How kubectl is told to apply: our manager, strict fields, everything on stdin. */
export const APPLY = ["apply", "--server-side", `--field-manager=${OWNER}`, "--validate=strict"];

/** Deadline of one List in seconds; CRDs take the server long. */
const LONG = 300;

/** Applies a List and gives the objects after it (kubectl's own words do not tell what changed). */
export async function applyList(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<Map<string, Manifest>> {
  const output = JSON.parse(
    await kubectl([...APPLY, ...flags, "-o", "json", "-f", "-"], {
      cluster,
      input: asList(objects),
      seconds: LONG,
    }),
  );
  // kubectl prints a List for several objects and the bare object for one.
  return byId(output.kind === "List" ? output.items : [output]);
}

/** Runs the call again while its failure is transient, for two minutes at most. */
export async function retried<T>(
  call: () => Promise<T>,
  say: (text: string) => void = () => {},
): Promise<T> {
  const deadline = Date.now() + 120_000;
  for (let pause = 1000;; pause = Math.min(pause * 2, 15_000)) {
    try {
      return await call();
    } catch (error) {
      const again = error instanceof KubectlError && error.transient;
      if (!again || Date.now() + pause > deadline) throw error;
      say(`trying again in ${pause / 1000} s: ${error.stderr.split("\n")[0]}`);
      await sleep(pause);
    }
  }
}

/**
 * Applies a List that is refused, and gives what the API server refuses of it: kubectl applies what it
 * can and names that, in order, but not always what was refused.
 */
export async function refusedOf(
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
  const applied = output.split("\n");
  return objects.filter(({ apiVersion, kind, metadata }) => {
    const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
    const line = `${kind.toLowerCase()}${group}/${metadata.name} serverside-applied`;
    // A dry run says so at the end of the line.
    const position = applied.findIndex((text) => text === line || text.startsWith(`${line} (`));
    if (position >= 0) applied.splice(0, position + 1);
    return position < 0;
  });
}

// Objects as the cluster lists them at this moment, handed to it (one JSON List, server-side apply), and taken away.
import type { Cluster } from "../core/cluster.ts";
import { asList, defines, idOf, type Manifest, OWNED, OWNER, withValue } from "../core/object.ts";
import { until } from "../io/wait.ts";
import { reading } from "../kube/api.ts";
import type { Api } from "../kube/discovery.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError, retried } from "../kube/kubectl_error.ts";
import type { Condition } from "../kube/api.ts";

/** Hears of what is done. */
export type Tell = (text: string) => void;

/** Objects by their id. */
export type ById = Map<string, Manifest>;

/** What we own of these kinds as it is now: as {@link owned}, but of definitions (megabytes) name and labels alone. */
export async function listed(api: Api, kinds: string[]): Promise<ById> {
  const isDefinitions = (kind: string) => kind.startsWith("customresourcedefinition.");
  const [definitions, whole] = await Promise.all([
    api.list(kinds.filter(isDefinitions), OWNED, true),
    api.list(kinds.filter((kind) => !isDefinitions(kind)), OWNED),
  ]);
  const short = definitions.map((one) => withValue(one, ["metadata", "managedFields"], undefined));
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

export function byId(items: Manifest[]): ById {
  return new Map(items.map((item) => [idOf(item), item]));
}

// The API server refuses unknown fields and double keys of a server-side apply by itself; for the same check kubectl
// would first read the schema of everything (seconds, after new CRDs).
const APPLY = ["apply", "--server-side", `--field-manager=${OWNER}`, "--validate=false"];

export const DRY_RUN = ["--dry-run=server"];

/** Applies a List, again while that fails for a reason that passes; gives the objects after it. */
export function sendList(cluster: Cluster, objects: Manifest[], flags: string[] = []) {
  return retried(() => sendOnce(cluster, objects, flags));
}

/** The same, and not again. */
export async function sendOnce(cluster: Cluster, objects: Manifest[], flags: string[] = []) {
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
export async function rejectedOf(cluster: Cluster, objects: Manifest[], flags: string[] = []) {
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

/** `deployment.apps/web`, `service/web`. */
function printedName({ apiVersion, kind, metadata: { name } }: Manifest): string {
  const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
  return `${kind.toLowerCase()}${group}/${name}`;
}

/** Whether an object is gone when the first one is: what is in a namespace, or of a kind that it defines. */
export function goesWith(gone: Manifest, object: Manifest): boolean {
  return gone.kind === "Namespace"
    ? object.metadata.namespace === gone.metadata.name
    : defines(gone, object);
}

export async function deleted(cluster: Cluster, objects: Manifest[], say?: Tell): Promise<void> {
  if (objects.length === 0) return;
  const names = objects.map(({ apiVersion, kind, metadata: { name, namespace } }) => (
    { apiVersion, kind, metadata: { name, namespace } }
  ));
  const words = ["delete", "--ignore-not-found", "--wait=false", "--filename", "-"];
  await kubectl(words, { cluster, input: asList(names) });
  await awaitGone(cluster, objects, say);
}

/** Waits until live objects are gone, or others of their name; exit 7 after two minutes, with what holds them. */
export async function awaitGone(cluster: Cluster, objects: Manifest[], say?: Tell): Promise<void> {
  await until("objects to be gone", async () => {
    const live = await namedOf(cluster, objects);
    return objects.flatMap((object) => {
      const id = idOf(object), now = live.get(id);
      if (!now || now.metadata.uid !== object.metadata.uid) return [];
      return `${id}: is being deleted, held by ${holdersOf(now)}`;
    });
  }, { seconds: 120, every: 2, say });
}

function holdersOf({ metadata: { finalizers = [] }, status }: Manifest): string {
  const conditions: Condition[] = status?.conditions ?? [];
  const words = conditions.filter(({ type, status }) =>
    status === "True" && /Remaining|Terminating|Failure$/.test(type)
  ).map(({ message, reason }) => message || reason);
  return [...finalizers, ...words].join(", ") || "nothing known";
}

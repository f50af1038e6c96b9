// The kinds of everything that was ever deployed to a cluster, kept there: one cheap list call over them
// shows all that is ours, also of kinds that the manifests no longer have.
import type { Cluster } from "../core/cluster.ts";
import { kubectl } from "./kubectl.ts";
import { configMap, type Manifest, OWNER } from "../core/object.ts";

const NAMESPACE = "kube-system";
/** Name of the ConfigMap in kube-system that keeps them. */
export const KINDS = `${OWNER}-kinds`;

interface Kinds {
  names: Set<string>;
  /** false: nothing was kept there when this process began, so others may be there, too. */
  complete: boolean;
}

// What this process knows of each cluster.
const known = new WeakMap<Cluster, Promise<Kinds>>();

function kindsOn(cluster: Cluster): Promise<Kinds> {
  let kinds = known.get(cluster);
  if (!kinds) known.set(cluster, kinds = read(cluster));
  return kinds;
}

async function read(cluster: Cluster): Promise<Kinds> {
  const words = ["get", "configmap", KINDS, "--namespace", NAMESPACE, "--ignore-not-found"];
  const answer = await kubectl([...words, "--output", "json"], { cluster });
  return kindsIn(answer.trim() ? JSON.parse(answer) : undefined);
}

function kindsIn(kept?: Manifest): Kinds {
  return { names: new Set(kept?.data.kinds.split("\n")), complete: kept !== undefined };
}

/** What is kept on a cluster, as somebody has just read it there. */
export function noteKinds(cluster: Cluster, kept?: Manifest): void {
  known.set(cluster, Promise.resolve(kindsIn(kept)));
}

/** To be called for a cluster that was never deployed to: what is deployed from now on is all there is. */
export async function nothingBefore(cluster: Cluster): Promise<void> {
  (await kindsOn(cluster)).complete = true;
}

/** Every kind that was deployed; undefined for a cluster on which they have not been kept so far. */
export async function rememberedKinds(cluster: Cluster): Promise<string[] | undefined> {
  const { names, complete } = await kindsOn(cluster);
  return complete ? [...names] : undefined;
}

/**
 * The ConfigMap that keeps the kinds of these objects as well, to be applied before the first of them;
 * undefined when it has them all.
 */
export async function kindsToKeep(
  cluster: Cluster,
  objects: Manifest[],
): Promise<Manifest | undefined> {
  const { names } = await kindsOn(cluster);
  const more = kindsOf(objects).filter((kind) => !names.has(kind));
  if (more.length === 0) return undefined;
  for (const kind of more) names.add(kind);
  const labels = { "app.kubernetes.io/managed-by": OWNER };
  return configMap(KINDS, NAMESPACE, { kinds: [...names].sort().join("\n") }, { labels });
}

/** Every kind that the cluster serves at this moment, as {@link resourceOf} names it. */
export async function servedKinds(cluster: Cluster): Promise<Set<string>> {
  const output = await kubectl(["api-resources", "--no-headers"], { cluster });
  // NAME [SHORTNAMES] APIVERSION NAMESPACED KIND
  const rows = output.split("\n").filter(Boolean).map((line) => line.trim().split(/\s+/));
  return new Set(rows.map((row) => resourceOf({ apiVersion: row.at(-3)!, kind: row.at(-1)! })));
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

// What the cluster has of ours: the objects that carry our label, of the kinds in question.
import type { Cluster } from "../core/cluster.ts";
import { type Delta, HASH_LABEL, judge, withHash } from "./diff.ts";
import { kindsOf, rememberedKinds, resourceOf, servedKinds } from "../kube/kinds.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import { idOf, isDefinition, type Manifest, OWNED } from "../core/object.ts";

type ById = Map<string, Manifest>;

/** One look at all that is ours. */
interface Look {
  /** The kinds that were looked at: all that were ever deployed, as far as they are served. */
  kinds: Set<string>;
  objects: ById;
  /** Of them name and hash alone. */
  definitions: ById;
}

/** A look, under way or done, and when it was begun, as of `Date.now()`. */
interface Begun {
  at: number;
  look: Promise<Look | undefined>;
}

/** How long a look is good for, in ms: steps with nothing to do follow each other within seconds. */
const YOUNG = 20_000;

const looks = new WeakMap<Cluster, Begun>();
const sharing = new WeakSet<Cluster>();

/**
 * From now on {@link liveOf} looks at all kinds of a cluster at once, and again only after a while. The first
 * look begins here, beside whatever else there is to do.
 */
export function shareLooks(cluster: Cluster): void {
  sharing.add(cluster);
  // Its failure is for those who want it.
  lookAt(cluster).catch(() => {});
}

/** What was looked at counts no longer. */
export function lookAgain(cluster: Cluster): void {
  looks.delete(cluster);
}

/** The objects as they are now that they were applied. */
export async function noteApplied(cluster: Cluster, applied: Iterable<Manifest>): Promise<void> {
  const look = await looks.get(cluster)?.look;
  for (const object of applied) {
    look?.[isDefinition(object) ? "definitions" : "objects"].set(idOf(object), object);
  }
}

/**
 * What is ours of the kinds of these objects (or of more), by id. Definitions are megabytes, so of them
 * only name and hash are listed.
 */
export async function liveOf(cluster: Cluster, objects: Manifest[]): Promise<ById> {
  const look = sharing.has(cluster) ? await lookAt(cluster) : undefined;
  // What is of other kinds was never deployed, or is there since: see noteApplied().
  if (look) return new Map([...look.definitions, ...look.objects]);
  const rest = objects.filter((object) => !isDefinition(object));
  const [listed, whole] = await Promise.all([
    objects.some(isDefinition) ? definitionsOf(cluster) : undefined,
    rest.length > 0 ? owned(cluster, rest) : undefined,
  ]);
  return new Map([...listed ?? [], ...whole ?? []]);
}

/** A look that is young; undefined where the kinds are not known. */
async function lookAt(cluster: Cluster): Promise<Look | undefined> {
  const last = looks.get(cluster);
  if (last && sharing.has(cluster) && Date.now() - last.at < YOUNG) return await last.look;
  const look = newLook(cluster);
  looks.set(cluster, { at: Date.now(), look });
  // One that failed, or told nothing, is no look that others could share.
  const seen = await look.catch(() => undefined);
  if (!seen) looks.delete(cluster);
  return await look;
}

async function newLook(cluster: Cluster): Promise<Look | undefined> {
  const names = await rememberedKinds(cluster);
  if (!names) return undefined;
  const isDefinitions = (name: string) => name.startsWith("customresourcedefinition.");
  const rest = names.filter((name) => !isDefinitions(name));
  const [[kinds, objects], definitions] = await Promise.all([
    servedOf(cluster, rest),
    names.some(isDefinitions) ? definitionsOf(cluster) : new Map(),
  ]);
  return { kinds: new Set([...kinds, ...names.filter(isDefinitions)]), objects, definitions };
}

/** What is ours of these kinds, and which of them are served: of the others there is nothing. */
async function servedOf(
  cluster: Cluster,
  kinds: string[],
): Promise<[kinds: string[], objects: ById]> {
  try {
    return [kinds, await listOwned(cluster, kinds, OWNED)];
  } catch (error) {
    if (!isUnserved(error)) throw error;
    const served = await servedKinds(cluster);
    const rest = kinds.filter((kind) => served.has(kind));
    return [rest, await listOwned(cluster, rest, OWNED)];
  }
}

/** Those of the objects whose kinds the cluster serves: what a look has seen is, for the rest it is asked. */
export async function servedAmong(cluster: Cluster, objects: Manifest[]): Promise<Manifest[]> {
  if (objects.length === 0) return [];
  const kinds = sharing.has(cluster) ? (await lookAt(cluster))?.kinds : undefined;
  if (objects.every((object) => kinds?.has(resourceOf(object)))) return objects;
  const served = await servedKinds(cluster);
  return objects.filter((object) => served.has(resourceOf(object)));
}

/** All that is ours but definitions; undefined where {@link lookAt} cannot tell. */
export async function allOurs(cluster: Cluster): Promise<Manifest[] | undefined> {
  const objects = (await lookAt(cluster))?.objects;
  return objects && [...objects.values()];
}

/** Whether a call failed because the cluster does not serve a kind, any longer: kubectl remembers for hours. */
export function isUnserved(error: unknown): boolean {
  const words = /doesn't have a resource type|could not find the requested resource/;
  return error instanceof KubectlError && words.test(error.stderr);
}

async function definitionsOf(cluster: Cluster): Promise<ById> {
  // The server makes this table of names and labels: a tenth of the time of the whole objects.
  const words = ["get", "customresourcedefinitions", "--selector", OWNED];
  const rows = await kubectl([...words, "--label-columns", HASH_LABEL, "--no-headers"], {
    cluster,
  });
  // NAME CREATED [HASH]
  return byId(
    rows.split("\n").filter(Boolean).map((row): Manifest => {
      const [name, , hash] = row.trim().split(/\s+/);
      return {
        apiVersion: "apiextensions.k8s.io/v1",
        kind: "CustomResourceDefinition",
        metadata: { name: name!, labels: hash ? { [HASH_LABEL]: hash } : {} },
      };
    }),
  );
}

/** Whole objects that we own, by id, of the kinds of `objects`, as they are at this moment. */
export async function owned(cluster: Cluster, objects: Manifest[]): Promise<ById> {
  return await listOwned(cluster, kindsOf(objects), OWNED);
}

/** Whole objects of these kinds that the selector finds, with the managers of their fields, by id. */
export async function listOwned(
  cluster: Cluster,
  kinds: string[],
  selector: string,
): Promise<ById> {
  if (kinds.length === 0) return new Map();
  const words = ["get", kinds.join(","), "--all-namespaces", "--selector", selector];
  const flags = ["--show-managed-fields", "--output", "json"];
  return byId(JSON.parse(await kubectl([...words, ...flags], { cluster })).items);
}

/** Objects by their id. */
export function byId(items: Manifest[]): ById {
  return new Map(items.map((item) => [idOf(item), item]));
}

/** What is to be said of each of these objects, by id. */
export async function deltasOf(
  cluster: Cluster,
  objects: Manifest[],
): Promise<Map<string, Delta>> {
  if (objects.length === 0) return new Map();
  const live = await liveOf(cluster, objects);
  return new Map(objects.map((one) => [idOf(one), judge(live.get(idOf(one)), withHash(one))]));
}

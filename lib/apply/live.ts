// Objects as the cluster lists them at this moment.
import type { Cluster } from "../core/cluster.ts";
import { asList, idOf, type Manifest, OWNED, OWNED_LABELS, STEP_LABEL } from "../core/object.ts";
import { kindsOf, printedName, servedKinds } from "../kube/kinds.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import { HASH_LABEL } from "./diff.ts";

/** Objects by their id. */
export type ById = Map<string, Manifest>;

/** Whether a call failed because the cluster does not serve a kind, any longer: kubectl remembers for hours. */
export function isUnserved(error: unknown): boolean {
  const words = /doesn't have a resource type|could not find the requested resource/;
  return error instanceof KubectlError && words.test(error.stderr);
}

// Made by controllers only, or many.
const SKIPPED =
  /^(endpoints|endpointslices?|events?|pods?|replicasets?|controllerrevisions?|leases?)\./;

/** Every kind that the cluster can list and delete: what is ours may be of any where nothing is kept. */
export async function everyKind(cluster: Cluster): Promise<string[]> {
  return [...await servedKinds(cluster, ["--verbs=list,delete"])].filter((kind) =>
    !SKIPPED.test(kind)
  );
}

/** What we own of these kinds as it is now, by id: as {@link owned}, but of definitions names and labels alone. */
export async function listed(cluster: Cluster, kinds: string[]): Promise<ById> {
  const isDefinitions = (kind: string) => kind.startsWith("customresourcedefinition.");
  const [definitions, whole] = await Promise.all([
    kinds.some(isDefinitions) ? definitionsOf(cluster) : [],
    owned(cluster, kinds.filter((kind) => !isDefinitions(kind))),
  ]);
  return new Map([...definitions, ...whole]);
}

/** Whole they are megabytes. */
async function definitionsOf(cluster: Cluster): Promise<ById> {
  // The server makes this table of names and labels: a tenth of the time of the whole objects.
  const words = ["get", "customresourcedefinitions", "--selector", OWNED];
  const columns = ["--label-columns", `${HASH_LABEL},${STEP_LABEL}`];
  const rows = await kubectl([...words, ...columns, "--no-headers"], { cluster });
  // NAME CREATED [HASH] [STEP]
  return byId(
    rows.split("\n").filter(Boolean).map((row): Manifest => {
      const [name, , hash, step] = row.trim().split(/\s+/);
      const more = { ...hash && { [HASH_LABEL]: hash }, ...step && { [STEP_LABEL]: step } };
      return {
        apiVersion: "apiextensions.k8s.io/v1",
        kind: "CustomResourceDefinition",
        metadata: { name: name!, labels: { ...OWNED_LABELS, ...more } },
      };
    }),
  );
}

/** Whole objects of these kinds that have our label, with the managers of their fields, as they are now, by id. */
export async function owned(cluster: Cluster, kinds: string[], seconds?: number): Promise<ById> {
  if (kinds.length === 0) return new Map();
  const words = ["get", kinds.join(","), "--all-namespaces", "--selector", OWNED];
  const flags = ["--show-managed-fields", "--output", "json"];
  return byId(JSON.parse(await kubectl([...words, ...flags], { cluster, seconds })).items);
}

/** Those of the objects that are there, whoever made them, as they are now, by id. */
export async function namedOf(cluster: Cluster, objects: Manifest[]): Promise<ById> {
  if (objects.length === 0) return new Map();
  const input = namesOf(objects);
  const flags = ["--ignore-not-found", "--show-managed-fields", "--output", "json"];
  const answer = await kubectl(["get", "--filename", "-", ...flags], { cluster, input });
  if (!answer.trim()) return new Map();
  const whole = JSON.parse(answer);
  return byId(whole.kind === "List" ? whole.items : [whole]);
}

/** As {@link namedOf}, of many of which few are there; their kinds must be served. */
export async function thereAmong(cluster: Cluster, objects: Manifest[]): Promise<ById> {
  if (objects.length === 0) return new Map();
  // The server makes this table of names: a fraction of the time of whole objects, and kubectl asks for objects one
  // by one. With a selector the first list of a kind that was defined a moment ago takes a second: the server has
  // no cache of it yet.
  const words = ["get", kindsOf(objects).join(","), "--all-namespaces", "--show-kind"];
  const rows = await kubectl([...words, "--no-headers"], { cluster });
  const there = new Set(rows.split("\n").map(nameOf));
  return await namedOf(cluster, objects.filter((object) => there.has(nameIn(object))));
}

/** `[namespace] kind.group/name` of a row. */
function nameOf(row: string): string {
  const [first = "", second = ""] = row.trim().split(/\s+/);
  return first.includes("/") ? first : `${first} ${second}`;
}

function nameIn(object: Manifest): string {
  return [object.metadata.namespace, printedName(object)].filter(Boolean).join(" ");
}

/** A List of what the objects are called, for calls that need no more. */
export function namesOf(objects: Manifest[]): string {
  return asList(objects.map(({ apiVersion, kind, metadata: { name, namespace } }) => (
    { apiVersion, kind, metadata: { name, namespace } }
  )));
}

/** Objects by their id. */
export function byId(items: Manifest[]): ById {
  return new Map(items.map((item) => [idOf(item), item]));
}

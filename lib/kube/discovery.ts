// Which kinds an API server has at this moment, and its objects of them.
import { unreachableError } from "../core/error.ts";
import { idOf, type Manifest, resourceOf } from "../core/object.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { KubectlError } from "./kubectl_error.ts";

/** Requests at once to one server, and objects of one kind asked for by name: of more a list tells which are there. */
const AT_ONCE = 16, FEW = 4;

const UNTOLD =
  "the server is currently unable to handle the request: it does not tell yet that it has this kind";

// What is asked for: objects; their metadata alone; the kinds of a server.
export const WHOLE = "application/json";
const SHORT = `${WHOLE};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
export const KINDS = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/** A kind that the server has; `root` begins its paths. */
export interface Served extends Pick<Manifest, "apiVersion" | "kind"> {
  root: string;
  plural: string;
  verbs: string[];
  isFirst: boolean; // no version of it comes before this one
}

/** Gets what is at a path; `what` names it where that fails. */
// deno-lint-ignore no-explicit-any
export type Get = (path: string, what: string, accept?: string) => Promise<any>;

/** All that a server has is told in two answers, in the order in which it prefers versions. */
async function discover(get: Get): Promise<Map<string, Served>> {
  const answers = await Promise.all(["/api", "/apis"].map((path) => get(path, "kinds", KINDS)));
  const found = new Map<string, Served>();
  // Else all would look as if it were missing.
  if (!answers.every((answer) => answer?.items)) {
    throw unreachableError("Cannot tell which kinds the API server has", {
      where: "/api or /apis gives no list of them",
      fix: "look what answers there: Kubernetes before 1.30, or a proxy in between",
    });
  }
  for (const { metadata: { name: group }, versions } of answers.flatMap(({ items }) => items)) {
    const seen = new Set<string>();
    for (const { version, freshness, resources = [] } of versions) {
      // What another server answers for that is away, as it was when that was there: a list of it would fail.
      if (freshness === "Stale") continue;
      const apiVersion = group ? `${group}/${version}` : version;
      const root = group ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
      for (const { resource: plural, responseKind, verbs = [] } of resources) {
        const { kind } = responseKind ?? {};
        if (!kind) continue;
        const name = resourceOf({ apiVersion, kind }), before = found.get(name);
        // Of one kind may be what is stored, and what is only made or computed (OpenShift's Templates).
        if (before?.verbs.includes("list")) continue;
        const isFirst = before?.isFirst ?? !seen.has(kind);
        found.set(name, { root, plural, apiVersion, kind, verbs, isFirst });
        seen.add(kind);
      }
    }
  }
  return found;
}

/** The API server of one cluster, as long as a reading of it lasts. */
export type Api = ReturnType<typeof apiOf>;

/** Which objects of a resource: those of a namespace, those that these selectors choose. */
export interface Chosen {
  namespace?: string;
  labels?: string;
  fields?: string;
}

/** Asks by `get`; `fail` makes the error of what is refused. */
export function apiOf(get: Get, fail: (what: string, words: string) => KubectlError) {
  let known: Promise<Map<string, Served>> | undefined;
  // Of a resource that has just gone nothing.
  const listAt = async (one: Served, what: string, query: string, accept = WHOLE, place = "") => {
    const { root, plural, apiVersion, kind } = one;
    const list = await get(`${root}/${place}${plural}${query}`, what, accept);
    const items: Manifest[] | undefined = list && (list.items ?? []);
    // In a list objects do not say what they are.
    return items?.map((item): Manifest => ({ ...item, apiVersion, kind }));
  };
  const api = {
    /** Every kind that is served at this moment, in each of its versions, by {@link resourceOf}. */
    served: (): Promise<Map<string, Served>> => known ??= discover(get),
    /** Those that are surely not served: just started, a server tells of no kind that came with a definition. */
    async absent(kinds: string[]): Promise<string[]> {
      const served = await api.served();
      const missing = kinds.filter((kind) => !served.has(kind));
      await sideBySide(missing, AT_ONCE, async (resource) => {
        const [kind, version, ...group] = resource.split(".");
        const root = group.join(".") ? `/apis/${group.join(".")}` : "/api";
        // Until the server has all definitions together this fails, and is asked again.
        const { resources = [] } = await get(`${root}/${version}`, resource) ?? {};
        const isThere = resources.some((one: Manifest) => one.kind.toLowerCase() === kind);
        if (isThere) throw fail(resource, UNTOLD);
      });
      return missing;
    },
    /** Objects that the `selector` of labels chooses; of kinds not served none; `isShort`: their metadata alone. */
    async list(kinds: string[], selector: string, isShort = false): Promise<Manifest[]> {
      const served = await api.served();
      const query = selector && `?labelSelector=${encodeURIComponent(selector)}`;
      const refused = new Map<string, string>();
      const lists = await sideBySide(kinds, AT_ONCE, async (resource) => {
        const one = served.get(resource);
        return one && await listAt(one, resource, query, isShort ? SHORT : WHOLE).catch((error) => {
          // Of rights all that are missing are told, as kubectl does.
          if (!(error instanceof KubectlError) || error.transient) throw error;
          refused.set(resource, error.stderr);
        });
      });
      const names = [...refused.keys()].sort();
      if (names.length === 0) return lists.flatMap((list) => list ?? []);
      throw fail(names.join(), names.map((name) => refused.get(name)).join("\n"));
    },
    /** Those of the objects that are there; none of a kind that is not served. */
    async named(objects: Manifest[]): Promise<Manifest[]> {
      const served = await api.served();
      const kinds = Map.groupBy(objects.filter((one) => served.has(resourceOf(one))), resourceOf);
      const asked = await sideBySide([...kinds], AT_ONCE, async ([kind, some]) => {
        if (some.length <= FEW) return some;
        const there = new Set((await api.list([kind], "", true)).map(idOf));
        return some.filter((one) => there.has(idOf(one)));
      });
      const found = await sideBySide(asked.flat(), AT_ONCE, async (object) => {
        const resource = resourceOf(object), { name, namespace } = object.metadata;
        const { root, plural } = served.get(resource)!;
        const place = namespace ? `namespaces/${namespace}/${plural}` : plural;
        return await get(`${root}/${place}/${encodeURIComponent(name)}`, resource);
      });
      return found.filter((one) => one !== undefined);
    },
    /** Objects of resources as kubectl takes them (`jobs.batch,pods`), in a namespace or all; refused if unserved. */
    async get(resources: string, chosen: Chosen = {}): Promise<Manifest[]> {
      const { namespace, labels, fields } = chosen;
      const served = [...(await api.served()).values()];
      const place = namespace ? `namespaces/${namespace}/` : "";
      const query = new URLSearchParams({
        ...labels && { labelSelector: labels },
        ...fields && { fieldSelector: fields },
      });
      const lists = await sideBySide(resources.split(","), AT_ONCE, async (word) => {
        // As kubectl takes it: `pods`, `statefulsets.apps`, `jobs`.
        const one = served.find(({ isFirst, plural, apiVersion }) =>
          isFirst && [plural, `${plural}.${apiVersion.split("/")[0]}`].includes(word)
        );
        if (!one) {
          const none = `error: the server doesn't have a resource type "${word}"`;
          throw fail(word, await isUntold(get, word) ? UNTOLD : none);
        }
        const found = await listAt(one, word, `?${query}`, WHOLE, place);
        if (found) return found;
        throw fail(word, "Error from server (NotFound): the server could not find this resource");
      });
      return lists.flat();
    },
  };
  return api;
}

/** Whether the server has a resource of a group that it does not tell of; until it has all together this fails. */
async function isUntold(get: Get, word: string): Promise<boolean> {
  const [plural, ...group] = word.split(".");
  if (group.length === 0) return false;
  const { preferredVersion: first } = await get(`/apis/${group.join(".")}`, word) ?? {};
  const { resources = [] } = first ? await get(`/apis/${first.groupVersion}`, word) ?? {} : {};
  return resources.some(({ name }: { name: string }) => name === plural);
}

// What the API server itself answers. To get objects of many kinds kubectl reads, for each of these kinds anew, all
// that the server has; and it goes by what it remembers of that for hours.
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../core/cluster.ts";
import { DeployError, messageOf } from "../core/error.ts";
import { idOf, type Manifest, resourceOf } from "../core/object.ts";
import { hold, refuseInterrupted } from "../io/interrupt.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { discover, type Get, keepTold, KINDS, lastTold, type Served } from "./discovery.ts";
import { clean, isTransient, KubectlError, retried, verdict, wordsOf } from "./kubectl_error.ts";
import { isWayKept, takeWay } from "./proxy.ts";
import { fenceOf, turnOn } from "./turns.ts";

/** Requests at once to one server. */
const AT_ONCE = 16;

/** Seconds for one try of a request. */
const LONGEST_TRY = 45;

/** So often at most a request is made in one try where the server names a time for the next, and seconds till then. */
const MOST = 10, LONGEST_WAIT = 10;

/** So many objects of one kind are asked for by name; of more a list tells which are there. */
const FEW = 4;

const UNTOLD =
  "the server is currently unable to handle the request: it does not tell yet that it has this kind";

// What is asked for: objects; their metadata alone.
const WHOLE = "application/json";
const SHORT = `${WHOLE};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;

/** The API server of one cluster, as long as {@link reading} lasts. */
export interface Api {
  /** Every kind that is served at this moment, in each of its versions, by {@link resourceOf}. */
  served(): Promise<Map<string, Served>>;
  /**
   * Those of the kinds that are not served, which is made sure of: for a moment after its start a server tells of no
   * kind that came with a definition.
   */
  absent(kinds: string[]): Promise<string[]>;
  /**
   * The objects of these kinds in all namespaces that the `selector` of labels chooses, with the managers of their
   * fields; none of a kind that is not served. `isShort`: their metadata alone.
   */
  list(kinds: string[], selector: string, isShort?: boolean): Promise<Manifest[]>;
  /** Those of the objects that are there, with the managers of their fields; none of a kind that is not served. */
  named(objects: Manifest[]): Promise<Manifest[]>;
  /** Objects of resources as kubectl takes them (`jobs.batch,pods`), in a namespace or in all; these must be served. */
  get(resources: string, chosen?: Chosen): Promise<Manifest[]>;
}

/** Which objects of a resource: those of a namespace, those that these selectors choose. */
export interface Chosen {
  namespace?: string;
  labels?: string;
  fields?: string;
}

let other: ((cluster: Cluster) => Api) | undefined;

/** Reads from this in place of servers (tests give a fake one). */
export function useApi(fake: (cluster: Cluster) => Api): void {
  other = fake;
}

/**
 * Reads from a cluster's API server. While that is away, `read` is made again, for `seconds` in all; what has been
 * answered by then is not asked again.
 * @throws {KubectlError} in the words that kubectl has for the same.
 */
export async function reading<T>(
  cluster: Cluster,
  read: (api: Api) => Promise<T>,
  seconds = 120,
): Promise<T> {
  if (other) return await read(other(cluster));
  const answers = new Map<string, unknown>();
  return await retried(async (left) => {
    using _slot = await turnOn(cluster, isWayKept(cluster) ? "reading" : "call");
    refuseInterrupted(cluster.id);
    await fenceOf(cluster)?.begin();
    const cut = new AbortController();
    using _ = hold(() => cut.abort());
    const fail = (what: string, words: string) => {
      const stderr = clean(words), message = `Cannot get ${what} on ${cluster.id}`;
      return new KubectlError(message, stderr, verdict(stderr, cluster));
    };
    // Of a machine that has slept nothing may be left.
    const longest = Math.max(0, Math.min(left, LONGEST_TRY));
    const time = AbortSignal.timeout(longest * 1000);
    const signal = AbortSignal.any([time, cut.signal]);
    const failed = (what: string, error: unknown, short = "") => {
      if (error instanceof DeployError) return error;
      refuseInterrupted(cluster.id);
      const why = time.aborted ? `no answer within ${+longest.toFixed(1)} s: ` : short;
      return fail(what, `${why}${messageOf(error)}`);
    };
    // Anew for each try: the last one may have ended, and the kubeconfig is another when a server has moved.
    await using way = await takeWay(cluster, signal).catch((error) => {
      throw failed("objects", error);
    });
    const get: Get = async (path, what, accept = WHOLE) => {
      const asked = `${accept} ${path}`;
      if (answers.has(asked)) return answers.get(asked);
      const place = `${cluster.id} ${path}`;
      const before = accept === KINDS ? lastTold(place) : undefined;
      const headers = { accept, ...before && { "if-none-match": before.tag } };
      try {
        const response = await patient(signal, () => {
          refuseInterrupted(cluster.id);
          return way.fetch(path, { signal, headers });
        });
        if (before && response.status === 304) return before.answer;
        const body = await response.text();
        if (!response.ok && response.status !== 404) {
          const error = fail(what, wordsOf(response.status, body));
          // Of kept credentials the time may be over: a new way has those of this moment.
          throw response.status === 401 && !way.isNew ? passing(error) : error;
        }
        const answer = response.ok ? JSON.parse(body) : undefined;
        const tag = response.headers.get("etag");
        // What the server has may be more the next time: it may have started a moment ago.
        if (accept !== KINDS) answers.set(asked, answer);
        else if (answer && tag) keepTold(place, { tag, answer });
        return answer;
      } catch (error) {
        // Of a body that is cut off the first part is there, and no JSON.
        throw failed(what, error, "unexpected EOF: ");
      }
    };
    try {
      return await read(apiOf(get, fail));
    } catch (error) {
      if (isTransient(error)) way.drop();
      throw error;
    } finally {
      // What was asked beside what has failed.
      cut.abort();
    }
  }, seconds);
}

/** The same failure, as one that is worth another try. */
function passing({ message, stderr, exitCode, fix }: KubectlError): KubectlError {
  return new KubectlError(message, stderr, { exitCode, fix, transient: true });
}

/** As kubectl does: a server that names a time, as for the first list of a new kind, is asked again without a word. */
async function patient(signal: AbortSignal, ask: () => Promise<Response>): Promise<Response> {
  for (let tries = 1;; tries++) {
    const response = await ask(), wait = Number(response.headers.get("retry-after"));
    if (response.ok || tries === MOST || !(wait > 0 && wait <= LONGEST_WAIT)) return response;
    await response.body?.cancel();
    await sleep(wait * 1000, undefined, { signal });
  }
}

function apiOf(get: Get, fail: (what: string, words: string) => KubectlError): Api {
  let known: Promise<Map<string, Served>> | undefined;
  /** Of a resource that has just gone nothing. */
  const listAt = async (
    one: Served,
    query: string,
    what: string,
    accept = WHOLE,
    place = "",
  ): Promise<Manifest[] | undefined> => {
    const { root, plural, apiVersion, kind } = one;
    const list = await get(`${root}/${place}${plural}${query}`, what, accept);
    // In a list objects do not say what they are.
    return list &&
      (list.items ?? []).map((one: Manifest): Manifest => ({ ...one, apiVersion, kind }));
  };
  const api: Api = {
    served: () => known ??= discover(get),
    async absent(kinds) {
      const served = await api.served();
      const missing = kinds.filter((kind) => !served.has(kind));
      await sideBySide(missing, AT_ONCE, async (resource) => {
        const [kind, version, ...group] = resource.split(".");
        const root = group.join(".") ? `/apis/${group.join(".")}` : "/api";
        // Until the server has all definitions together this fails, and is asked again.
        const { resources = [] } = await get(`${root}/${version}`, resource) ?? {};
        if (!resources.some((one: Pick<Manifest, "kind">) => one.kind.toLowerCase() === kind)) {
          return;
        }
        throw fail(resource, UNTOLD);
      });
      return missing;
    },
    async list(kinds, selector, isShort = false) {
      const served = await api.served();
      const query = selector && `?labelSelector=${encodeURIComponent(selector)}`;
      const refused: [kind: string, words: string][] = [];
      const lists = await sideBySide(kinds, AT_ONCE, async (resource) => {
        const one = served.get(resource);
        if (!one) return [];
        const found = await listAt(one, query, resource, isShort ? SHORT : WHOLE).catch((error) => {
          // Of rights all that are missing are told, as kubectl does.
          if (!(error instanceof KubectlError) || error.transient) throw error;
          refused.push([resource, error.stderr]);
        });
        return found ?? [];
      });
      if (refused.length > 0) {
        refused.sort();
        throw fail(
          refused.map(([kind]) => kind).join(),
          refused.map(([, words]) => words).join("\n"),
        );
      }
      return lists.flat();
    },
    async named(objects) {
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
        return await get(`${root}/${place}/${encodeURIComponent(name)}`, resource) as
          | Manifest
          | undefined;
      });
      return found.filter((one) => one !== undefined);
    },
    async get(resources, { namespace, labels, fields } = {}) {
      const served = [...(await api.served()).values()];
      const place = namespace ? `namespaces/${namespace}/` : "";
      const query = new URLSearchParams({
        ...labels && { labelSelector: labels },
        ...fields && { fieldSelector: fields },
      });
      const lists = await sideBySide(resources.split(","), AT_ONCE, async (word) => {
        const one = served.find((one) => one.isFirst && isNamed(one, word));
        if (!one) {
          const none = `error: the server doesn't have a resource type "${word}"`;
          throw fail(word, await isUntold(get, word) ? UNTOLD : none);
        }
        const found = await listAt(one, `?${query}`, word, WHOLE, place);
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

/** Whether a resource has this name, as kubectl takes it: `pods`, `statefulsets.apps`, `jobs`. */
function isNamed({ plural, apiVersion }: Served, word: string): boolean {
  return word === plural || word === `${plural}.${apiVersion.split("/")[0]}`;
}

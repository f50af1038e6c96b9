// What the API server itself answers. To get objects of many kinds kubectl reads, for each of these kinds anew, all
// that the server has; and it goes by what it remembers of that for hours.
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../core/cluster.ts";
import { DeployError, messageOf } from "../core/error.ts";
import type { Manifest } from "../core/object.ts";
import { hold, refuseInterrupted } from "../io/interrupt.ts";
import { type Api, apiOf, type Chosen, type Get, KINDS, WHOLE } from "./discovery.ts";
import { isTransient, KubectlError, retried, wordsOf } from "./kubectl_error.ts";
import { isWayKept, takeWay } from "./proxy.ts";
import { CLUSTERS_AT_ONCE, fences, turnOn } from "./turns.ts";

/** So often at most a request is made in one try where the server names a time for the next, and seconds till then. */
const MOST = 10, LONGEST_WAIT = 10;

/** What servers told last of their kinds, by cluster and path: told anew only when its tag is another. */
const told = new Map<string, { tag: string; answer: unknown }>();

let other: ((cluster: Cluster) => Api) | undefined;

/** Reads from this in place of servers. */
export function useApi(fake: (cluster: Cluster) => Api): void {
  other = fake;
}

/** Reads from an API server, again for `seconds` while it is away. @throws {KubectlError} in kubectl's words. */
export async function reading<T>(cluster: Cluster, read: (api: Api) => Promise<T>, seconds = 120) {
  if (other) return await read(other(cluster));
  const answers = new Map<string, unknown>();
  return await retried(async (longest) => {
    using _slot = await turnOn(cluster, isWayKept(cluster) ? "reading" : "call");
    refuseInterrupted(cluster.id);
    await fences.get(cluster.id)?.begin();
    const cut = new AbortController();
    using _ = hold(() => cut.abort());
    const fail = (what: string, words: string, passes = false) =>
      new KubectlError(`get ${what}`, words, cluster, "", passes);
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
      const before = accept === KINDS ? told.get(place) : undefined;
      const headers = { accept, ...before && { "if-none-match": before.tag } };
      try {
        const response = await patient(signal, () => {
          refuseInterrupted(cluster.id);
          return way.fetch(path, { signal, headers });
        });
        if (before && response.status === 304) return before.answer;
        const body = await response.text();
        if (!response.ok && response.status !== 404) {
          // Of kept credentials the time may be over: a new way has those of this moment.
          const isPassing = response.status === 401 && !way.isNew;
          throw fail(what, wordsOf(response.status, body), isPassing);
        }
        const answer = response.ok ? JSON.parse(body) : undefined;
        const tag = response.headers.get("etag");
        // What the server has may be more the next time: it may have started a moment ago.
        if (accept !== KINDS) answers.set(asked, answer);
        else if (answer && tag) told.set(place, { tag, answer });
        // Of the clusters in work, and not of a thousand.
        if (told.size > 4 * CLUSTERS_AT_ONCE) told.delete(told.keys().next().value!);
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

/** As kubectl does: a server that names a time, as for the first list of a new kind, is asked again without a word. */
async function patient(signal: AbortSignal, ask: () => Promise<Response>): Promise<Response> {
  for (let tries = 1;; tries++) {
    const response = await ask(), wait = Number(response.headers.get("retry-after"));
    if (response.ok || tries === MOST || !(wait > 0 && wait <= LONGEST_WAIT)) return response;
    await response.body?.cancel();
    await sleep(wait * 1000, undefined, { signal });
  }
}

/** The objects of these kinds (`deployments.apps,pods`) in a namespace, all or with these `labels`. */
export function liveObjects(cluster: Cluster, kinds: string, namespace: string, labels?: string) {
  return reading(cluster, (api) => api.get(kinds, { namespace, labels }));
}

/** The objects of a kind in all namespaces, within 20 s. */
export function objectsEverywhere(cluster: Cluster, kind: string, chosen?: Chosen) {
  return reading(cluster, (api) => api.get(kind, chosen), 20);
}

/** One of `status.conditions`. */
export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  observedGeneration?: number;
}

/** The condition of that type, or undefined while nobody has set it. */
export function conditionOf({ status }: Manifest, type: string): Condition | undefined {
  return status?.conditions?.find((condition: Condition) => condition.type === type);
}

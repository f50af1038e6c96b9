// When a kubectl may begin, and when it is to end before it is done.

/** Clusters in work at once: what is known of one takes some 10 MB. */
export const CLUSTERS_AT_ONCE = 8;
/** Most kubectl (of 50 MB) at once, beside the way that each cluster in work keeps; of one two keep its server busy. */
const AT_ONCE = 16 - CLUSTERS_AT_ONCE, AT_ONCE_OF_ONE = 2;

/** Longest wait for a turn of a call that is first in line, in ms: those before it may all hang. */
const PATIENCE = 1000;

/** A kubectl; one that passes all that wait, also those of its cluster; what goes by a way that is kept. */
type Turn = "call" | "first" | "reading";

interface Waiting {
  id: string;
  as: Turn;
  shares: number; // of those at once
  go: () => void;
}

let atWork = 0;
const atWorkOn = new Map<string, number>();
const waiting: Waiting[] = [];

/**
 * Waits for a turn on a cluster (or what else has an id), which ends when disposed. The `first` waits for a second at
 * most, and a `reading`, which starts no kubectl, for those of its cluster alone: of the others many may hang.
 */
export async function turnOn({ id }: { id: string }, as: Turn = "call"): Promise<Disposable> {
  const { promise, resolve: go } = Promise.withResolvers<void>();
  const one = { id, as, shares: as === "reading" ? 0 : 1, go };
  waiting.splice(as === "first" ? 0 : waiting.length, 0, one);
  const timer = as === "first" ? setTimeout(begin, PATIENCE, one) : undefined;
  letIn();
  await promise;
  clearTimeout(timer);
  return {
    [Symbol.dispose]() {
      atWork -= one.shares;
      atWorkOn.set(id, atWorkOn.get(id)! - 1);
      letIn();
    },
  };
}

function letIn(): void {
  for (let next; (next = waiting.find(mayBegin));) begin(next);
}

function mayBegin({ id, as }: Waiting): boolean {
  return (as === "reading" || atWork < AT_ONCE) &&
    (as === "first" || (atWorkOn.get(id) ?? 0) < AT_ONCE_OF_ONE);
}

function begin(one: Waiting): void {
  waiting.splice(waiting.indexOf(one), 1);
  atWork += one.shares;
  atWorkOn.set(one.id, (atWorkOn.get(one.id) ?? 0) + 1);
  one.go();
}

/** By cluster id, of each that we have locked: when a call may begin there, and why those under way end, if they do. */
export const fences = new Map<string, { begin(): Promise<void>; over(): string | undefined }>();

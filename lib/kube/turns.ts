// When a kubectl may begin, and when it is to end before it is done.
import type { Cluster } from "../core/cluster.ts";

/** Most kubectl at once of all clusters: each takes some 50 MB. */
export const AT_ONCE = 16;
/** And of one: two keep a server busy. */
const AT_ONCE_OF_ONE = 2;

let atWork = 0;
const atWorkOn = new Map<string, number>();
const waiting: { id: string; go: () => void }[] = [];

/** Waits for a turn, which ends when the result is disposed. */
export async function turnOn({ id }: Cluster): Promise<Disposable> {
  await new Promise<void>((go) => {
    waiting.push({ id, go });
    letIn();
  });
  return {
    [Symbol.dispose]() {
      atWork -= 1;
      atWorkOn.set(id, atWorkOn.get(id)! - 1);
      letIn();
    },
  };
}

function letIn(): void {
  while (atWork < AT_ONCE) {
    const next = waiting.findIndex(({ id }) => (atWorkOn.get(id) ?? 0) < AT_ONCE_OF_ONE);
    if (next < 0) return;
    const [{ id, go }] = waiting.splice(next, 1) as [typeof waiting[number]];
    atWork += 1;
    atWorkOn.set(id, (atWorkOn.get(id) ?? 0) + 1);
    go();
  }
}

/** What a lock has to say of all other calls on its cluster. */
export interface Fence {
  /** Waits until one may begin. */
  begin: () => Promise<void>;
  /** Why those under way are to end at once, in words that kubectl might use; undefined while they may go on. */
  over: () => string | undefined;
}

const fences = new Map<string, Fence>();

/** What the lock on a cluster says, where we have it. */
export function fenceOf({ id }: Cluster): Fence | undefined {
  return fences.get(id);
}

/** Every call on that cluster goes by the fence until the result is disposed. */
export function fence({ id }: Cluster, by: Fence): Disposable {
  fences.set(id, by);
  return { [Symbol.dispose]: () => void fences.delete(id) };
}

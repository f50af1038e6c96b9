// Work on many things, some at a time.

/**
 * Does the work for each of the items, so many (`width`) at a time, and gives what came of it in their order.
 * When one fails, all that the others have begun ends well before that is thrown.
 */
export async function sideBySide<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const workers = Array.from({ length: width }, async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  });
  for (const ended of await Promise.allSettled(workers)) {
    if (ended.status === "rejected") throw ended.reason;
  }
  return results;
}

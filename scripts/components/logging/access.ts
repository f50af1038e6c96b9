// The way into OpenSearch.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { type OpenSearch, read } from "../../../lib/opensearch/client.ts";
import { openProxy } from "../../../lib/probe/http.ts";

/** Its Service. */
export const OPENSEARCH = { namespace: "logging", name: "opensearch", port: "http" };

/** Opens a way into OpenSearch; `once`: nothing is tried twice. @throws {DeployError} exit 5 or 8: no answer. */
export async function openOpenSearch(
  cluster: Cluster,
  once = false,
): Promise<OpenSearch & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await openProxy(cluster));
  const os: OpenSearch = {
    fetch: (path, init) => proxy.fetch(OPENSEARCH, path, init),
    tries: once ? 1 : undefined,
  };
  if (once) await read(os, "/");
  const held = stack.move();
  return { ...os, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

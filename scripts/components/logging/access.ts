// The way into OpenSearch.
import type { Cluster } from "../../../lib/core/cluster.ts";
import type { OpenSearch } from "../../../lib/opensearch/documents.ts";
import { openProxy } from "../../../lib/probe/http.ts";

/** Its Service. */
export const OPENSEARCH = { namespace: "logging", name: "opensearch", port: "http" };

/** Opens a way into OpenSearch for the time of `work`. */
export async function withOpenSearch<T>(
  cluster: Cluster,
  work: (os: OpenSearch) => Promise<T>,
): Promise<T> {
  await using proxy = await openProxy(cluster);
  return await work({ fetch: (path, init) => proxy.fetch(OPENSEARCH, path, init) });
}

// The endpoints that Thanos Query is in touch with, compared with those it should be.
import { type Cluster, number, text } from "../../lib/cluster.ts";
import { readJson } from "../../lib/answer.ts";
import type { ClusterProxy } from "../../lib/proxy.ts";
import { edgeAddress, edgesOf } from "./fleet.ts";

/** One endpoint as `/api/v1/stores` shows it. */
export interface StoreStatus {
  /** Address after discovery. */
  name: string;
  lastError: string | null;
  labelSets: Record<string, string>[];
}

/** Endpoints by the component that answers there: `sidecar`, `store`, `rule`. */
export type Stores = Record<string, StoreStatus[]>;

/** Asks Thanos Query for its endpoints. */
export async function readStores(proxy: ClusterProxy): Promise<Stores> {
  const query = { namespace: "monitoring", name: "thanos-query", port: 9090 };
  const { data } = await readJson<{ data: Stores }>(proxy, query, "/api/v1/stores");
  return data;
}

/** What Query should be in touch with and is not: programs of its own cluster, and edges. */
export function missingEndpoints(
  stores: Stores,
  cluster: Cluster,
): { own: string[]; edges: string[] } {
  const healthy = (component: string) =>
    (stores[component] ?? []).filter(({ lastError }) => !lastError);
  const errorAt = (address: string) =>
    Object.values(stores).flat().find(({ name }) => name === address)?.lastError;
  const sees = (name: string) =>
    healthy("sidecar").some(({ labelSets }) => labelSets.some(({ cluster }) => cluster === name));

  const own: string[] = [];
  const name = text(cluster, "CLUSTER_NAME");
  if (!sees(name)) own.push(`sidecar of ${name}: not connected`);
  const shards = number(cluster, "STORE_REPLICAS");
  const found = healthy("store").length;
  if (found < shards) own.push(`store: ${found} of ${shards} shards connected`);
  if (healthy("rule").length === 0) own.push("ruler: not connected");

  const edges = edgesOf(cluster).filter(({ name }) => !sees(name)).map((edge) => {
    const address = edgeAddress(cluster, edge);
    const reason = errorAt(address) ??
      `not connected (make cluster-${edge.id}, if it is not deployed)`;
    return `sidecar of ${edge.name} at ${address}: ${reason}`;
  });
  return { own, edges };
}

// The endpoints that Thanos Query is in touch with, compared with those it should be.
import { type Cluster, number, type Peer, text } from "../../lib/cluster.ts";
import { readJson } from "../../lib/answer.ts";
import { DeployError } from "../../lib/error.ts";
import { kubectl } from "../../lib/kubectl.ts";
import { type ClusterProxy, openProxy } from "../../lib/proxy.ts";
import { until } from "../../lib/wait.ts";
import { edgeAddress, edgesOf } from "./fleet.ts";
import { mutualTls } from "./grpc.ts";

/** The Thanos Query of the central cluster. */
export const QUERY = { namespace: "monitoring", name: "thanos-query", port: 9090 };

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
  const { data } = await readJson<{ data: Stores }>(proxy, QUERY, "/api/v1/stores");
  return data;
}

/** What Query should be in touch with and is not: programs of its own cluster, and these edges. */
export function missingEndpoints(
  stores: Stores,
  cluster: Cluster,
  wanted: Peer[] = edgesOf(cluster),
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

  const edges = wanted.filter(({ name }) => !sees(name)).map((edge) => {
    const address = edgeAddress(cluster, edge);
    const reason = errorAt(address) ??
      `not connected (make cluster-${edge.id}, if it is not deployed)`;
    return `sidecar of ${edge.name} at ${address}: ${reason}`;
  });
  return { own, edges };
}

type Say = (missing: string) => void;

/** Waits until Query is in touch with the programs of its own cluster: ten minutes at most. */
export async function awaitOwn(cluster: Cluster, say: Say): Promise<void> {
  await using proxy = await openProxy(cluster);
  const probe = async () => missingEndpoints(await readStores(proxy), cluster, []).own;
  await until("the endpoints of Thanos Query", probe, { seconds: 600, say });
}

// An edited endpoint file reaches the process after 90 s (kubelet), 5 s (reload) and 5 s (poll).
const EDGE_PATIENCE = 120_000;

/**
 * Waits until Query is in touch with these edges. Those that are still missing after two minutes are
 * given back, one line each: they may be deployed later, and a link that is down heals by itself.
 */
export async function awaitEdges(cluster: Cluster, edges: Peer[], say: Say): Promise<string[]> {
  await using proxy = await openProxy(cluster);
  const enough = Date.now() + EDGE_PATIENCE;
  let missing: string[] = [];
  await until("Thanos Query to see the edges", async () => {
    missing = await readStores(proxy)
      .then((stores) => missingEndpoints(stores, cluster, edges).edges)
      .catch(silent);
    return Date.now() < enough ? missing : [];
  }, { seconds: 600, say });
  return missing;
}

/** That Query does not answer is as good as a missing edge: it says so and goes on. */
function silent(error: unknown): string[] {
  if (error instanceof DeployError) return [`${error.message}: ${error.where.join("; ")}`];
  throw error;
}

/** Whether Query dials edges in another way than the settings want: with TLS, or without. */
export async function dialsOtherwise(central: Cluster): Promise<boolean> {
  const [name, namespace] = ["configmap/thanos-query-endpoints", "monitoring"];
  const live = await kubectl(
    ["get", name, "--namespace", namespace, "--ignore-not-found", "--output", "yaml"],
    { cluster: central },
  );
  return live !== "" && live.includes("client_config") !== mutualTls(central);
}

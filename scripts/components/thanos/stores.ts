// The endpoints that Thanos Query is in touch with, compared with those it should be.
import { flag, isPaused, number, pauseWords, text } from "../../../lib/core/cluster.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { openProxy, readJson } from "../../../lib/probe/http.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { deployedOn } from "../../../lib/kube/target.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import type { ClusterProxy } from "../../../lib/core/check.ts";
import type { Report } from "../../../lib/io/report.ts";
import { until } from "../../../lib/io/wait.ts";

/** The Thanos Query of the central cluster. */
export const QUERY = { namespace: "monitoring", name: "thanos-query", port: 9090 };

type StoreStatus = { name: string; lastError: string | null; labelSets: Record<string, string>[] };

/** Endpoints by the component that answers there: `sidecar`, `store`, `rule`. */
export type Stores = Record<string, StoreStatus[]>;

/** The endpoints of Thanos Query. */
export async function readStores(proxy: ClusterProxy): Promise<Stores> {
  return (await readJson<{ data: Stores }>(proxy, QUERY, "/api/v1/stores")).data;
}

function healthy(stores: Stores, component: string): StoreStatus[] {
  return (stores[component] ?? []).filter(({ lastError }) => !lastError);
}

function shows(stores: Stores, component: string, name: string): boolean {
  return healthy(stores, component)
    .some(({ labelSets }) => labelSets.some(({ cluster }) => cluster === name));
}

/** Programs of its own cluster that Query should be in touch with and is not. */
export function missingPrograms(stores: Stores, cluster: Cluster): string[] {
  const name = text(cluster, "CLUSTER_NAME");
  const shards = number(cluster, "STORE_REPLICAS");
  const found = healthy(stores, "store").length;
  return [
    ...shows(stores, "sidecar", name) ? [] : [`sidecar of ${name}: not connected`],
    ...found < shards ? [`store: ${found} of ${shards} shards connected`] : [],
    ...healthy(stores, "rule").length > 0 ? [] : ["ruler: not connected"],
  ];
}

/** Edges of which Query has no sidecar. */
export function missingEdges(stores: Stores, edges: Cluster[]): Cluster[] {
  return edges.filter(({ name }) => !shows(stores, "sidecar", name));
}

/** Why Query has no sidecar of an edge, as a sentence. */
export function whyMissing(stores: Stores, edge: Cluster): string {
  const error = Object.values(stores).flat().find(({ name }) => name === edge.sidecar)?.lastError;
  return `sidecar of ${edge.name} at ${edge.sidecar}: ${error ?? "not connected"}`;
}

/** Edges that Query lacks: `lost`, or `excused`, as paused or never deployed, with `notes` that say why. */
export async function absenceOf(stores: Stores, edges: Cluster[]) {
  const asked = await Promise.all(
    missingEdges(stores, edges).map(async (edge): Promise<Absent> => {
      if (isPaused(edge)) return { edge, excuse: pauseWords(edge.pause!) };
      const { state, reason } = await deployedOn(edge, "20-prometheus");
      if (state === "running") return { edge, excuse: "being deployed at this moment" };
      // Which cannot be asked was deployed once if the bucket has blocks of it.
      const hasBlocks = state === "no access" && shows(stores, "store", edge.name);
      if (hasBlocks || state === "deployed" || state === "unknown") return { edge, reason };
      return { edge, excuse: `not deployed yet${reason ? ` (${reason})` : ""}` };
    }),
  );
  const excused = asked.filter(({ excuse }) => excuse);
  const notes = [...Map.groupBy(excused, ({ excuse }) => excuse)].map(([excuse, those]) =>
    `${excuse}: ${those.map(({ edge }) => edge.id).join(", ")}`
  );
  const lost = asked.filter(({ excuse }) => !excuse).map(({ edge, reason }) => ({ edge, reason }));
  return { lost, excused: excused.map(({ edge }) => edge), notes };
}

type Absent = { edge: Cluster; excuse?: string; reason?: string };

/** Waits until Query is in touch with its own cluster's programs, ten minutes at most; gives all endpoints by then. */
export async function awaitOwn(cluster: Cluster, say: (missing: string) => void): Promise<Stores> {
  await using proxy = await openProxy(cluster);
  let stores: Stores = {};
  const probe = async () => missingPrograms(stores = await readStores(proxy), cluster);
  await until("the endpoints of Thanos Query", probe, { seconds: 600, say });
  return stores;
}

// An edited endpoint file reaches the process after 90 s (kubelet), 5 s (reload) and 5 s (poll).
const EDGE_PATIENCE = 120_000;

/** Waits until Query is in touch with these deployed edges, and warns after two minutes: a link may heal by itself. */
export async function awaitEdges(cluster: Cluster, edges: Cluster[], report: Report) {
  await using proxy = await openProxy(cluster);
  const enough = Date.now() + EDGE_PATIENCE;
  let missing: string[] = [];
  await until("Thanos Query to see the edges", async () => {
    missing = await readStores(proxy).then(
      (stores) => missingEdges(stores, edges).map((edge) => whyMissing(stores, edge)),
      (error) => {
        // That Query does not answer is as good as a missing edge.
        if (!(error instanceof DeployError)) throw error;
        return [`${error.message}: ${error.where.join("; ")}`];
      },
    );
    return Date.now() < enough ? missing : [];
  }, { seconds: 600, say: report.waiting });
  missing.forEach(report.warn);
}

/** Whether Query dials edges, or is ready to, in another way than the settings want: with TLS, or without. */
export async function dialsOtherwise(central: Cluster): Promise<boolean> {
  const flags = ["-n", QUERY.namespace, "--ignore-not-found", "-o"];
  const read = (name: string, output: string) =>
    kubectl(["get", name, ...flags, output], { cluster: central });
  const wanted = flag(central, "THANOS_GRPC_MTLS");
  const live = await read("configmap/thanos-query-endpoints", "yaml");
  if (/ address: (?!dnssrv)/.test(live)) return live.includes("cert_file") !== wanted;
  // It knows no edge yet: with its certificate it can dial the first one.
  return wanted && await read("secret/thanos-grpc-tls", "name") === "";
}

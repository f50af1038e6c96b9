// Checks of the fleet as the central Thanos Query sees it.
import type { Problem } from "../../lib/check.ts";
import type { Cluster } from "../../lib/cluster.ts";
import type { Subject } from "./subject.ts";
import { missingEndpoints, QUERY, readStores, type Stores } from "../thanos/stores.ts";
import { ask, type Sample } from "./metrics.ts";

/** Query is in touch with its own programs and with every edge. */
export async function endpoints({ cluster, proxy }: Subject): Promise<Problem[]> {
  return endpointProblems(await readStores(await proxy()), cluster);
}

/** Endpoints that Query lacks. */
export function endpointProblems(stores: Stores, cluster: Cluster): Problem[] {
  const { own, edges } = missingEndpoints(stores, cluster);
  return [
    ...own.map((line) => ({
      what: line,
      cause: "its pod is not ready, or the headless Service has no port grpc",
      fix: "kubectl -n monitoring get pods,endpointslices; logs of deploy/thanos-query",
    })),
    ...edges.map((line) => ({
      what: line,
      cause: "the edge is not deployed or down, or a firewall closes the NodePort",
      fix: "nc -vz ADDRESS PORT from the central node, then make verify on the edge",
    })),
  ];
}

/** Samples of every cluster are visible, and replicas are merged. */
export async function clusters({ cluster, proxy }: Subject): Promise<Problem[]> {
  const way = await proxy();
  return clusterProblems(
    await ask(way, QUERY, "count by (cluster) (up)"),
    await ask(way, QUERY, "count by (prometheus_replica) (up)"),
    cluster,
  );
}

/** Clusters without samples, and replica labels that are still visible. */
export function clusterProblems(
  counts: Sample[],
  replicas: Sample[],
  { fleet }: Cluster,
): Problem[] {
  const seen = new Set(counts.map(({ metric }) => metric.cluster));
  const problems = fleet.filter(({ name }) => !seen.has(name)).map(({ id, name }) => ({
    what: `Thanos Query has no samples of ${name}`,
    cause: "its sidecar is not connected, or its external label cluster is another",
    fix: `make verify-${id}, then look at the check Thanos endpoints`,
  }));
  if (replicas.some(({ metric }) => metric.prometheus_replica)) {
    problems.push({
      what: "Thanos Query does not merge replicas: prometheus_replica is still visible",
      cause: "--query.replica-label and replicaExternalLabelName of Prometheus differ",
      fix: "make 20-prometheus and 30-thanos; compare the two names",
    });
  }
  return problems;
}

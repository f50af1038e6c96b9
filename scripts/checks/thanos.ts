// Checks of the fleet as the central Thanos Query sees it.
import { type Finding, note, type Subject } from "../../lib/core/check.ts";
import type { Cluster, Peer } from "../../lib/core/cluster.ts";
import { type Absence, absenceOf } from "../components/thanos/absence.ts";
import { edgeAddress, edgesOf } from "../components/thanos/fleet.ts";
import {
  missingPrograms,
  QUERY,
  readStores,
  type Stores,
  whyMissing,
} from "../components/thanos/stores.ts";
import { ask, type Sample } from "./metrics.ts";

/** Query is in touch with its own programs and with every edge that is deployed. */
export async function endpoints(subject: Subject): Promise<Finding[]> {
  const stores = await readStores(await subject.proxy());
  const absence = await absenceOf(stores, edgesOf(subject.cluster), subject.fleet);
  return [...absence.notes.map(note), ...endpointProblems(stores, absence, subject.cluster)];
}

/** Endpoints that Query lacks. */
export function endpointProblems(
  stores: Stores,
  { lost }: Absence,
  cluster: Cluster,
): Finding[] {
  return [
    ...missingPrograms(stores, cluster).map((line) => ({
      what: line,
      cause: "its pod is not ready, or the headless Service has no port grpc",
      fix: "kubectl -n monitoring get pods,endpointslices; logs of deploy/thanos-query",
    })),
    ...lost.map(({ edge, reason }) => ({
      what: whyMissing(stores, cluster, edge),
      cause: reason
        ? `the edge, or the way to it, is down; it cannot be asked either: ${reason}`
        : "the edge is down, or a firewall closes the NodePort",
      fix: `nc -vz ${edgeAddress(cluster, edge).replace(":", " ")} from the central node, then ` +
        `make verify-${edge.id}`,
    })),
  ];
}

/** Samples of every cluster that is deployed are visible, and replicas are merged. */
export async function clusters({ cluster, fleet, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const { excused } = await absenceOf(await readStores(way), edgesOf(cluster), fleet);
  return sampleProblems(
    await ask(way, QUERY, "count by (cluster) (up)"),
    await ask(way, QUERY, "count by (prometheus_replica) (up)"),
    cluster.fleet.filter(({ id }) => !excused.some((edge) => edge.id === id)),
  );
}

/** Clusters of these without samples, and replica labels that are still visible. */
export function sampleProblems(
  counts: Sample[],
  replicas: Sample[],
  wanted: Peer[],
): Finding[] {
  const seen = new Set(counts.map(({ metric }) => metric.cluster));
  const problems = wanted.filter(({ name }) => !seen.has(name)).map(({ id, name }) => ({
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

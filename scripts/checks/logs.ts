// Checks of log lines on their way: one that is written now is found, and every stream flows.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { unready } from "../../lib/apply/readiness.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { LOG_INDICES } from "../components/logging/documents.ts";
import { ask } from "./metrics.ts";
import { PROMETHEUS } from "./prometheus.ts";

/** Seconds until a line must be found: Fluent Bit sends every 5 s, an index shows it after 10 s. */
const MARKER_PATIENCE = 90;

/** A line of a log as it is stored. */
export interface StoredLine {
  "@timestamp": string;
  cluster?: string;
  kubernetes?: { namespace_name?: string; pod_name?: string; container_name?: string };
}

/** A line that nobody has written before. */
export interface Marker {
  /** The pod of the keeper that wrote it. */
  pod: string;
  /** When, in ms. */
  written: number;
}

/** A pod writes a line that nobody has written before, and it is found under its origin. */
export async function marker(subject: Subject): Promise<Finding[]> {
  const { cluster, proxy } = subject;
  const id = randomUUID().replaceAll("-", ""); // one word for the analyzer
  const written = Date.now();
  const pod = await write(`verify-marker ${id}`, cluster);
  const line = await found(id, await proxy(), written + MARKER_PATIENCE * 1000);
  if (!line) return missingProblems(await collectorOf(subject));
  const seconds = ((Date.now() - written) / 1000).toFixed(0);
  return [
    ok(`a line was found ${seconds} s after it was written`),
    ...markerProblems(line, { pod, written }, cluster),
  ];
}

/** Into the log of a container that is there anyway, nothing is made for it; gives its pod. */
async function write(line: string, cluster: Cluster): Promise<string> {
  const shell = ["sh", "-c", `echo "${line}" >/proc/1/fd/1; echo "$HOSTNAME"`];
  const pod = ["deploy/opensearch-exporter", "--namespace", "logging", "--container", "keeper"];
  return (await kubectl(["exec", ...pod, "--", ...shell], { cluster })).trim();
}

/** The line with this word as soon as it is there; undefined after `until` (ms). */
async function found(
  id: string,
  way: ClusterProxy,
  until: number,
): Promise<StoredLine | undefined> {
  const path = `/logs-k8s-*/_search?q=${encodeURIComponent(`log:${id}`)}`;
  for (;;) {
    const { hits } = await readJson<Hits>(way, OPENSEARCH, path);
    const line = hits.hits[0]?._source;
    if (line || Date.now() > until) return line;
    await sleep(1000);
  }
}

interface Hits {
  hits: { hits: { _source: StoredLine }[] };
}

/** What Fluent Bit is at. */
export interface Collector {
  /** Why it is not ready; empty when it is. */
  waiting: string[];
  /** Batches of lines that it had to send again in the last 5 minutes. */
  retries: number;
}

async function collectorOf({ cluster, objects, proxy }: Subject): Promise<Collector> {
  const own = (await objects()).filter(({ kind, metadata }) =>
    kind === "DaemonSet" && metadata.name === "fluent-bit"
  );
  const retries = "sum(increase(fluentbit_output_retries_total[5m]))";
  const [sample] = await ask(await proxy(), PROMETHEUS, retries);
  return { waiting: await unready(cluster, own), retries: Number(sample?.value[1] ?? 0) };
}

/** Why a marker was not found. */
export function missingProblems({ waiting, retries }: Collector): Finding[] {
  const what = `a line written by a pod was not found within ${MARKER_PATIENCE} s`;
  const logs = "kubectl -n node-agents logs ds/fluent-bit --tail=50";
  if (waiting.length > 0) {
    const cause = `Fluent Bit is not ready: ${waiting.join("; ")}`;
    return [{ what, cause, fix: "kubectl -n node-agents get pods,events | grep fluent-bit" }];
  }
  if (retries > 0) {
    const cause =
      "lines wait on the node, none is lost while LOG_BUFFER lasts: OpenSearch refused " +
      `or did not answer ${Math.ceil(retries)} times in 5 minutes`;
    return [{ what, cause, fix: `look at the checks OpenSearch and Room for logs above; ${logs}` }];
  }
  const cause =
    "Fluent Bit runs and none of its deliveries failed: it does not read this pod's file, " +
    "is behind with reading, or OpenSearch refused the line for good (the check Dropped logs)";
  return [{ what, cause, fix: logs }];
}

/** What is wrong with a marker as it is stored: its origin, its time. */
export function markerProblems(line: StoredLine, marker: Marker, cluster: Cluster): Finding[] {
  const problems: Finding[] = [];
  const stored: Record<string, string | undefined> = { cluster: line.cluster, ...line.kubernetes };
  const wrong = Object.entries({
    cluster: text(cluster, "CLUSTER_NAME"),
    namespace_name: "logging",
    pod_name: marker.pod,
    container_name: "keeper",
  }).filter(([field, wanted]) => stored[field] !== wanted);
  if (wrong.length > 0) {
    const list = wrong.map(([field, wanted]) =>
      `${field} ${stored[field] ?? "(none)"}, wanted ${wanted}`
    );
    problems.push({
      what: `a line of a pod is stored under another origin: ${list.join("; ")}`,
      cause: line.kubernetes
        ? "Fluent Bit has another CLUSTER_NAME, or takes the pod's name from a wrong tag"
        : "Fluent Bit may not ask the API server for pods",
      fix: `make 40-logging CLUSTER=${cluster.id}; kubectl -n node-agents logs ds/fluent-bit`,
    });
  }
  const off = (Date.parse(line["@timestamp"]) - marker.written) / 1000;
  if (!(Math.abs(off) < 60)) {
    problems.push({
      what: `a line written now is stored with a time ${off.toFixed(0)} s off`,
      cause: "the clock of the node, or of this machine, is wrong",
      fix: "timedatectl on both",
    });
  }
  return problems;
}

/** Lines of the last five minutes from pods and from the host, all of this cluster. */
export async function fresh({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const recent = { range: { "@timestamp": { gte: "now-5m" } } };
  const count = async (indices: string, query: unknown) => {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query }),
    };
    const path = `/${indices}/_count`;
    return (await readJson<{ count: number }>(way, OPENSEARCH, path, init)).count;
  };
  const own = { term: { cluster: text(cluster, "CLUSTER_NAME") } };
  const counts: Record<string, number> = {};
  for (const stream of LOG_INDICES) counts[stream] = await count(stream, recent);
  const foreign = await count("logs-*", { bool: { filter: [recent], must_not: [own] } });
  return freshProblems(counts, foreign);
}

/** Streams without a line, and lines of another cluster. */
export function freshProblems(counts: Record<string, number>, foreign: number): Finding[] {
  const problems: Finding[] = Object.entries(counts).filter(([, count]) => count === 0)
    .map(([stream]) => ({
      what: `no line of the last 5 minutes in ${stream}`,
      cause: "Fluent Bit does not run, finds no files, or OpenSearch refuses its lines",
      fix: "kubectl -n node-agents logs ds/fluent-bit",
    }));
  if (foreign > 0) {
    problems.push({
      what: `${foreign} lines of the last 5 minutes carry another cluster's name`,
      cause: "another cluster's Fluent Bit sends here, or CLUSTER_NAME was changed just now",
      fix: "kubectl -n node-agents get ds fluent-bit -o yaml | grep -i cluster, on every cluster",
    });
  }
  return problems;
}

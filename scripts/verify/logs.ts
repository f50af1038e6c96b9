// Checks of log lines on their way: one that is written now is found, and every stream flows.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readJson } from "../../lib/answer.ts";
import type { Problem } from "../../lib/check.ts";
import { type Cluster, text } from "../../lib/cluster.ts";
import { kubectl } from "../../lib/kubectl.ts";
import { LOG_INDICES } from "../logging/documents.ts";
import { OPENSEARCH } from "./opensearch.ts";
import type { Subject } from "./subject.ts";

/** Seconds until a line must be found: Fluent Bit sends every 5 s, an index shows it after 10 s. */
const MARKER_PATIENCE = 60;

/** A line of a log as it is stored. */
export interface Line {
  "@timestamp": string;
  cluster?: string;
  kubernetes?: { namespace_name?: string; container_name?: string };
}

/** A pod writes a line that nobody has written before, and it is found under its origin. */
export async function marker({ cluster, proxy, tell }: Subject): Promise<Problem[]> {
  const id = randomUUID().replaceAll("-", ""); // one word for the analyzer
  const started = Date.now();
  // Into the log of a container that is there anyway: nothing is made for it.
  const shell = ["sh", "-c", `echo "verify-marker ${id}" >/proc/1/fd/1`];
  const pod = ["deploy/opensearch-exporter", "--namespace", "logging", "--container", "keeper"];
  await kubectl(["exec", ...pod, "--", ...shell], { cluster });
  const path = `/logs-k8s-*/_search?q=${encodeURIComponent(`log:${id}`)}`;
  for (;;) {
    const { hits } = await readJson<Hits>(await proxy(), OPENSEARCH, path);
    const line = hits.hits[0]?._source;
    const seconds = (Date.now() - started) / 1000;
    if (!line && seconds < MARKER_PATIENCE) {
      await sleep(1000);
      continue;
    }
    if (line) tell(`a line was found ${seconds.toFixed(0)} s after it was written`);
    return markerProblems(line, cluster, started);
  }
}

interface Hits {
  hits: { hits: { _source: Line }[] };
}

/** What is wrong with the marker: `line` as it was found, written at `written` (ms). */
export function markerProblems(
  line: Line | undefined,
  cluster: Cluster,
  written: number,
): Problem[] {
  if (!line) {
    return [{
      what: `a line written by a pod was not found within ${MARKER_PATIENCE} s`,
      cause: "Fluent Bit does not read it, or what it read waits behind a backlog",
      fix: "kubectl -n node-agents logs ds/fluent-bit --tail=50 (retries, refused, connection)",
    }];
  }
  const origin = [line.cluster, line.kubernetes?.namespace_name, line.kubernetes?.container_name];
  const wanted = [text(cluster, "CLUSTER_NAME"), "logging", "keeper"];
  const problems: Problem[] = [];
  if (origin.join() !== wanted.join()) {
    problems.push({
      what: `a line of ${wanted.join(", ")} is stored as of ${origin.join(", ")}`,
      cause: "Fluent Bit may not ask the API server for pods, or has another CLUSTER_NAME",
      fix: `make 40-logging CLUSTER=${cluster.id}; kubectl -n node-agents logs ds/fluent-bit`,
    });
  }
  const off = (Date.parse(line["@timestamp"]) - written) / 1000;
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
export async function fresh({ cluster, proxy }: Subject): Promise<Problem[]> {
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
export function freshProblems(counts: Record<string, number>, foreign: number): Problem[] {
  const problems: Problem[] = Object.entries(counts).filter(([, count]) => count === 0)
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

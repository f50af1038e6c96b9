// Checks of log lines on their way: one that is written now is found, and every stream flows.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Finding, note, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { unready } from "../../lib/apply/readiness.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { LOG_INDICES } from "../components/logging/documents.ts";
import { ask, growthOf } from "./metrics.ts";
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

/** What OpenSearch and Fluent Bit know of one kind of lines. */
export interface Stream {
  /** Name of its indices, `logs-k8s-*`. */
  indices: string;
  /** Lines of the last five minutes in OpenSearch. */
  stored: number;
  /** Lines that Fluent Bit has read in that time. */
  read: number;
  /** Time of the newest line that is stored, as it is stored. */
  newest?: string;
}

/** Inputs of Fluent Bit that feed the indices, as its metrics name them. */
const INPUTS: Record<string, string> = {
  "logs-k8s-*": "tail_containers",
  "logs-host-*": "journal|host_files",
};

/** What Fluent Bit reads from pods and from the host is stored, all of it as this cluster's. */
export async function fresh({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const recent = { range: { "@timestamp": { gte: "now-5m" } } };
  const search = async (indices: string, body: unknown) => {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ track_total_hits: true, ...body as Record<string, unknown> }),
    };
    const path = `/${indices}/_search`;
    const { hits } = await readJson<Found>(way, OPENSEARCH, path, init);
    return { total: hits.total.value, line: hits.hits[0]?._source };
  };
  const own = { term: { cluster: text(cluster, "CLUSTER_NAME") } };
  const streams = LOG_INDICES.map(async (indices): Promise<Stream> => {
    const inputs = `fluentbit_input_records_total{name=~"${INPUTS[indices]}"}`;
    const sort = [{ "@timestamp": { order: "desc", unmapped_type: "date_nanos" } }];
    const [stored, newest, read] = await Promise.all([
      search(indices, { query: recent, size: 0 }),
      search(indices, { sort, size: 1 }),
      growthOf(way, inputs, "5m"),
    ]);
    return {
      indices,
      stored: stored.total,
      newest: newest.line?.["@timestamp"],
      read: read ?? 0,
    };
  });
  const query = { bool: { filter: [recent], must_not: [own] } };
  const foreign = (await search("logs-*", { query, size: 0 })).total;
  return freshProblems(await Promise.all(streams), foreign);
}

interface Found {
  hits: { total: { value: number }; hits: { _source: StoredLine }[] };
}

/** Streams that are read and not stored, or were never, and lines of another cluster. */
export function freshProblems(streams: Stream[], foreign: number): Finding[] {
  const problems = streams.filter(({ stored }) => stored === 0).map(
    ({ indices, read, newest }): Finding => {
      // At night nothing may be written; then there is nothing to store.
      if (read === 0 && newest) return note(`nothing is written to ${indices} since ${newest}`);
      return {
        what: read === 0
          ? `no line was ever stored in ${indices}`
          : `Fluent Bit has read ${
            Math.ceil(read)
          } lines for ${indices} in 5 minutes, none is stored`,
        cause: "Fluent Bit does not run, finds no files, or OpenSearch refuses its lines",
        fix: "kubectl -n node-agents logs ds/fluent-bit",
      };
    },
  );
  if (foreign === 0) return problems;
  return [...problems, {
    what: `${foreign} lines of the last 5 minutes carry another cluster's name`,
    cause: "another cluster's Fluent Bit sends here, or CLUSTER_NAME was changed just now",
    fix: "kubectl -n node-agents get ds fluent-bit -o yaml | grep -i cluster, on every cluster",
  }];
}

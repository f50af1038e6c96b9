// Checks of log lines on their way: one that is written now is found, and every stream flows.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Findings, note, ok, type Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { idOf } from "../../lib/core/object.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { unready } from "../../lib/apply/readiness.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { growthOf } from "./metrics.ts";

/** Seconds until a line must be found: Fluent Bit sends every 5 s, an index shows it after 10 s. */
const MARKER_PATIENCE = 90;

/** A line of a log as it is stored. */
export interface StoredLine {
  "@timestamp": string;
  cluster?: string;
  kubernetes?: { namespace_name?: string; pod_name?: string; container_name?: string };
}

type Hits = { hits: { total: { value: number }; hits: { _source: StoredLine }[] } };

/** A pod writes a line that nobody has written before, and it is found under its origin. */
export async function marker(subject: Subject): Promise<Findings> {
  const { cluster, proxy } = subject;
  const id = randomUUID().replaceAll("-", ""); // one word for the analyzer
  const written = Date.now();
  const pod = await write(`verify-marker ${id}`, cluster);
  const line = await lineWith(id, proxy, written + MARKER_PATIENCE * 1000);
  if (!line) return await missingProblem(subject);
  const seconds = ((Date.now() - written) / 1000).toFixed(0);
  return [
    ok(`a line was found ${seconds} s after it was written`),
    markerProblems(line, pod, written, cluster),
  ];
}

/** Into the log of a container that is there anyway, nothing is made for it; gives its pod. */
async function write(line: string, cluster: Cluster): Promise<string> {
  const shell = ["sh", "-c", `echo "${line}" >/proc/1/fd/1; echo "$HOSTNAME"`];
  const pod = ["deploy/opensearch-exporter", "--namespace", "logging", "--container", "keeper"];
  return (await kubectl(["exec", ...pod, "--", ...shell], { cluster })).trim();
}

/** The line with this word as soon as it is there; undefined after `until` (ms). */
async function lineWith(
  id: string,
  proxy: ClusterProxy,
  until: number,
): Promise<StoredLine | undefined> {
  const path = `/logs-k8s-*/_search?q=${encodeURIComponent(`log:${id}`)}`;
  for (;;) {
    const { hits } = await readJson<Hits>(proxy, OPENSEARCH, path);
    const line = hits.hits[0]?._source;
    if (line || Date.now() > until) return line;
    await sleep(1000);
  }
}

/** Why the Fluent Bit with this id is not ready, one line for each reason. */
export async function unreadyReader({ cluster, objects }: Subject, id: string): Promise<string[]> {
  return await unready(cluster, (await objects()).filter((one) => idOf(one) === id));
}

/** Why a marker was not found, by what Fluent Bit is at. */
export async function missingProblem(subject: Subject): Promise<Findings> {
  const { proxy } = subject;
  const waiting = await unreadyReader(subject, "DaemonSet/node-agents/fluent-bit");
  const counter = 'fluentbit_output_retries_total{job="fluent-bit"}';
  const retries = await growthOf(proxy, counter, "5m") ?? 0;
  const what = `a line written by a pod was not found within ${MARKER_PATIENCE} s`;
  const logs = "kubectl -n node-agents logs ds/fluent-bit --tail=50";
  if (waiting.length > 0) {
    const cause = `Fluent Bit is not ready: ${waiting.join("; ")}`;
    return { what, cause, fix: "kubectl -n node-agents get pods,events | grep fluent-bit" };
  }
  if (retries > 0) {
    const cause =
      "lines wait on the node, none is lost while LOG_BUFFER lasts: OpenSearch refused " +
      `or did not answer ${Math.ceil(retries)} times in 5 minutes`;
    return { what, cause, fix: `look at the checks OpenSearch and Room for logs above; ${logs}` };
  }
  const cause =
    "Fluent Bit runs and none of its deliveries failed: it does not read this pod's file, " +
    "is behind with reading, or OpenSearch refused the line for good (the check Dropped logs)";
  return { what, cause, fix: logs };
}

/** What is wrong with a line as it is stored, of that pod and time (ms). */
export function markerProblems(
  line: StoredLine,
  pod: string,
  written: number,
  cluster: Cluster,
): Findings {
  const stored: Record<string, string | undefined> = { cluster: line.cluster, ...line.kubernetes };
  const wrong = Object.entries({
    cluster: text(cluster, "CLUSTER_NAME"),
    namespace_name: "logging",
    pod_name: pod,
    container_name: "keeper",
  }).filter(([field, wanted]) => stored[field] !== wanted)
    .map(([field, wanted]) => `${field} ${stored[field] ?? "(none)"}, wanted ${wanted}`);
  const off = (Date.parse(line["@timestamp"]) - written) / 1000;
  return [
    wrong.length > 0 && {
      what: `a line of a pod is stored under another origin: ${wrong.join("; ")}`,
      cause: line.kubernetes
        ? "Fluent Bit has another CLUSTER_NAME, or takes the pod's name from a wrong tag"
        : "Fluent Bit may not ask the API server for pods",
      fix: `make 40-logging CLUSTER=${cluster.id}; kubectl -n node-agents logs ds/fluent-bit`,
    },
    !(Math.abs(off) < 60) && {
      what: `a line written now is stored with a time ${off.toFixed(0)} s off`,
      cause: "the clock of the node, or of this machine, is wrong",
      fix: "timedatectl on both",
    },
  ];
}

/** Inputs of Fluent Bit that feed the indices of lines, as its metrics name them. */
const INPUTS: Record<string, string> = {
  "logs-k8s-*": "tail_containers",
  "logs-host-*": "journal|host_files",
};

/** What Fluent Bit reads from pods and from the host is stored, all of it as this cluster's. */
export async function fresh({ cluster, proxy }: Subject): Promise<Findings> {
  const recent = { range: { "@timestamp": { gte: "now-5m" } } };
  const search = async (indices: string, body: Record<string, unknown>) => {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ track_total_hits: true, ...body }),
    };
    return (await readJson<Hits>(proxy, OPENSEARCH, `/${indices}/_search`, init)).hits;
  };
  const streams = Object.entries(INPUTS).map(async ([indices, names]): Promise<Findings> => {
    const inputs = `fluentbit_input_records_total{name=~"${names}"}`;
    const sort = [{ "@timestamp": { order: "desc", unmapped_type: "date_nanos" } }];
    const [stored, newest, read = 0] = await Promise.all([
      search(indices, { query: recent, size: 0 }),
      search(indices, { sort, size: 1 }),
      growthOf(proxy, inputs, "5m"),
    ]);
    if (stored.total.value > 0) return undefined;
    const last = newest.hits[0]?._source["@timestamp"];
    // At night nothing may be written; then there is nothing to store.
    if (read === 0 && last) return note(`nothing is written to ${indices} since ${last}`);
    return {
      what: read === 0
        ? `no line was ever stored in ${indices}`
        : `Fluent Bit has read ${
          Math.ceil(read)
        } lines for ${indices} in 5 minutes, none is stored`,
      cause: "Fluent Bit does not run, finds no files, or OpenSearch refuses its lines",
      fix: "kubectl -n node-agents logs ds/fluent-bit",
    };
  });
  const own = { term: { cluster: text(cluster, "CLUSTER_NAME") } };
  const query = { bool: { filter: [recent], must_not: [own] } };
  const foreign = (await search("logs-*", { query, size: 0 })).total.value;
  return [
    await Promise.all(streams),
    foreign > 0 && {
      what: `${foreign} lines of the last 5 minutes carry another cluster's name`,
      cause: "another cluster's Fluent Bit sends here, or CLUSTER_NAME was changed just now",
      fix: "kubectl -n node-agents get ds fluent-bit -o yaml | grep -i cluster, on every cluster",
    },
  ];
}

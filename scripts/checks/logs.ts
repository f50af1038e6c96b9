// Checks of log lines and events on their way: one that is made now is stored, and every stream flows.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { unready } from "../../lib/apply/readiness.ts";
import { type Finding, type Findings, note, ok, type Subject } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { idOf } from "../../lib/core/object.ts";
import { lacking } from "../../lib/core/resource.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { runName } from "../../lib/probe/job.ts";
import { EVENTS } from "../components/logging/objects.ts";
import { growthOf } from "./metrics.ts";
import { askOpenSearch } from "./opensearch.ts";

/** A line of a log as it is stored. */
export interface StoredLine {
  "@timestamp": string;
  cluster?: string;
  kubernetes?: { namespace_name?: string; pod_name?: string; container_name?: string };
}

type Hits = { hits: { total: { value: number }; hits: { _source: StoredLine }[] } };

/** Asks once in `pause` ms until there is an answer; undefined where none came in so many `seconds`. */
async function within<T>(seconds: number, ask: (second: number) => Promise<T>, pause = 1000) {
  const end = Date.now() + seconds * 1000;
  for (let second = 0; second <= seconds && Date.now() <= end; second++, await sleep(pause)) {
    const answer = await ask(second);
    if (answer !== undefined) return answer;
  }
}

/** Seconds until a line must be found: Fluent Bit sends every 5 s, an index shows it after 10 s. */
const LINE_PATIENCE = 90;

/** A pod writes a line that nobody has written before, and it is found under its origin. */
export async function marker(subject: Subject): Promise<Findings> {
  const { cluster, proxy } = subject;
  const id = randomUUID().replaceAll("-", ""); // one word for the analyzer
  const written = Date.now();
  // Into the log of a container that is there anyway.
  const write = `echo "verify-marker ${id}" >/proc/1/fd/1; echo "$HOSTNAME"`;
  const pod = ["deploy/opensearch-exporter", "--namespace", "logging", "--container", "keeper"];
  const name = (await kubectl(["exec", ...pod, "--", "sh", "-c", write], { cluster })).trim();
  const path = `/logs-k8s-*/_search?q=${encodeURIComponent(`log:${id}`)}`;
  const line = await within(LINE_PATIENCE, async () => {
    const { hits } = await askOpenSearch<Hits>(proxy, path);
    return hits.hits[0]?._source;
  });
  if (!line) return await missingProblem(subject);
  const seconds = ((Date.now() - written) / 1000).toFixed(0);
  const origin = { namespace_name: "logging", pod_name: name, container_name: "keeper" };
  const wanted = { cluster: text(cluster, "CLUSTER_NAME"), ...origin };
  const wrong = lacking({ cluster: line.cluster, ...line.kubernetes }, wanted)
    .map(({ path, old, now }) => `${path} ${old ?? "(none)"}, wanted ${now}`);
  const off = (Date.parse(line["@timestamp"]) - written) / 1000;
  return [
    ok(`a line was found ${seconds} s after it was written`),
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

/** Why a marker was not found, by what Fluent Bit is at. */
export async function missingProblem(subject: Subject): Promise<Finding> {
  const counter = 'fluentbit_output_retries_total{job="fluent-bit"}';
  const reader = await unreadyReader(subject, "DaemonSet/node-agents/fluent-bit");
  const retries = reader ? 0 : await growthOf(subject.proxy, counter, "5m") ?? 0;
  return {
    what: `a line written by a pod was not found within ${LINE_PATIENCE} s`,
    cause: retries > 0
      ? "lines wait on the node, none is lost while LOG_BUFFER lasts: OpenSearch refused or did not " +
        `answer ${Math.ceil(retries)} times in 5 minutes (the checks OpenSearch and Room for logs)`
      : "Fluent Bit runs and none of its deliveries failed: it does not read this pod's file, is " +
        "behind with reading, or OpenSearch refused the line for good (the check Dropped logs)",
    fix: "kubectl -n node-agents logs ds/fluent-bit --tail=50",
    ...reader,
  };
}

async function unreadyReader({ cluster, objects }: Subject, id: string) {
  const [, namespace, name] = id.split("/");
  const waiting = await unready(cluster, (await objects()).filter((one) => idOf(one) === id));
  if (waiting.length === 0) return undefined;
  const cause = `${name} is not ready: ${waiting.join("; ")}`;
  return { cause, fix: `kubectl -n ${namespace} get pods,events | grep ${name}` };
}

/** Seconds until an event must be there: it is sent each second, and a watch that has ended begins anew after 5 s. */
const EVENT_PATIENCE = 30;

/** An event about its collector, which is taken away again, is stored under its own id; `pause` between looks in ms. */
export async function events(subject: Subject, pause = 1000): Promise<Finding> {
  const { cluster, proxy } = subject;
  const [kind, namespace, name] = ["Deployment", "logging", "fluent-bit-events"] as const;
  const time = new Date().toISOString().replace(/\.\d+/, ""); // Kubernetes has whole seconds here
  const event = {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: runName("verify"), namespace },
    involvedObject: { apiVersion: "apps/v1", kind, namespace, name },
    type: "Normal",
    reason: "Verified",
    message: "50-verify looks for this event among the logs",
    source: { component: "thanos-multi-cluster" },
    firstTimestamp: time,
    lastTimestamp: time,
    count: 1,
  };
  const input = JSON.stringify(event);
  const made = await kubectl(["create", "-f", "-", "-o", "json"], { cluster, input });
  const { uid, resourceVersion } = JSON.parse(made).metadata;
  const _index = EVENTS.replace("*", time.slice(0, 10).replaceAll("-", "."));
  // By its id it is there at once; a search would find it seconds later.
  const docs = [{ _index, _id: `${uid}-${resourceVersion}` }];
  try {
    return await within(EVENT_PATIENCE, async (second) => {
      const { docs: [{ found }] } = await askOpenSearch(proxy, "/_mget", { docs });
      return found ? ok(`an event was stored ${second} s after it was made`) : undefined;
    }, pause) ?? {
      what: `an event was not stored within ${EVENT_PATIENCE} s`,
      cause: `${name} is ready all the same when it may not list events (http_status=403 in its ` +
        "log), or does not reach the API server (upstream connection), or OpenSearch refuses it",
      fix: `kubectl -n ${namespace} logs deploy/${name} --tail=50`,
      ...await unreadyReader(subject, `${kind}/${namespace}/${name}`),
    };
  } finally {
    // What stays is forgotten after an hour.
    const words = ["delete", "event", event.metadata.name, "-n", namespace];
    await kubectl(words, { cluster }).catch(() => {});
  }
}

/** Inputs of Fluent Bit that feed the indices of lines, as its metrics name them. */
const INPUTS = { "logs-k8s-*": "tail_containers", "logs-host-*": "journal|host_files" };

/** What Fluent Bit reads from pods and from the host is stored, all of it as this cluster's. */
export async function fresh({ cluster, proxy }: Subject): Promise<Findings> {
  const recent = { range: { "@timestamp": { gte: "now-5m" } } };
  const search = (indices: string, body: Record<string, unknown>) =>
    askOpenSearch<Hits>(proxy, `/${indices}/_search`, { track_total_hits: true, ...body });
  const streams = Object.entries(INPUTS).map(async ([indices, names]): Promise<Findings> => {
    const inputs = `fluentbit_input_records_total{name=~"${names}"}`;
    const sort = [{ "@timestamp": { order: "desc", unmapped_type: "date_nanos" } }];
    const [stored, newest, read = 0] = await Promise.all([
      search(indices, { query: recent, size: 0 }),
      search(indices, { sort, size: 1 }),
      growthOf(proxy, inputs, "5m"),
    ]);
    if (stored.hits.total.value > 0) return undefined;
    const last = newest.hits.hits[0]?._source["@timestamp"];
    // At night nothing may be written; then there is nothing to store.
    if (read === 0 && last) return note(`nothing is written to ${indices} since ${last}`);
    const lines = `${Math.ceil(read)} lines for ${indices}`;
    return {
      what: read === 0
        ? `no line was ever stored in ${indices}`
        : `Fluent Bit has read ${lines} in 5 minutes, none is stored`,
      cause: "Fluent Bit does not run, finds no files, or OpenSearch refuses its lines",
      fix: "kubectl -n node-agents logs ds/fluent-bit",
    };
  });
  const own = { term: { cluster: text(cluster, "CLUSTER_NAME") } };
  const query = { bool: { filter: [recent], must_not: [own] } };
  const { hits: { total: foreign } } = await search("logs-*", { query, size: 0 });
  return [
    await Promise.all(streams),
    foreign.value > 0 && {
      what: `${foreign.value} lines of the last 5 minutes carry another cluster's name`,
      cause: "another cluster's Fluent Bit sends here, or CLUSTER_NAME was changed just now",
      fix: "kubectl -n node-agents get ds fluent-bit -o yaml | grep -i cluster, on every cluster",
    },
  ];
}

// Check of Kubernetes events on their way: one that is made now is stored.
import { setTimeout as sleep } from "node:timers/promises";
import { type Finding, ok, type Subject } from "../../lib/core/check.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { readJson } from "../../lib/probe/http.ts";
import { runName } from "../../lib/probe/job.ts";
import { OPENSEARCH } from "../components/logging/access.ts";
import { EVENTS } from "../components/logging/documents.ts";
import { unreadyReader } from "./logs.ts";

const COLLECTOR = { kind: "Deployment", namespace: "logging", name: "fluent-bit-events" };
/** Seconds until it must be there: Fluent Bit sends every second, and asks anew 5 s after a watch has ended. */
const PATIENCE = 30;

/**
 * An event about the collector itself is stored under its own id; it is taken away from the cluster again. Looks every
 * `pause` ms.
 */
export async function events(subject: Subject, pause = 1000): Promise<Finding> {
  const { cluster, proxy } = subject;
  const event = eventAt(new Date());
  const input = JSON.stringify(event);
  const made = await kubectl(["create", "-f", "-", "-o", "json"], { cluster, input });
  const { uid, resourceVersion } = JSON.parse(made).metadata;
  const _index = EVENTS.replace("*", event.lastTimestamp.slice(0, 10).replaceAll("-", "."));
  const docs = [{ _index, _id: `${uid}-${resourceVersion}` }];
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify({ docs }) };
  try {
    for (let second = 0; second <= PATIENCE; second++, await sleep(pause)) {
      // By its id it is there at once; a search would find it seconds later.
      type Answer = { docs: { found?: boolean }[] };
      const answer = await readJson<Answer>(proxy, OPENSEARCH, "/_mget", init);
      if (answer.docs[0]!.found) return ok(`an event was stored ${second} s after it was made`);
    }
    return await missing(subject);
  } finally {
    // What stays is forgotten after an hour.
    const { name, namespace } = event.metadata;
    await kubectl(["delete", "event", name, "-n", namespace], { cluster }).catch(() => {});
  }
}

function eventAt(now: Date) {
  const { kind, namespace, name } = COLLECTOR;
  const time = now.toISOString().replace(/\.\d+/, ""); // Kubernetes has whole seconds here
  return {
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
}

async function missing(subject: Subject): Promise<Finding> {
  const { kind, namespace, name } = COLLECTOR;
  const waiting = await unreadyReader(subject, `${kind}/${namespace}/${name}`);
  const what = `an event was not stored within ${PATIENCE} s`;
  if (waiting.length > 0) {
    const cause = `${name} is not ready: ${waiting.join("; ")}`;
    return { what, cause, fix: `kubectl -n ${namespace} get pods,events | grep ${name}` };
  }
  const cause =
    `${name} is ready all the same when it may not list events (http_status=403 in its ` +
    "log), or does not reach the API server (upstream connection), or OpenSearch refuses it";
  return { what, cause, fix: `kubectl -n ${namespace} logs deploy/${name} --tail=50` };
}

// Logs of the site under test: a way into each OpenSearch, pods that write lines, and documents by
// the thousand.
import assert from "node:assert/strict";
import { type Cluster, list } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { Json, OpenSearch } from "../../lib/opensearch/client.ts";
import { OPENSEARCH } from "../../scripts/components/logging/objects.ts";
import { check, fleet, kube, way } from "./site.ts";

/** A way into a cluster's OpenSearch for the functions of lib/opensearch/documents.ts. */
export function openSearch(cluster: Cluster): OpenSearch {
  return { fetch: async (path, init) => await (await way(cluster)).fetch(OPENSEARCH, path, init) };
}

/** JSON of a call that must succeed. */
export async function call(
  cluster: Cluster,
  method: string,
  path: string,
  body?: Json | string,
  // deno-lint-ignore no-explicit-any
): Promise<any> {
  const response = await openSearch(cluster).fetch(path, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(600_000),
  });
  const answer = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${answer.slice(0, 500)}`);
  return JSON.parse(answer);
}

/** Lines that a query_string finds in an index pattern. */
export async function count(cluster: Cluster, indices: string, query: string): Promise<number> {
  const body = { query: { query_string: { query } } };
  return (await call(cluster, "POST", `/${indices}/_count`, body)).count;
}

/** As {@link check}, for what needs a program; where it is a stand-in the test says so and is ignored. */
export function checkWith(
  program: string,
  name: string,
  run: () => Promise<unknown>,
  ignore = false,
): void {
  const hidden = fleet.some((cluster) => list(cluster, "STAND_INS").includes(program));
  const why = `not shown here: ${program} is a stand-in`;
  check(hidden ? `${name} (${why})` : name, run, hidden || ignore);
}

/** Takes an index away, whether it is there or not. */
export async function forget(cluster: Cluster, index: string): Promise<void> {
  await call(cluster, "DELETE", `/${index}?ignore_unavailable=true`);
}

/**
 * Starts a pod in `default` that runs a shell script (BusyBox) once, and gives its name; what it
 * prints are log lines.
 */
export async function startWriter(
  cluster: Cluster,
  name: string,
  script: string,
): Promise<void> {
  const { spec } = await kube(cluster, "deployment", "opensearch-exporter", "-n", "logging");
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: "e2e-writer" } },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      containers: [{
        name: "writer",
        image: spec.template.spec.containers[0].image, // one that the node has
        command: ["/bin/sh", "-c", script],
        resources: { requests: { cpu: "10m", memory: "8Mi" }, limits: { memory: "64Mi" } },
      }],
    },
  };
  await stopWriter(cluster, name);
  await kubectl(["create", "-f", "-"], { cluster, input: JSON.stringify(pod) });
}

/** Takes the pod of {@link startWriter} away. */
export async function stopWriter(cluster: Cluster, name: string): Promise<void> {
  await kubectl(["delete", "pod", name, "-n", "default", "--ignore-not-found", "--wait"], {
    cluster,
  });
}

/** A script that prints so many numbered lines of ~200 characters, about so many in a second. */
export function numbered(marker: string, lines: number, perSecond: number): string {
  const filler = "the quick brown fox jumps over the lazy dog ".repeat(4).trim();
  const batch = Math.max(1, Math.floor(perSecond / 10));
  return `n=0; while [ $n -lt ${lines} ]; do i=0;
    while [ $i -lt ${batch} ]; do n=$((n + 1)); i=$((i + 1)); echo "${marker} $n ${filler}"; done;
    sleep 0.1; done`;
}

/** Text that no codec makes smaller, so that an index has a size; slices of it differ. */
const NOISE = Array.from({ length: 2 ** 17 }, () => Math.random().toString(36).slice(2, 10)).join(
  "",
);

/** Documents as Fluent Bit makes them, about 1.5 KB each, as bodies of bulk requests of `size`. */
export function* bulks(
  index: string,
  { documents, size, time }: { documents: number; size: number; time: string },
): Generator<string> {
  const words = "request served in ms by upstream with status cache hit miss user agent".split(" ");
  for (let first = 0; first < documents; first += size) {
    const lines: string[] = [];
    for (let number = first; number < Math.min(documents, first + size); number++) {
      const text = Array.from({ length: 25 }, (_, word) => words[(number * 7 + word * 5) % 13]);
      lines.push(
        JSON.stringify({ create: { _index: index } }),
        JSON.stringify({
          "@timestamp": time,
          log: `e2e-${number} ${text.join(" ")}`,
          app: { noise: NOISE.slice((number * 997) % (NOISE.length - 1000)).slice(0, 1000) },
          stream: "stdout",
          cluster: "e2e",
          kubernetes: {
            namespace_name: "default",
            pod_name: `e2e-${number % 50}`,
            container_name: "writer",
            host: "e2e",
            labels: { app: "e2e", number: String(number % 10) },
          },
        }),
      );
    }
    yield `${lines.join("\n")}\n`;
  }
}

/** Sends bulks, so many at a time; fails when a document is refused. Gives the seconds it took. */
export async function load(
  cluster: Cluster,
  bodies: Generator<string>,
  atOnce = 4,
): Promise<number> {
  const started = performance.now();
  const worker = async () => {
    for (const body of bodies) {
      const { errors } = await call(cluster, "POST", "/_bulk?filter_path=errors", body);
      assert.equal(errors, false, "OpenSearch refused documents");
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return (performance.now() - started) / 1000;
}

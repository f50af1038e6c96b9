// Log lines against a running OpenSearch of one node with nothing in it: LIVE_OPENSEARCH=http://127.0.0.1:9200
// (tests/support/opensearch_nodes.ts runs one). Without it these are ignored; in the laboratory tests/e2e asks the
// same of each cluster's own.
import assert from "node:assert/strict";
import type { OpenSearch } from "../../../lib/opensearch/client.ts";
import { document } from "../../../lib/opensearch/documents.ts";
import { ensure } from "../../../lib/core/resource.ts";
import { documentSpec, LOG_INDICES } from "../../../scripts/components/logging/objects.ts";
import { searchBody, searchOf } from "../../../scripts/components/logging/search.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { keeperOf, valueOf } from "../../support/keeper.ts";
import { bulkBodies, judge, nastyLines } from "../../support/nasty_lines.ts";

const url = Deno.env.get("LIVE_OPENSEARCH");
const os: OpenSearch = { fetch: (path, init) => fetch(url + path, init) };
const DAY = "2001.02.03";
const TOMORROW = "2001.02.04";
/** When the keeper makes the indices of {@link TOMORROW}. */
const EVENING = new Date("2001-02-03T23:55:00Z");

// deno-lint-ignore no-explicit-any
async function call(method: string, path: string, body?: string): Promise<any> {
  const headers = { "content-type": "application/json" };
  const response = await os.fetch(path, { method, headers, body });
  const answer = await response.json();
  assert.ok(response.ok || method === "DELETE", `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

function live(name: string, run: () => Promise<void>) {
  Deno.test({
    name,
    ignore: !url,
    async fn() {
      const template = document(
        "IndexTemplate",
        "logs",
        documentSpec("index-template", await fixtureCluster("197")),
      );
      await ensure(template, os);
      assert.equal((await ensure(template, os)).outcome, "unchanged");
      try {
        await run();
      } finally {
        await call("DELETE", `/${LOG_INDICES.join(",")}?ignore_unavailable=true`);
      }
    },
  });
}

Deno.test("nastyLines(): sixty lines and more, each another, with words of their own and one document a row", () => {
  const lines = nastyLines();
  assert.ok(lines.length > 60, String(lines.length));
  const words = lines.flatMap(({ word }) => word ?? []);
  assert.equal(new Set(words).size, words.length);
  for (const { name, source } of lines) assert.ok(!source.includes("\n"), name);
  const bodies = [...bulkBodies(lines, DAY)].join("");
  assert.equal(bodies.split("\n").length, 2 * lines.length + 1);
});

live("P3: every line that can be logged is found again, whole", async () => {
  assert.deepEqual(await judge(call, DAY), []);
});

/** A line as Fluent Bit sends it, with its answer. */
async function send(time: string, log: string) {
  const action = { create: { _index: `logs-k8s-${time.slice(0, 10).replaceAll("-", ".")}` } };
  const body = `${JSON.stringify(action)}\n${JSON.stringify({ "@timestamp": time, log })}\n`;
  return (await call("POST", "/_bulk?refresh=true", body)).items[0].create;
}

/** The live OpenSearch with index management that has nothing to do: the distribution from packages has none. */
async function withManagement(work: (url: string) => Promise<void>): Promise<void> {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname.startsWith("/_plugins/")) return Response.json({ total_managed_indices: 0 });
      return await fetch(url + pathname, { method: request.method });
    },
  );
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await work(`http://127.0.0.1:${(server.addr as Deno.NetAddr).port}`);
}

live(
  "P3: at the limit of shards the lines of today go on, and tomorrow's index says so today",
  () =>
    withManagement(async (managed) => {
      await using keeper = await keeperOf(managed);
      assert.equal((await send("2001-02-03T12:00:00.000000000Z", "first")).status, 201);
      const { status, active_shards } = await call("GET", "/_cluster/health");
      assert.equal(status, "green");
      const limit = (value: number | null) =>
        call(
          "PUT",
          "/_cluster/settings",
          JSON.stringify({ persistent: { "cluster.max_shards_per_node": value } }),
        );
      await limit(active_shards);
      try {
        assert.equal((await send("2001-02-03T13:00:00.000000000Z", "goes on")).status, 201);
        // What Fluent Bit would be told at midnight, and does not send again.
        const { status, error } = await send("2001-02-04T00:00:00.000000000Z", "too late");
        assert.equal(status, 400);
        assert.match(error.reason, /maximum .*shards open/);
        const { said, metrics } = await keeper.look(2, EVENING);
        assert.match(said, /cannot make logs-k8s-2001\.02\.04: [^]*maximum .*shards open/);
        assert.equal(valueOf(metrics, "opensearch_log_indices_unmade"), 3);
      } finally {
        await limit(null);
      }
      const { said, metrics } = await keeper.look(2, EVENING);
      assert.equal(said, "");
      assert.equal(valueOf(metrics, "opensearch_log_indices_unmade"), 0);
      assert.equal((await send("2001-02-04T00:00:00.000000000Z", "in time")).status, 201);
    }),
);

live(
  "P3: at midnight (UTC) each line goes to its own day, with and without the keeper",
  () =>
    withManagement(async (managed) => {
      await using keeper = await keeperOf(managed);
      // Nobody made an index, and several workers begin both days at once.
      const times = ["2001-02-03T23:59:59.999999999Z", "2001-02-04T00:00:00.000000000Z"];
      const lines = Array.from({ length: 16 }, (_, at) => send(times[at % 2]!, `midnight ${at}`));
      for (const { status, error } of await Promise.all(lines)) {
        assert.equal(status, 201, JSON.stringify(error));
      }
      // A line that was on its way for long is of yesterday all the same.
      assert.equal((await send("2001-02-03T23:59:58.000000000Z", "midnight late")).status, 201);
      const { said, metrics } = await keeper.look(2, EVENING);
      assert.equal(said, "");
      assert.equal(valueOf(metrics, "opensearch_log_indices_unmade"), 0);
      for (const [day, count] of [[DAY, 9], [TOMORROW, 8]] as const) {
        const index = `logs-k8s-${day}`;
        assert.equal((await call("GET", `/${index}/_count?q=log:midnight`)).count, count);
        const { mappings } = (await call("GET", `/${index}/_mapping`))[index];
        assert.equal(mappings.dynamic, "false", "made without the template");
      }
    }),
);

live(
  "P3: a pod's label is found by its own name, whatever dots and neighbours it has",
  async () => {
    const pods = [
      { "app": "web", "app.kubernetes.io/name": "shop" },
      { "app.kubernetes.io/name": "shop", "app_kubernetes_io/name": "other" },
      { "app_kubernetes_io/name": "shop" },
    ];
    const action = JSON.stringify({ create: { _index: `logs-k8s-${DAY}` } });
    const body = pods.map((labels, at) =>
      `${action}\n${JSON.stringify({ log: `pod ${at}`, kubernetes: { labels } })}\n`
    ).join("");
    assert.equal((await call("POST", "/_bulk?refresh=true", body)).errors, false);
    const found = async (query: string) => {
      const { hits } = await call("GET", `/logs-*/_search?q=${encodeURIComponent(query)}`);
      return hits.hits.map(({ _source }: { _source: { log: string } }) => _source.log).sort();
    };
    const name = "kubernetes.labels.app.kubernetes.io\\/name";
    assert.deepEqual(await found(`${name}:shop`), ["pod 0", "pod 1"]);
    assert.deepEqual(await found("kubernetes.labels.app:web"), ["pod 0"]);
    assert.deepEqual(await found("kubernetes.labels.app_kubernetes_io\\/name:shop"), ["pod 2"]);
  },
);

live("a Korean word is found whatever particle follows, and only where it stands", async () => {
  const lines = [
    "결제에 오류가 났습니다",
    "결제 오류를 고쳤습니다",
    "데이터베이스의 연결이 끊어졌다",
    "API서버에서 timeout이 3번 났음",
    "모든 것이 정상입니다",
  ];
  const action = JSON.stringify({ create: { _index: `logs-k8s-${DAY}` } });
  const now = new Date().toISOString();
  const body = lines.map((log) => `${action}\n${JSON.stringify({ "@timestamp": now, log })}\n`)
    .join("");
  await call("POST", "/_bulk?refresh=true", body);
  const found = async (QUERY: string) => {
    const search = JSON.stringify(searchBody(searchOf({ QUERY })));
    const { hits } = await call("POST", "/logs-*/_search", search);
    return hits.hits.map(({ _source }: { _source: { log: string } }) => lines.indexOf(_source.log))
      .sort();
  };
  assert.deepEqual(await found("오류"), [0, 1]);
  assert.deepEqual(await found("결제 오류"), [0, 1]);
  assert.deepEqual(await found('"결제 오류"'), [1]);
  assert.deepEqual(await found("데이터베이스"), [2]);
  assert.deepEqual(await found("베이스"), [2]);
  assert.deepEqual(await found("timeout 서버"), [3]);
  assert.deepEqual(await found("TIMEOUT"), [3]); // though a particle is glued to it
  assert.deepEqual(await found("API AND 3번"), [3]);
  assert.deepEqual(await found("time"), []);
  assert.deepEqual(await found("오류 NOT 결제에"), [1]);
  assert.deepEqual(await found("장애"), []);
});

live("an event is taken whatever hangs on it, once, and found by what it is about", async () => {
  const time = new Date().toISOString();
  const event = (uid: string, name: string, more: object = {}) => ({
    "@timestamp": time,
    metadata: {
      name: `${name}.18a`,
      namespace: "shop",
      uid,
      resourceVersion: "7",
      creationTimestamp: time,
      labels: { "app": "web", "app.kubernetes.io/name": "shop" },
      annotations: { ".": "", "a..b": "{}", "deployment.kubernetes.io/revision": "3" },
    },
    involvedObject: {
      kind: "Pod",
      namespace: "shop",
      name,
      uid,
      fieldPath: "spec.containers{app}",
    },
    reason: "BackOff",
    type: "Warning",
    message: "Back-off restarting failed container",
    source: { component: "kubelet", host: "mkube" },
    firstTimestamp: "2026-11-30T03:00:00Z",
    lastTimestamp: "2026-11-30T03:12:01Z",
    count: 12,
    reportingComponent: "kubelet",
    id: `${uid}-7`,
    cluster: "cluster-197-edge",
    ...more,
  });
  const events = [
    event("a", "web-0"),
    event("b", "api-0", {
      reason: "FailedScheduling",
      firstTimestamp: undefined,
      count: undefined,
      eventTime: "2026-11-30T03:12:01.123456Z",
      series: { count: 3, lastObservedTime: "2026-11-30T03:22:01.123456Z" },
      related: { kind: "Node", name: "mkube" },
    }),
    event("c", "mkube", { involvedObject: { kind: "Node", name: "mkube", uid: "mkube" } }),
  ];
  const _index = `logs-events-${DAY}`;
  const body = events.map((one) =>
    `${JSON.stringify({ index: { _index, _id: one.id } })}\n${JSON.stringify(one)}\n`
  ).join("");
  for (const result of ["created", "updated"]) {
    const { items } = await call("POST", "/_bulk?refresh=true", body);
    assert.deepEqual(items.map(({ index }: Json) => index.result), Array(3).fill(result));
  }
  const found = async (search: Record<string, string>) => {
    const asked = JSON.stringify(searchBody(searchOf(search, true)));
    const { hits } = await call("POST", "/logs-events-*/_search", asked);
    return hits.hits.map(({ _source }: Json) => _source.involvedObject.name).sort();
  };
  assert.deepEqual(await found({}), ["api-0", "mkube", "web-0"]);
  assert.deepEqual(await found({ NAMESPACE: "shop", POD: "web" }), ["web-0"]);
  assert.deepEqual(await found({ QUERY: "FailedScheduling" }), ["api-0"]);
  assert.deepEqual(await found({ QUERY: "involvedObject.kind:Node" }), ["mkube"]);
  assert.deepEqual(await found({ QUERY: "type:Warning AND count:[2 TO *] restarting" }), [
    "mkube",
    "web-0",
  ]);
  assert.deepEqual(await found({ QUERY: "eventTime:[2026-11-30 TO *]" }), ["api-0"]);
});

// deno-lint-ignore no-explicit-any
type Json = any;

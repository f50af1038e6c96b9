// Log lines against a running OpenSearch of one node with nothing in it: LIVE_OPENSEARCH=http://127.0.0.1:9200.
// Without it these are ignored; in the laboratory tests/e2e asks the same of each cluster's own.
import assert from "node:assert/strict";
import type { OpenSearch } from "../../../lib/opensearch/client.ts";
import { wantedTemplate } from "../../../lib/opensearch/documents.ts";
import { ensure } from "../../../lib/core/resource.ts";
import { indexTemplate } from "../../../scripts/components/logging/documents.ts";
import { searchBody, searchOf } from "../../../scripts/components/logging/search.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { bulkBodies, judge, nastyLines } from "../../support/nasty_lines.ts";

const url = Deno.env.get("LIVE_OPENSEARCH");
const os: OpenSearch = { fetch: (path, init) => fetch(url + path, init) };
const DAY = "2001.02.03";

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
      const template = wantedTemplate("logs", indexTemplate(await fixtureCluster("197")));
      await ensure(template, os);
      assert.equal((await ensure(template, os)).outcome, "unchanged");
      try {
        await run();
      } finally {
        await call("DELETE", "/logs-k8s-*,logs-host-*?ignore_unavailable=true");
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

live(
  "P3: at the limit of shards the lines of today go on, and tomorrow's index says so today",
  async () => {
    await call("PUT", `/logs-k8s-${DAY}`);
    const { status } = await call("GET", "/_cluster/health");
    assert.equal(status, "green");
    const { active_shards } = await call("GET", "/_cluster/health");
    const limit = (value: number | null) =>
      call(
        "PUT",
        "/_cluster/settings",
        JSON.stringify({ persistent: { "cluster.max_shards_per_node": value } }),
      );
    await limit(active_shards);
    try {
      const action = JSON.stringify({ create: { _index: `logs-k8s-${DAY}` } });
      const { errors } = await call("POST", "/_bulk", `${action}\n{"log":"goes on"}\n`);
      assert.equal(errors, false);
      await assert.rejects(call("PUT", "/logs-k8s-2001.02.04"), /maximum shards open/);
    } finally {
      await limit(null);
    }
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

// The keeper's own shell script, run against a double of ISM's two calls.
import assert from "node:assert/strict";
import { LOG_INDICES } from "../../../scripts/components/logging/objects.ts";
import { keeperOf, valueOf } from "../../support/keeper.ts";

/**
 * ISM with these indices; true is one that has failed. Answers as 3.8 does, filter_path included. With a template, which
 * is for `patterns`, it makes new indices, up to a `room`.
 */
function ism(indices: Map<string, boolean>, room?: number, patterns = LOG_INDICES) {
  const retried: string[] = [];
  const made: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/_index_template/logs" && room !== undefined) {
      const index_template = { index_patterns: patterns };
      return Response.json({ index_templates: [{ name: "logs", index_template }] });
    }
    if (request.method === "PUT") {
      const reason = made.includes(pathname)
        ? "resource_already_exists_exception"
        : "[2]/[2] maximum LOCAL_ONLY shards open;";
      const refused = made.includes(pathname) || made.length >= room!;
      if (refused) return Response.json({ error: { reason } }, { status: 400 });
      made.push(pathname);
      return Response.json({ acknowledged: true });
    }
    const [, verb, name] = /^\/_plugins\/_ism\/(\w+)\/(.+)$/.exec(pathname) ?? [];
    if (verb === "retry" && request.method === "POST") {
      retried.push(name!);
      indices.set(name!, false);
      return Response.json({ updated_indices: 1, failures: false, failed_indices: [] });
    }
    if (verb !== "explain") return Response.json({ error: "no handler found" }, { status: 400 });
    if (indices.size === 0) {
      const reason = "Validation Failed: 1: no documents to get;";
      return Response.json({ error: { reason }, status: 400 }, { status: 400 });
    }
    assert.equal(searchParams.get("filter_path"), "total_managed_indices,*.action.failed");
    const entries = [...indices].map(([index, failed]) => [index, { action: { failed } }]);
    return Response.json({ ...Object.fromEntries(entries), total_managed_indices: indices.size });
  });
  return { server, retried, made, url: `http://127.0.0.1:${(server.addr as Deno.NetAddr).port}` };
}

function indicesOf(day: string): string[] {
  return LOG_INDICES.map((pattern) => `/${pattern.replace("*", day)}`);
}

Deno.test("B33, B34: the keeper retries what ISM gave up, names it as a metric, and leaves the rest", async () => {
  const stuck = "logs-k8s-2026.11.08";
  const { server, retried, url } = ism(new Map([[stuck, true], ["logs-host-2026.11.08", false]]));
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await using keeper = await keeperOf(url);
  const { said, metrics } = await keeper.look();
  assert.deepEqual(retried, [stuck]);
  assert.match(said, /logs-k8s-2026\.11\.08 has failed, asked for another try: .*"failures":false/);
  assert.equal(valueOf(metrics, "opensearch_ism_managed_indices"), 2);
  assert.equal(valueOf(metrics, "opensearch_ism_failed_indices"), 1);
  assert.equal(valueOf(metrics, `opensearch_ism_failed_index{index="${stuck}"}`), 1);
  assert.equal(valueOf(metrics, "opensearch_ism_retries_total"), 1);
  const age = Date.now() / 1000 - valueOf(metrics, "opensearch_ism_last_look_timestamp_seconds")!;
  assert.ok(age < 60, `the look is ${age} s old`);
});

Deno.test("the keeper: once an index is well again its series goes, the count of retries stays", async () => {
  const { server, url } = ism(new Map([["logs-k8s-2026.11.08", true]]));
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await using keeper = await keeperOf(url);
  const { metrics } = await keeper.look(2);
  assert.equal(valueOf(metrics, "opensearch_ism_failed_indices"), 0);
  assert.ok(!metrics.includes("opensearch_ism_failed_index{"));
  assert.equal(valueOf(metrics, "opensearch_ism_retries_total"), 1);
});

Deno.test("the keeper: without a log index there is nothing to watch; without an answer no new time", async () => {
  const { server, url } = ism(new Map());
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await using young = await keeperOf(url);
  const { metrics } = await young.look();
  assert.equal(valueOf(metrics, "opensearch_ism_managed_indices"), 0);
  assert.equal(valueOf(metrics, "opensearch_ism_failed_indices"), 0);

  await using blind = await keeperOf(`${url}/elsewhere`);
  const looked = await blind.look();
  assert.match(looked.said, /^cannot look: .*400/);
  assert.equal(looked.metrics, "");
});

Deno.test("P3: the keeper makes the next day's indices from noon on, once a deploy had its time", async () => {
  const { server, made, url } = ism(new Map(), 3);
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await using keeper = await keeperOf(url);
  await keeper.look();
  assert.deepEqual(made, []);
  const { metrics, said } = await keeper.look(3);
  const day = new Date(Date.now() + 43_200_000).toISOString().slice(0, 10).replaceAll("-", ".");
  assert.deepEqual(made, indicesOf(day));
  assert.equal(valueOf(metrics, "opensearch_log_indices_unmade"), 0);
  assert.equal(said, "");
});

Deno.test("P3: the day of which the keeper makes the indices changes at noon and at no other time (UTC)", async () => {
  const days = [
    ["2026-12-30T23:59:59Z", "2026.12.31"],
    ["2026-12-31T00:00:00Z", "2026.12.31"],
    ["2026-12-31T11:59:59Z", "2026.12.31"],
    ["2026-12-31T12:00:00Z", "2027.01.01"],
    ["2028-02-28T12:00:00Z", "2028.02.29"],
    ["2028-02-29T23:59:59Z", "2028.03.01"],
  ];
  for (const [at, day] of days) {
    const { server, made, url } = ism(new Map(), 3);
    await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
    await using keeper = await keeperOf(url);
    await keeper.look(2, new Date(at!));
    assert.deepEqual(made, indicesOf(day!), at);
  }
});

Deno.test("P3: what the keeper cannot make is counted and told with OpenSearch's reason; without our template it makes none", async () => {
  const { server, url } = ism(new Map(), 2);
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await using keeper = await keeperOf(url);
  const { metrics, said } = await keeper.look(2);
  assert.equal(valueOf(metrics, "opensearch_log_indices_unmade"), 1);
  assert.match(said, /^cannot make logs-events-\S+: [^]*shards open/);

  const bare = ism(new Map());
  await using __ = { [Symbol.asyncDispose]: () => bare.server.shutdown() };
  await using early = await keeperOf(bare.url);
  await early.look(3);
  assert.deepEqual(bare.made, []);
});

Deno.test("P3: the keeper makes no index that the template of an older deploy does not know", async () => {
  const older = LOG_INDICES.filter((pattern) => pattern !== "logs-events-*");
  const { server, made, url } = ism(new Map(), 3, older);
  await using _ = { [Symbol.asyncDispose]: () => server.shutdown() };
  await using keeper = await keeperOf(url);
  const { metrics } = await keeper.look(3, new Date("2026-12-30T23:59:59Z"));
  assert.deepEqual(made, ["/logs-k8s-2026.12.31", "/logs-host-2026.12.31"]);
  assert.equal(valueOf(metrics, "opensearch_log_indices_unmade"), 0);
});

import assert from "node:assert/strict";
import type { Json, OpenSearch } from "../../../lib/opensearch/client.ts";
import { clockOf } from "../../../lib/core/time.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { closing, linesOf, newest } from "../../../scripts/operate/logs.ts";
import {
  lineOf,
  printable,
  searchBody,
  searchLogs,
  searchOf,
  utcDay,
} from "../../../scripts/components/logging/search.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

/** An OpenSearch with one answer, and what it was asked. */
function answering(body: unknown, status = 200): OpenSearch & { asked: [string, Json][] } {
  const asked: [string, Json][] = [];
  return {
    asked,
    pause: 1,
    fetch(path, init = {}) {
      asked.push([path, JSON.parse(String(init.body))]);
      return Promise.resolve(Response.json(body, { status }));
    },
  };
}

const POD = {
  "@timestamp": "2026-11-08T01:02:03.123456789Z",
  cluster: "cluster-197-edge",
  log: "it works\n",
  kubernetes: { namespace_name: "shop", pod_name: "web-0", container_name: "app" },
};
const HOST = {
  "@timestamp": "2026-11-08T01:02:04.000Z",
  hostname: "mkube",
  systemd_unit: "kubelet.service",
  message: "node is ready",
};

function found(...sources: object[]) {
  const hits = sources.map((_source, index) => ({ _source, sort: [sources.length - index] }));
  return {
    hits: { total: { value: 7 }, hits },
    _shards: { total: 2, successful: 2, failed: 0 },
  };
}

Deno.test("searchOf() reads the environment and has defaults", () => {
  const nothing = {
    what: "line",
    query: undefined,
    day: undefined,
    namespace: undefined,
    pod: undefined,
  };
  assert.deepEqual(searchOf({}), { ...nothing, since: "15m", limit: 200 });
  assert.deepEqual(
    searchOf({ QUERY: "  ", SINCE: "", LIMIT: "", DAY: "", NAMESPACE: "", POD: "" }),
    { ...nothing, since: "15m", limit: 200 },
  );
  assert.deepEqual(
    searchOf({
      QUERY: 'a "b c"',
      SINCE: "2h",
      LIMIT: "5",
      DAY: "2026-11-08",
      NAMESPACE: "shop",
      POD: "w",
    }),
    {
      what: "line",
      query: 'a "b c"',
      since: "2h",
      limit: 5,
      day: "2026.11.08",
      namespace: "shop",
      pod: "w",
    },
  );
});

const UNREADABLE: Record<string, string>[] = [
  { LIMIT: "0" },
  { LIMIT: "10001" },
  { LIMIT: "1.5" },
  { LIMIT: "many" },
  { SINCE: "1 hour" },
  { SINCE: "0h" },
  { SINCE: "now-1h" },
  { DAY: "yesterday" },
  { DAY: "2026.13.01" },
  { DAY: "2026.02.30" },
  { DAY: "2026.1.2" },
];

for (const environment of UNREADABLE) {
  Deno.test(`searchOf() refuses ${JSON.stringify(environment)} with an example`, () => {
    assert.throws(() => searchOf(environment), (error: DeployError) => {
      const [[name, value]] = Object.entries(environment) as [[string, string]];
      assert.equal(error.exitCode, 2);
      assert.match(error.message, new RegExp(`Cannot read ${name} "${value}"`));
      assert.match(error.fix!, new RegExp(`^${name}=`));
      return true;
    });
  });
}

Deno.test("utcDay() is written as index names are", () => {
  assert.deepEqual(["2026.11.08", "2026-11-08", "2028.02.29"].map(utcDay), [
    "2026.11.08",
    "2026.11.08",
    "2028.02.29",
  ]);
});

Deno.test("searchBody() filters by time, namespace and pod; words are all wanted", () => {
  const { query, size } = searchBody(
    searchOf({ QUERY: "a b", SINCE: "1h", NAMESPACE: "shop", POD: "web", LIMIT: "9" }),
  );
  assert.equal(size, 9);
  assert.deepEqual(query, {
    bool: {
      filter: [
        { range: { "@timestamp": { gte: "now-1h" } } },
        {
          bool: {
            should: [
              { term: { "kubernetes.namespace_name": "shop" } },
              { term: { "involvedObject.namespace": "shop" } },
            ],
          },
        },
        {
          bool: {
            should: [
              { prefix: { "kubernetes.pod_name": "web" } },
              { prefix: { "involvedObject.name": "web" } },
            ],
          },
        },
        {
          query_string: {
            query: "a b",
            fields: ["log", "message", "log.cjk", "message.cjk", "reason"],
            default_operator: "AND",
          },
        },
      ],
    },
  });
});

Deno.test("searchBody() of a day is that day in UTC, whatever SINCE says", () => {
  const { query } = searchBody(searchOf({ DAY: "2026.12.31", SINCE: "1h" }));
  const bounds = { gte: "2026-12-31T00:00:00.000Z", lt: "2027-01-01T00:00:00.000Z" };
  assert.deepEqual(query, { bool: { filter: [{ range: { "@timestamp": bounds } }] } });
});

Deno.test("searchLogs() gives lines of pods and hosts, newest first, and how many match", async () => {
  const os = answering(found(HOST, POD));
  const { lines, total, silent } = await searchLogs(os, searchOf({}), "cluster-196-central", "UTC");
  assert.deepEqual(lines, [
    {
      at: 2,
      cluster: "cluster-196-central",
      text: "2026-11-08T01:02:04.000Z  mkube kubelet.service  node is ready",
    },
    {
      at: 1,
      cluster: "cluster-197-edge",
      text: "2026-11-08T01:02:03.123Z  shop/web-0 app  it works",
    },
  ]);
  assert.deepEqual([total, silent], [7, []]);
  assert.equal(os.asked[0]![0], "/logs-*,restored-*/_search?ignore_unavailable=true");
});

const EVENT = {
  "@timestamp": "2026-11-08T01:02:05.000000000Z",
  cluster: "cluster-197-edge",
  metadata: { name: "web-0.18a", namespace: "shop" },
  involvedObject: { kind: "Pod", namespace: "shop", name: "web-0" },
  type: "Warning",
  reason: "BackOff",
  message: "Back-off restarting failed container",
  count: 12,
};

Deno.test("searchLogs() of events asks for nothing else, and tells what each is about", async () => {
  const node = {
    ...EVENT,
    involvedObject: { kind: "Node", name: "mkube" },
    count: undefined,
    series: { count: 1 },
  };
  const repeated = { ...node, series: { count: 3 } };
  const os = answering(found(EVENT, node, repeated));
  const { lines } = await searchLogs(os, searchOf({}, true), "c", "UTC");
  assert.deepEqual(lines.map(({ text }) => text.slice("2026-11-08T01:02:05.000Z  ".length)), [
    "Pod/shop/web-0  Warning BackOff (12 times)  Back-off restarting failed container",
    "Node/mkube  Warning BackOff  Back-off restarting failed container",
    "Node/mkube  Warning BackOff (3 times)  Back-off restarting failed container",
  ]);
  assert.match(os.asked[0]![0], /^\/logs-events-\*,restored-\*logs-events-\*\/_search\?/);
});

Deno.test("searchLogs() tells of shards that did not answer", async () => {
  const failures = [{ reason: { reason: "outer", caused_by: { reason: "no space" } } }];
  const os = answering({ ...found(POD), _shards: { failed: 1, failures } });
  assert.deepEqual((await searchLogs(os, searchOf({}), "c", "UTC")).silent, ["no space"]);
});

Deno.test("searchLogs() ends with exit 2 and the parser's reason when the query is wrong", async () => {
  const caused_by = { reason: 'Encountered " <AND> " at column 5.\nWas expecting one of:\n "+"' };
  const reason = { reason: "Failed to parse query [foo( AND]", caused_by };
  const body = { error: { reason: "all shards failed", failed_shards: [{ reason }, { reason }] } };
  const search = searchLogs(answering(body, 400), searchOf({ QUERY: "foo( AND" }), "c", "UTC");
  await assert.rejects(search, (error: DeployError) => {
    assert.equal(error.exitCode, 2);
    assert.match(error.message, /"foo\( AND"/);
    assert.deepEqual(error.where, ['Encountered " <AND> " at column 5.']);
    return true;
  });
});

Deno.test("searchLogs() ends with exit 8 when OpenSearch is broken", async () => {
  const os = answering({ error: { reason: "all shards failed" } }, 500);
  await assert.rejects(
    searchLogs(os, searchOf({ QUERY: "a" }), "c", "UTC"),
    (error: DeployError) => {
      assert.equal(error.exitCode, 8);
      assert.deepEqual(error.where, ["all shards failed"]);
      return true;
    },
  );
});

Deno.test("lineOf() gives the time of the zone that people read in, with its offset", () => {
  const source = { "@timestamp": "2026-11-08T18:30:00.123456789Z", log: "x" };
  const text = (zone: string) => lineOf({ _source: source, sort: [1] }, "c", clockOf(zone)).text;
  assert.match(text("Asia/Seoul"), /^2026-11-09T03:30:00\.123\+09:00 /);
  assert.match(text("UTC"), /^2026-11-08T18:30:00\.123Z /);
});

Deno.test("lineOf() names what wrote a host line, and shows what has no text as it is", () => {
  const text = (source: object) => lineOf({ _source: source, sort: [1] }, "c", clockOf("UTC")).text;
  const { systemd_unit: _, ...rest } = HOST;
  assert.match(text({ ...rest, syslog_identifier: "kernel" }), /mkube kernel {2}node/);
  assert.match(text({ ...rest, path: "/var/log/dmesg" }), /mkube \/var\/log\/dmesg {2}node/);
  assert.equal(text({ a: 1 }), 'undefined  host -  {"a":1}');
});

Deno.test("printable() lets nothing act on the terminal", () => {
  assert.equal(printable("\x1b[1;31mred\x1b[0m"), "red");
  assert.equal(
    printable("\x1b]0;title\x07 \b \r \x9b1A"),
    "\\x1b]0;title\\x07 \\x08 \\x0d \\x9b1A",
  );
  assert.equal(printable("a\tb\r\nc\n"), "a\tb\n    c");
  assert.equal(printable("\u202egnp.exe\u2028"), "\\u202egnp.exe");
  assert.equal(printable("로그 🙂 é"), "로그 🙂 é");
});

Deno.test("newest() merges clusters, cuts the oldest and turns them round", () => {
  const line = (at: number) => ({ at, cluster: "c", text: String(at) });
  const lines = newest([line(9), line(5), line(1), line(8), line(2)], 3);
  assert.deepEqual(lines.map(({ at }) => at), [5, 8, 9]);
});

Deno.test("linesOf() names clusters only where they differ from the one that was asked", () => {
  const lines = [{ at: 1, cluster: "a", text: "x" }, { at: 2, cluster: "b", text: "y" }];
  assert.deepEqual(linesOf(lines.slice(0, 1), "a"), ["x"]);
  assert.deepEqual(linesOf(lines.slice(0, 1)), ["a  x"]);
  assert.deepEqual(linesOf(lines, "a"), ["a  x", "b  y"]);
});

Deno.test("closing() says how many of how many, and how to get others", async () => {
  const edge = await fixtureCluster("197");
  const say = (environment: Record<string, string>, shown: number, total: number) =>
    closing(searchOf(environment), [edge], shown, total);
  assert.equal(
    say({ QUERY: "a\x07", NAMESPACE: "shop", POD: "web" }, 200, 1234),
    "the newest 200 of 1234 lines of the last 15m for a\\x07 in namespace shop of pods web* " +
      "on 197; more: LIMIT=1000",
  );
  assert.equal(
    say({ SINCE: "1h" }, 1, 1),
    "1 line of the last 1h on 197; older ones: SINCE=1d, or a day: DAY=2026.11.08",
  );
  assert.match(say({}, 0, 0), /^no line of the last 15m on 197; older ones: SINCE=1d/);
  assert.match(
    say({ DAY: "2026.11.08" }, 0, 0),
    /^no line of 2026\.11\.08 \(UTC\) on 197; .*make restore-logs CLUSTER=197/,
  );
  assert.match(
    closing(searchOf({ POD: "web" }, true), [edge], 2, 2),
    /^2 events of the last 15m of pods web\* on 197; /,
  );
  assert.match(say({ LIMIT: "9000" }, 9000, 9001), /more: LIMIT=10000$/);
  const standIn = { ...edge, vars: { ...edge.vars, STAND_INS: "fluent-bit" } };
  const ofLab = (clusters: Cluster[], total = 0) =>
    closing(searchOf({}), clusters, total, total).replace(/^.*?; /, "");
  assert.equal(ofLab([standIn]), "not shown here (fluent-bit is a stand-in)");
  assert.match(ofLab([standIn, edge]), /^older ones/);
  assert.match(ofLab([standIn], 1), /^older ones/);

  // What restore-logs refuses: a paused cluster as the one that it writes to.
  const until = (end: number) => ({ ...edge, pause: { reason: "moving", until: "", end } });
  const of = (end: number) => closing(searchOf({ DAY: "2026.11.08" }), [until(end)], 0, 0);
  assert.match(of(Date.now()), /make restore-logs CLUSTER=196 FROM=197 lists/);
  assert.match(of(0), /make restore-logs CLUSTER=197 lists/);
});

// What finding every word of a log line costs on a real OpenSearch node: bytes and processor time of an index as it is
// rendered, beside one without the pairs of Korean letters, and one that maps every field of a JSON line.
import { setTimeout as sleep } from "node:timers/promises";
import process from "node:process";
import { ensure } from "../../lib/core/resource.ts";
import { table } from "../../lib/io/report.ts";
import type { Json } from "../../lib/opensearch/client.ts";
import { document } from "../../lib/opensearch/documents.ts";
import { logging } from "../../scripts/40-logging.ts";
import { documentSpec } from "../../scripts/components/logging/objects.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { type LiveNode, LiveSite } from "../support/opensearch_nodes.ts";
import type { Bench } from "./context.ts";
import { medianOf } from "./measure.ts";

/** Lines of each index, and of one request. */
const LINES = 40_000, AT_ONCE = 5_000;

/** A made-up line: three in ten of a web server, three of a program, three JSON, one Korean. */
function lineOf(index: number): string {
  const number = (index * 7919) % 100_003, ms = number % 997;
  const user = `user-${number % 5003}`, id = (number * 2654435761 >>> 0).toString(16);
  const at = new Date(Date.UTC(2001, 1, 3) + index * 400).toISOString();
  switch (index % 10) {
    case 0:
      return `${at} 사용자 ${user}님의 주문 ${id}번이 결제서버에서 ${ms}밀리초 만에 처리되었습니다`;
    case 1:
    case 2:
    case 3:
      return `10.0.${ms % 256}.${number % 256} - ${user} [${at}] "GET /api/v1/orders/${id}?page=${
        number % 50
      } HTTP/1.1" 200 ${number} "-" "Mozilla/5.0 (X11; Linux x86_64)" ${ms}`;
    case 4:
    case 5:
    case 6:
      return `${at} INFO  [worker-${
        number % 16
      }] com.example.shop.OrderService - order ${id} of ${user} settled in ${ms} ms`;
    default: {
      const request = { id, method: "POST", path: `/cart/${number % 31}`, ms };
      return JSON.stringify({ level: "info", time: at, msg: "request served", user, request });
    }
  }
}

/** A line as Fluent Bit sends it, with the fields of a JSON line where `open`. */
function documentOf(index: number, open: boolean): Json {
  const log = lineOf(index), pod = `shop-${index % 40}`;
  return {
    "@timestamp": new Date(Date.UTC(2001, 1, 3) + index * 400).toISOString(),
    log: `${log}\n`,
    stream: "stdout",
    cluster: "cluster-197-edge",
    kubernetes: {
      namespace_name: "shop",
      pod_name: pod,
      container_name: "app",
      host: "mkube-197",
      labels: { app: "shop", version: `v${index % 3}` },
    },
    ...(open && log.startsWith("{") && { app: JSON.parse(log) }),
  };
}

/** The templates that are compared, by the name of their row. */
function templatesOf(rendered: Json): [name: string, template: Json, open: boolean][] {
  const text = JSON.stringify(rendered), plain = JSON.parse(text), open = JSON.parse(text);
  for (const { template } of [plain, open]) {
    delete template.settings.analysis;
    for (const field of ["log", "message"]) template.mappings.properties[field] = { type: "text" };
  }
  open.template.mappings.dynamic = true;
  return [
    ["as rendered", rendered, false],
    ["without pairs of letters", plain, false],
    ["that, with each field of JSON mapped", open, true],
  ];
}

/** Fills one index; bytes a line once it is merged, and seconds of the node's processor for 100,000 lines. */
async function filled(node: LiveNode, template: Json, open: boolean) {
  const index = "logs-k8s-2001.02.03";
  // One that says more than is wanted would be left as it is.
  await node.call("DELETE", "/_index_template/logs");
  await ensure(document("IndexTemplate", "logs", template), node);
  const before = await node.cpuSeconds();
  const action = JSON.stringify({ create: { _index: index } });
  for (let from = 0; from < LINES; from += AT_ONCE) {
    const body = Array.from(
      { length: AT_ONCE },
      (_, at) => `${action}\n${JSON.stringify(documentOf(from + at, open))}\n`,
    ).join("");
    const { errors } = await node.call("POST", "/_bulk", body);
    if (errors !== false) throw new Error(`lines from ${from} on are refused`);
  }
  const written = await node.cpuSeconds();
  await node.call("POST", `/${index}/_forcemerge?max_num_segments=1`);
  await node.call("POST", `/${index}/_flush`);
  await sleep(11_000); // it measures a shard's folder once in ten seconds
  const { _all: { primaries } } = await node.call("GET", `/${index}/_stats/store`);
  await node.call("DELETE", `/${index}`);
  return {
    bytes: primaries.store.size_in_bytes / LINES,
    seconds: (written - before) / LINES * 100_000,
  };
}

/** The table; needs the root file system of the image (LIVE_OPENSEARCH_ROOT), Linux and root. */
export async function searchedWords({ report }: Bench, rounds: number): Promise<string> {
  const root = process.env.LIVE_OPENSEARCH_ROOT;
  if (!root) {
    report.note("case logs is left out: LIVE_OPENSEARCH_ROOT is not set");
    return "";
  }
  const cluster = await fixtureCluster("197", { OPENSEARCH_HEAP: "512m" });
  await using site = await LiveSite.of({ root, objects: await logging.objects(cluster) });
  const node = site.nodes[0]!, templates = templatesOf(documentSpec("index-template", cluster));
  await node.up();
  await filled(node, templates[0]![1], false); // warms the JVM
  const rows = new Map<string, { bytes: number; seconds: number }[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, template, open] of templates) {
      rows.set(name, [...rows.get(name) ?? [], await filled(node, template, open)]);
    }
  }
  return table([
    ["index", "bytes a line", "CPU s per 100,000 lines"],
    ...[...rows].map(([name, all]) => [
      name,
      medianOf(all.map(({ bytes }) => bytes)).toFixed(0),
      medianOf(all.map(({ seconds }) => seconds)).toFixed(1),
    ]),
  ]);
}

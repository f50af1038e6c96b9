// Worlds whose rates, volumes and times are known: what the rules say must be what is true there, at any
// interval of scrapes, with the retention of 2h, across a restart and a gap.
import { durationSeconds } from "../../lib/core/quantity.ts";
import assert from "node:assert/strict";
import { HELD, ownRules, promtoolAccepts, rulesOf } from "./promtool.ts";

const MINUTE = 60;
const HOUR = 3600;
const INTERVALS = ["10s", "30s", "1m", "2m"];

/** A series by the second; undefined where nobody scraped it. */
type Course = (second: number) => number | undefined;

interface World {
  name: string;
  /** Rules that are looked at. */
  rules: string[];
  series: Record<string, Course>;
  /** A second, and a PromQL condition that must hold then. */
  truths: [second: number, condition: string][];
}

/** Runs a world at one interval; nothing is known of what is older than Prometheus keeps. */
async function holds({ name, rules, series, truths }: World, interval: string): Promise<void> {
  const files = await ownRules("196", { SCRAPE_INTERVAL: interval, SCRAPE_TIMEOUT: "5s" });
  const groups = [...files.values()].flat()
    .map((group) => ({
      ...group,
      rules: group.rules.filter(({ alert, record }) => rules.includes(alert ?? record!)),
    }))
    .filter((group) => group.rules.length > 0);
  assert.equal(groups.flatMap((group) => group.rules).length, rules.length);
  const step = durationSeconds(interval);
  const end = Math.max(...truths.map(([second]) => second));
  await promtoolAccepts(["test", "rules", "world.test"], [
    ["world.rules", { groups }],
    ["world.test", {
      rule_files: ["world.rules"],
      evaluation_interval: interval,
      tests: [{
        name: `${name} at ${interval}`,
        interval,
        input_series: Object.entries(series).map(([series, course]) => ({
          series,
          values: Array.from(
            { length: Math.floor(end / step) + 1 },
            (_, index) => course(index * step) ?? "_",
          ).join(" "),
        })),
        promql_expr_test: truths.map(([second, condition]) => ({
          expr: `count(${condition}) or vector(0)`,
          eval_time: `${second}s`,
          exp_samples: [{ labels: "{}", value: 1 }],
        })),
      }],
    }],
  ]);
}

/** The condition that a metric is what it should be, to a twentieth. */
function about(metric: string, wanted: number): string {
  return `abs(${metric} / ${wanted} - 1) < 0.05`;
}

function firing(alert: string): string {
  return `ALERTS{alertname="${alert}",alertstate="firing"}`;
}

function silent(alert: string): string {
  return `vector(1) unless on () ${firing(alert)}`;
}

// LOG_BUFFER.
const BUFFER = 5e9;
const OUTPUT = `{node="a",name="os_k8s",pod="x"}`;
const DELIVERED = `fluentbit_output_proc_bytes_total${OUTPUT}`;
const ROOM = `fluentbit_output_chunk_available_capacity_percent${OUTPUT}`;
const LEFT = "fluentbit_buffer_left_seconds";
const BUFFER_RULES = ["fluentbit_buffer_arriving_bytes", LEFT];

/** 100 kB a second arrive; OpenSearch is away for an hour, and then takes as much again. */
const RATE = 100_000;
const outage = (from: number) => {
  const waits: Course = (at) =>
    at < from
      ? 0
      : at < from + HOUR
      ? RATE * (at - from)
      : Math.max(0, RATE * HOUR - RATE * (at - from - HOUR));
  return { waits, delivered: (at: number) => RATE * at - waits(at)! };
};
const { waits, delivered } = outage(2 * HOUR);

const VOLUME = 30 * 2 ** 30;
const DISK = `{cluster="c",name="opensearch-0"}`;
/** Bytes a second that fill a volume which is half full to 95 % in so many days. */
const filling = (days: number) => 0.45 * VOLUME / (days * 24 * HOUR);
const disk = (days: number): Record<string, Course> => ({
  [`opensearch_filesystem_data_size_bytes${DISK}`]: () => VOLUME,
  // Merges take and give back room for some minutes.
  [`opensearch_filesystem_data_available_bytes${DISK}`]: (at) =>
    VOLUME / 2 - filling(days) * at - (at % (20 * MINUTE) < 5 * MINUTE ? 5e7 : 0),
});

const READ = `fluentbit_input_records_total{node="a",name="tail_containers"}`;
const lines = (before: number, then: number, from: number): Course => (at) =>
  before * Math.min(at, from) + then * Math.max(0, at - from);

/** A sidecar whose uploads have stopped after the one of second 0; blocks are cut each two hours. */
const POD = `namespace="monitoring",pod="p"`;
const UPLOAD = `thanos_objstore_bucket_last_successful_upload_time{job="thanos-sidecar",${POD}}`;
const RETENTION =
  `prometheus_tsdb_retention_limit_seconds{job="kube-prometheus-stack-prometheus",${POD}}`;

const WORLDS: World[] = [
  {
    name: "the buffer, with three hours of history",
    rules: BUFFER_RULES,
    series: { [DELIVERED]: (at) => RATE * at, [ROOM]: () => 100 },
    truths: [[10 * MINUTE, about(LEFT, BUFFER / RATE)], [HELD, about(LEFT, BUFFER / RATE)]],
  },
  {
    name: "the buffer, in an outage and after it",
    rules: BUFFER_RULES,
    series: { [DELIVERED]: delivered, [ROOM]: (at) => 100 * (1 - waits(at)! / BUFFER) },
    truths: [2.5 * HOUR, 2.9 * HOUR, 3.5 * HOUR, 4.5 * HOUR].map((at) =>
      [at, about(LEFT, (BUFFER - waits(at)!) / RATE)] as [number, string]
    ),
  },
  {
    name: "the buffer, when Fluent Bit has begun to count anew, and after a gap of an hour",
    rules: BUFFER_RULES,
    series: {
      [DELIVERED]: (at) =>
        at < HOUR ? RATE * at : at < 2 * HOUR ? undefined : RATE * (at - HOUR - 10 * MINUTE),
      [ROOM]: (at) => at >= HOUR && at < 2 * HOUR ? undefined : 100,
    },
    truths: [[2 * HOUR + 30 * MINUTE, about(LEFT, BUFFER / RATE)]],
  },
  {
    name: "a volume that is full in one and a half days",
    rules: ["OpenSearchDiskFillsSoon"],
    series: disk(1.5),
    truths: [[HELD, firing("OpenSearchDiskFillsSoon")]],
  },
  {
    name: "a volume that is full in three days",
    rules: ["OpenSearchDiskFillsSoon"],
    series: disk(3),
    truths: [[HELD, silent("OpenSearchDiskFillsSoon")]],
  },
  {
    name: "a flood, twenty times of before",
    rules: ["FluentBitFlood"],
    series: { [READ]: lines(30, 600, 3 * HOUR) },
    truths: [
      [3 * HOUR, silent("FluentBitFlood")],
      [3 * HOUR + 40 * MINUTE, firing("FluentBitFlood")],
    ],
  },
  {
    name: "a rush hour, five times of before, behind a gap",
    rules: ["FluentBitFlood"],
    series: {
      [READ]: (at) => at > 2 * HOUR && at < 2.5 * HOUR ? undefined : lines(50, 250, 3 * HOUR)(at),
    },
    truths: [[4 * HOUR, silent("FluentBitFlood")]],
  },
  {
    name:
      "uploads that have stopped: the block of two hours later goes when the next but one is cut",
    rules: ["ThanosBlockLossImminent", "ThanosBlockUploadLagging"],
    series: {
      // Uploaded at second 60; the one that fails is cut at 2 h, and is deleted at 4 h.
      [UPLOAD]: () => 60,
      [RETENTION]: () => 2 * HOUR,
    },
    truths: [
      [2 * HOUR, silent("ThanosBlockUploadLagging")],
      [3 * HOUR, firing("ThanosBlockUploadLagging")],
      [3 * HOUR + 25 * MINUTE, silent("ThanosBlockLossImminent")],
      [3 * HOUR + 35 * MINUTE, firing("ThanosBlockLossImminent")],
    ],
  },
  {
    name: "one S3 call in ten fails",
    rules: ["ThanosObjstoreErrors"],
    series: Object.fromEntries(
      [["operations_total", 60], ["operation_failures_total", 600]].map(([what, every]) => [
        `thanos_objstore_bucket_${what}{namespace="m",job="thanos-store",bucket="b",operation="get"}`,
        (at: number) => Math.floor(10 * at / Number(every)),
      ]),
    ),
    truths: [[40 * MINUTE, firing("ThanosObjstoreErrors")]],
  },
];

for (const interval of INTERVALS) {
  for (const world of WORLDS) {
    Deno.test(`R1: ${world.name}, scraped every ${interval}`, () => holds(world, interval));
  }

  Deno.test(`R1: no own rule takes a rate of less than four scrapes of ${interval}, nor looks further back than Prometheus keeps`, async () => {
    for (const id of ["196", "197"]) {
      const files = await ownRules(id, { SCRAPE_INTERVAL: interval, SCRAPE_TIMEOUT: "5s" });
      // The Ruler asks Query, which has the bucket.
      const rules = rulesOf(new Map([...files].filter(([file]) => !file.endsWith(".yaml"))));
      assert.ok(rules.length > 40);
      for (const { alert, record, expr } of rules) {
        for (
          const [, window, offset = "0s"] of expr.matchAll(/\[(\w+)[^\]]*\](?: offset (\w+))?/g)
        ) {
          const seconds = durationSeconds(window!);
          assert.ok(seconds >= 4 * durationSeconds(interval), `${alert ?? record}: [${window}]`);
          assert.ok(seconds + durationSeconds(offset) <= HELD, `${alert ?? record}: [${window}]`);
        }
      }
    }
  });
}

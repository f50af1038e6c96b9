// The long term: blocks in the bucket, merged, thinned out and aged by the one Compactor, and answered
// by Store where no Prometheus has samples.
import assert from "node:assert/strict";
import { text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { sourcesOf } from "../manifests/expressions.ts";
import { blocks, METRIC, span, STREAM, uploadHistory } from "./history.ts";
import {
  ask,
  central,
  check,
  eventually,
  figure,
  fleet,
  get,
  labelValues,
  names,
  pods,
  PROMETHEUS,
  QUERY,
  seconds,
} from "./site.ts";

const DAY = 86_400;

interface Series {
  metric: Record<string, string>;
  values: [time: number, value: string][];
}

async function history() {
  const all = await blocks(central);
  return all.filter(({ thanos }) => thanos.labels.prometheus_replica === STREAM);
}

/** When this run uploaded the last blocks; undefined when they were there. */
let uploaded: number | undefined;

check("a hundred days of blocks of every cluster reach the bucket", async () => {
  const there = new Set((await history()).map(({ thanos }) => thanos.labels.cluster));
  for (const cluster of fleet.filter(({ vars }) => !there.has(String(vars.CLUSTER_NAME)))) {
    const took = await seconds(() => uploadHistory(cluster));
    figure(`${cluster.id}: making and uploading 100 days`, `${took.toFixed(0)} s`);
    uploaded = performance.now();
  }
  assert.deepEqual(
    [...new Set((await history()).map(({ thanos }) => thanos.labels.cluster))].sort(),
    names,
  );
});

check("Store serves them, where no Prometheus holds anything", async () => {
  const time = span().to - DAY;
  await eventually(20, async () => {
    const { result } = await ask(central, QUERY, METRIC, { time: String(time) });
    assert.deepEqual(result.map(({ metric }) => metric.cluster).sort(), names);
    for (const { value } of result) assert.ok(Math.abs(Number(value[1]) - time) <= 120, value[1]);
  });
  if (uploaded) {
    const took = (performance.now() - uploaded) / 1000;
    figure("blocks uploaded: answered by Store after", `${took.toFixed(0)} s`);
  }
  const { result } = await ask(central, QUERY, "min(prometheus_tsdb_lowest_timestamp_seconds)");
  assert.ok(Number(result[0]!.value[1]) > time, "a Prometheus holds that time itself");
});

const [raw, fives, hours] = ["RAW", "5M", "1H"].map((name) =>
  durationSeconds(text(central, `RETENTION_${name}`)) / DAY
) as [number, number, number];

check(
  `the Compactor merges and ages them: ${raw}d raw, ${fives}d of 5m, ${hours}d of 1h`,
  async () => {
    await eventually(45, async () => {
      const now = Date.now();
      const found = await history();
      for (const name of names) {
        const own = found.filter(({ thanos }) => thanos.labels.cluster === name);
        const of = (resolution: number) =>
          own.filter(({ thanos }) => thanos.downsample.resolution === resolution * 1000);
        const oldest = (resolution: number) =>
          (now - Math.min(...of(resolution).map(({ maxTime }) => maxTime))) / 1000 / DAY;
        assert.ok(own.some(({ compaction }) => compaction.level > 1), `${name}: nothing is merged`);
        assert.ok(oldest(0) <= raw, `${name}: raw blocks of ${oldest(0).toFixed(1)} days ago`);
        assert.ok(oldest(300) <= fives, `${name}: 5m blocks of ${oldest(300).toFixed(1)} days ago`);
        const last = oldest(3600);
        assert.ok(last > 60 && last <= hours, `${name}: oldest 1h block ${last.toFixed(1)} days`);
      }
    });
    const { result } = await ask(central, QUERY, "max(thanos_compact_halted)");
    assert.equal(result[0]?.value[1], "0");
  },
);

// Blocks of 14 days go as a whole: by then finer samples of that day are gone for certain.
for (const [days, resolution, finest] of [[29, "5m", 300], [60, "1h", 3600]] as const) {
  check(`${days} days ago is answered by samples of ${resolution}`, async () => {
    const time = Math.floor(Date.now() / 1000 / DAY - days) * DAY;
    const there = (await history())
      .filter(({ minTime, maxTime }) => minTime <= time * 1000 && time * 1000 < maxTime)
      .map(({ thanos }) => thanos.downsample.resolution / 1000);
    assert.equal(Math.min(...there), finest);
    await eventually(20, async () => {
      const { result } = await ask(central, QUERY, METRIC, {
        time: String(time),
        max_source_resolution: resolution,
      });
      assert.deepEqual(result.map(({ metric }) => metric.cluster).sort(), names);
      for (const { value } of result) {
        assert.ok(Math.abs(Number(value[1]) - time) <= finest, `${value[1]} at ${time}`);
      }
    });
  });
}

const FRONTEND = { namespace: "monitoring", name: "thanos-frontend", port: 9090 };

for (const { uid, params, interval, shortest, resolution } of await sourcesOf(central)) {
  // How many days ago a view ends, and how many it shows. What insists on no resolution has short
  // windows as far back as raw samples are, and wide ones everywhere.
  const views: [ago: number, days: number][] = resolution > 0
    ? [[raw / 2, 1], [(raw + fives) / 2, 1], [(fives + hours) / 2, 1]]
    : [[(5 + raw) / 2, 5], [0, hours]];
  for (const [ago, days] of views) {
    check(`R2: ${uid} has rates in a view of ${days} days that ends ${ago} days ago`, async () => {
      // A panel of 720 points.
      const step = Math.max(days * DAY / 720, interval);
      const end = Math.floor((Date.now() / 1000 - ago * DAY) / step) * step;
      const window = Math.max(step + interval, shortest);
      const search = new URLSearchParams({
        query: `rate(${METRIC}[${window}s])`,
        start: String(end - days * DAY),
        end: String(end),
        step: String(step),
        ...params,
      });
      const path = `/api/v1/query_range?${search}`;
      const { data } = await get<{ data: { result: Series[] } }>(central, FRONTEND, path);
      assert.deepEqual(data.result.map(({ metric }) => metric.cluster).sort(), names);
      for (const { values } of data.result) {
        // The history ends some days ago.
        assert.ok(values.length > 0.8 * days * DAY / step, `${values.length} points`);
        // The metric is the time. Thanos' aggregates lack up to a sample where chunks meet.
        const wrong = values.filter(([, rate]) => Number(rate) < 0.6 || Number(rate) > 1.1);
        assert.ok(wrong.length < 0.05 * values.length, JSON.stringify(wrong.slice(0, 5)));
      }
    });
  }
}

check(
  "there is one Compactor in the fleet, and it looks as often as the settings say",
  async () => {
    assert.deepEqual(await labelValues("thanos_compact_iterations_total", "cluster"), [
      text(central, "CLUSTER_NAME"),
    ]);
    assert.equal((await pods(central, "app.kubernetes.io/name=thanos-compactor")).length, 1);
    const interval = durationSeconds(text(central, "COMPACTOR_WAIT_INTERVAL"));
    // It may have been started a moment ago.
    await eventually(3 * interval / 60, async () => {
      const rounds = `increase(thanos_compact_iterations_total[${3 * interval}s])`;
      const { result } = await ask(central, QUERY, rounds);
      assert.ok(Number(result[0]?.value[1] ?? 0) >= 1, `no round within ${3 * interval} s`);
    });
  },
);

check("the sidecars ship the blocks that Prometheus cuts", async () => {
  const cut = new Set(
    await labelValues(`prometheus_tsdb_blocks_loaded{job="${PROMETHEUS.name}"} > 0`, "cluster"),
  );
  const shipped = await eventually(5, async () => {
    const all = (await blocks(central)).filter(({ thanos }) => thanos.source === "sidecar");
    const from = new Set(all.map(({ thanos }) => thanos.labels.cluster!));
    assert.deepEqual([...cut].filter((name) => !from.has(name)), [], "cut, but not in the bucket");
    return all;
  });
  for (const name of names) {
    const own = shipped.filter(({ thanos }) => thanos.labels.cluster === name);
    const newest = Math.max(...own.map(({ maxTime }) => maxTime));
    figure(
      `${name}: blocks shipped by its sidecar`,
      own.length > 0
        ? `${own.length}, newest until ${new Date(newest).toISOString()}`
        : "none yet: the first is cut three hours after the first start",
    );
  }
  const failures = "sum(increase(thanos_shipper_dir_sync_failures_total[10m]))";
  const { result } = await ask(central, QUERY, failures);
  assert.equal(Number(result[0]?.value[1]), 0);
});

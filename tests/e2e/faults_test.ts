// Fault drills of the metrics: what breaks, what is lost, how long until all is well again.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { listObjects } from "../../lib/s3/bucket.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { deleteObject } from "../support/s3.ts";
import { blocks } from "./history.ts";
import { hook, run } from "./hooks.ts";
import {
  ALERTMANAGER,
  ask,
  central,
  check,
  closeAll,
  edges,
  eventually,
  figure,
  fleet,
  get,
  kube,
  labelValues,
  make,
  names,
  pods,
  QUERY,
} from "./site.ts";

const [edge] = edges;
/** Seconds until a query at the centre has every cluster again. */
async function untilWhole(minutes: number): Promise<string> {
  const started = performance.now();
  await eventually(minutes, async () => {
    assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
  });
  return `${((performance.now() - started) / 1000).toFixed(0)} s`;
}

/** Scrapes that a cluster missed between two times (seconds), as the centre knows them later. */
async function missed(cluster: Cluster, from: number, to: number): Promise<number> {
  const range = Math.ceil(to - from);
  const series = `up{job="node-exporter",cluster="${text(cluster, "CLUSTER_NAME")}"}`;
  const { result } = await ask(central, QUERY, `count_over_time(${series}[${range}s])`, {
    time: String(to),
  });
  const expected = Math.floor(range / durationSeconds(text(cluster, "SCRAPE_INTERVAL")));
  return Math.max(0, expected - Number(result[0]?.value[1] ?? 0));
}

const now = () => Date.now() / 1000;

async function firing(cluster: Cluster, alertname: string): Promise<void> {
  const alerts = await get<{ labels: Record<string, string> }[]>(
    cluster,
    ALERTMANAGER,
    "/api/v2/alerts?active=true",
  );
  assert.ok(alerts.some(({ labels }) => labels.alertname === alertname), `${alertname} is silent`);
}

for (
  const [name, selector] of [
    ["Query", "app.kubernetes.io/name=thanos-query"],
    ["Store", "app.kubernetes.io/name=thanos-store"],
    ["Compactor", "app.kubernetes.io/name=thanos-compactor"],
    ["Ruler", "app.kubernetes.io/name=thanos-ruler"],
  ] as const
) {
  check(`${name} is killed: its pod comes back and so do the answers`, async () => {
    const started = performance.now();
    await replaced(central, selector, 5);
    const ready = ((performance.now() - started) / 1000).toFixed(0);
    figure(
      `${name} killed: ready again after`,
      `${ready} s, answers whole ${await untilWhole(5)} later`,
    );
  });
}

async function kill(cluster: Cluster, selector: string) {
  const before = await pods(cluster, selector);
  await kubectl(
    ["delete", "pods", "--namespace", "monitoring", "-l", selector, "--grace-period=0", "--force"],
    { cluster },
  );
  return before;
}

/** Kills the pod of a selector, and waits so many minutes until another one is ready. */
async function replaced(cluster: Cluster, selector: string, minutes: number): Promise<void> {
  const [before] = await kill(cluster, selector);
  await eventually(minutes, async () => {
    const [now] = await pods(cluster, selector);
    assert.ok(now?.ready && now.uid !== before!.uid, `the pod of ${selector} is not ready`);
  });
}

check("B2: Prometheus of an edge is killed: what it had on disk is still there", async () => {
  const selector = "app.kubernetes.io/name=prometheus";
  const from = now();
  await replaced(edge!, selector, 10);
  const ready = now() - from;
  const whole = await untilWhole(5);
  await sleep(60_000);
  assert.ok(await missed(edge!, from - 300, from) <= 1, "samples of before are gone");
  const gap = await missed(edge!, from, from + ready + 60);
  assert.ok(gap <= ready / 30 + 2, `${gap} scrapes lost in ${ready} s`);
  figure(
    "Prometheus killed: ready again after",
    `${ready.toFixed(0)} s, whole at the centre ${whole} later, ${gap} scrapes lost`,
  );
});

check(
  "B10: an edge is cut off: the others answer, with a warning at first; nothing is lost",
  async () => {
    const others = names.filter((name) => name !== text(edge!, "CLUSTER_NAME"));
    const from = now();
    await run("E2E_CUT", edge!.id);
    try {
      const warned = await eventually(3, async () => {
        const { result, warnings } = await ask(central, QUERY, "count by (cluster) (up)");
        assert.deepEqual(result.map(({ metric }) => metric.cluster).sort(), others);
        assert.ok(warnings[0], "no warning");
        return now() - from;
      });
      figure(
        "edge cut off: a query answers without it, with a warning, after",
        `${warned.toFixed(0)} s`,
      );
      // Query drops the endpoint then, and no answer tells any more: the alert does.
      await eventually(8, () => firing(central, "ThanosEdgeSidecarMissing"));
      figure("edge cut off: ThanosEdgeSidecarMissing after", `${(now() - from).toFixed(0)} s`);
    } finally {
      await run("E2E_HEAL", edge!.id);
    }
    const to = now();
    figure("edge healed: seen again after", await untilWhole(8));
    await sleep(60_000);
    const gap = await missed(edge!, from, to);
    assert.ok(gap <= 1, `${gap} scrapes lost`);
    figure("edge cut off: scrapes lost", `${gap} in ${(to - from).toFixed(0)} s`);
  },
  !hook("E2E_CUT") || !hook("E2E_HEAL"),
);

check("B1: S3 is away: known within five minutes, live data goes on, all heals", async () => {
  for (const cluster of fleet) await assert.rejects(firing(cluster, "S3EndpointDown"));
  const from = now();
  await run("E2E_S3_STOP");
  try {
    await Promise.all(
      fleet.map((cluster) => eventually(5, () => firing(cluster, "S3EndpointDown"))),
    );
    figure("S3 away: alert on every cluster after", `${(now() - from).toFixed(0)} s`);
    assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
  } finally {
    await run("E2E_S3_START");
  }
  const back = now();
  await eventually(12, async () => {
    for (const cluster of fleet) await assert.rejects(firing(cluster, "S3EndpointDown"));
    const seconds = Math.ceil(now() - back);
    for (const metric of ["thanos_compact_iterations_total", "thanos_blocks_meta_syncs_total"]) {
      const { result } = await ask(central, QUERY, `max(increase(${metric}[${seconds}s])) > 0`);
      assert.ok(result[0], `no new ${metric}`);
    }
    const { result } = await ask(central, QUERY, "max(thanos_compact_halted)");
    assert.equal(result[0]?.value[1], "0");
  });
  figure(
    "S3 back: alerts over, Store and Compactor at work after",
    `${(now() - back).toFixed(0)} s`,
  );
  const gaps = await Promise.all(fleet.map((cluster) => missed(cluster, from, back)));
  figure("S3 away: scrapes lost", gaps.join(", "));
  assert.ok(gaps.every((gap) => gap <= 1), `${gaps} scrapes lost`);
}, !hook("E2E_S3_STOP") || !hook("E2E_S3_START"));

check("B26: wrong keys of S3: Store says so, the next deploy repairs it", async () => {
  const secret = ["secret", "thanos-s3-config", "--namespace", "monitoring"];
  const { data } = await kube(central, ...secret);
  const wrong = atob(data["objstore.yml"]).replace(/^(\s*secret_key: ).*$/m, "$1wrong-wrong-wrong");
  const patch = JSON.stringify({ data: { "objstore.yml": btoa(wrong) } });
  // By a pipe: what stands beside the wrong key in it is true.
  await kubectl(["patch", ...secret, "--type=merge", "--patch-file=/dev/stdin"], {
    cluster: central,
    input: patch,
  });
  const selector = "app.kubernetes.io/name=thanos-store";
  await kill(central, selector);
  await eventually(5, async () => {
    const [pod] = await pods(central, selector);
    assert.ok(pod && !pod.ready && pod.restarts > 0, "Store does not notice");
  });
  assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
  const started = performance.now();
  await make(["20-prometheus", `CLUSTER=${central.id}`]);
  await eventually(10, async () => assert.ok((await pods(central, selector))[0]?.ready));
  figure(
    "wrong S3 keys: Store well after the repair",
    `${((performance.now() - started) / 1000).toFixed(0)} s`,
  );
});

check(
  "B24: the bucket is emptied: nothing halts, and what is local is uploaded again",
  async () => {
    using s3 = s3Of(central, { seconds: 60 });
    const bucket = text(central, "THANOS_BUCKET");
    const before = (await blocks(central)).map(({ ulid }) => ulid);
    const local = (await Promise.all(fleet.map(blocksOnDisk))).flat()
      .filter((ulid) => before.includes(ulid));
    for (const { key } of await listObjects(s3, bucket)) {
      await deleteObject(s3, bucket, key);
    }
    await eventually(10, async () => {
      const { result } = await ask(central, QUERY, "max(thanos_bucket_store_blocks_loaded)");
      assert.equal(result[0]?.value[1], "0");
    });
    const { result } = await ask(central, QUERY, "max(thanos_compact_halted)");
    assert.equal(result[0]?.value[1], "0");
    assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
    // docs/runbooks/s3.md: the shipper remembers what it has uploaded; without that it looks again.
    for (const cluster of fleet) {
      await inPrometheus(cluster, "rm", "-f", "/prometheus/thanos.shipper.json");
    }
    await eventually(5, async () => {
      const again = (await blocks(central)).map(({ ulid }) => ulid);
      assert.deepEqual(local.filter((ulid) => !again.includes(ulid)), []);
    });
    figure(
      "bucket emptied: blocks there again, from the disks",
      `${local.length}; lost for good: the other ${before.length - local.length}`,
    );
  },
  hook("E2E_EMPTY_BUCKET") !== "yes",
);

/** Output of a command beside a cluster's Prometheus. */
function inPrometheus(cluster: Cluster, ...command: string[]): Promise<string> {
  const pod = "prometheus-kube-prometheus-stack-prometheus-0";
  const inside = ["exec", pod, "--namespace", "monitoring", "--container", "prometheus", "--"];
  return kubectl([...inside, ...command], { cluster });
}

async function blocksOnDisk(cluster: Cluster): Promise<string[]> {
  return (await inPrometheus(cluster, "ls", "/prometheus")).split(/\s+/)
    .filter((name) => /^[0-9A-Z]{26}$/.test(name));
}

check("B51: a node loses its power: all of it comes back by itself", async () => {
  const from = now();
  await closeAll();
  await run("E2E_RESTART", edge!.id);
  await eventually(15, async () => {
    const { items } = await kube(edge!, "pods", "--all-namespaces");
    const own = ["monitoring", "logging", "node-agents"];
    // deno-lint-ignore no-explicit-any
    const waiting = items.filter(({ metadata, status }: any) =>
      own.includes(metadata.namespace) && status.phase !== "Succeeded" &&
      // deno-lint-ignore no-explicit-any
      !status.containerStatuses?.every(({ ready, state }: any) =>
        ready && Date.parse(state.running?.startedAt) / 1000 >= Math.floor(from)
      )
    );
    // deno-lint-ignore no-explicit-any
    assert.deepEqual(waiting.map(({ metadata }: any) => metadata.name), []);
  });
  const ready = now() - from;
  await untilWhole(10);
  const whole = now() - from;
  await sleep(60_000);
  const gap = await missed(edge!, from, from + whole);
  figure(
    "power cut of an edge",
    `pods ready after ${ready.toFixed(0)} s, seen by the centre after ${whole.toFixed(0)} s, ` +
      `${gap} scrapes lost`,
  );
  await make([`verify-${edge!.id}`]);
}, !hook("E2E_RESTART"));

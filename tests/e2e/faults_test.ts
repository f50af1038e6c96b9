// Fault drills: what breaks, what is lost, how long until all is well again. What needs hands on the
// site's machines is done by commands from the environment, `{id}` standing for a cluster's:
//   E2E_CUT, E2E_HEAL           pull and plug the network cable of a node
//   E2E_RESTART                 power cut and boot of a node
//   E2E_S3_STOP, E2E_S3_START   stop and start the S3 server
//   E2E_EMPTY_BUCKET=yes        the bucket of metrics may be emptied
// A drill whose command is not given is ignored.
import assert from "node:assert/strict";
import process from "node:process";
import { $ } from "zx";
import { type Cluster, text } from "../../lib/cluster.ts";
import { kubectl } from "../../lib/kubectl.ts";
import { type S3, s3Of } from "../../lib/s3.ts";
import { blocks } from "./history.ts";
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
  PROMETHEUS,
  QUERY,
} from "./site.ts";

const [edge] = edges;
const hook = (name: string) => process.env[name] ?? "";

/** Runs the command of a hook; for a drill that was not ignored it is there. */
async function run(name: string, id = ""): Promise<void> {
  await $({ quiet: true })`bash -c ${hook(name).replaceAll("{id}", id)}`;
}

/** Seconds until a query at the centre has every cluster again. */
async function untilWhole(minutes: number): Promise<string> {
  const started = performance.now();
  await eventually(minutes, async () => {
    assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
  });
  return `${((performance.now() - started) / 1000).toFixed(0)} s`;
}

/** Scrapes of the last minutes that a cluster's Prometheus does not have. */
async function lost(cluster: Cluster, minutes: number): Promise<number> {
  const series = `count_over_time(up{job="minio"}[${minutes}m])`;
  const { result } = await ask(cluster, PROMETHEUS, series);
  const interval = Number.parseInt(text(cluster, "SCRAPE_INTERVAL"));
  return Math.max(0, Math.round(minutes * 60 / interval) - Number(result[0]?.value[1] ?? 0));
}

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
    const [before] = await kill(central, selector);
    await eventually(5, async () => {
      const [now] = await pods(central, selector);
      assert.ok(now?.ready && now.uid !== before!.uid, `${name} is not ready`);
    });
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

check("B2: Prometheus of an edge is killed: what it had on disk is still there", async () => {
  const oldest = async () => {
    const series = "min_over_time(timestamp(up{job='minio'})[10m:30s])";
    const { result } = await ask(edge!, PROMETHEUS, series);
    assert.ok(result[0], "no samples");
    return Number(result[0].value[1]);
  };
  const selector = "app.kubernetes.io/name=prometheus";
  const before = await oldest();
  const started = performance.now();
  const [killed] = await kill(edge!, selector);
  const after = await eventually(10, async () => {
    const [now] = await pods(edge!, selector);
    assert.ok(now?.ready && now.uid !== killed!.uid, "Prometheus is not ready");
    return await oldest();
  });
  const ready = (performance.now() - started) / 1000;
  assert.ok(after - before <= ready + 60, `samples of before are gone: ${after - before} s`);
  const gap = await eventually(3, async () => {
    const missing = await lost(edge!, 5);
    assert.ok(missing <= 6, `${missing} scrapes lost`);
    return missing;
  });
  figure(
    "Prometheus killed: ready again after",
    `${ready.toFixed(0)} s, whole at the centre ${await untilWhole(5)} later, ${gap} scrapes lost`,
  );
});

check(
  "B10: an edge is cut off: the others answer, it returns by itself, nothing is lost",
  async () => {
    await run("E2E_CUT", edge!.id);
    try {
      const others = names.filter((name) => name !== text(edge!, "CLUSTER_NAME"));
      let warned: string[] = [];
      await eventually(8, async () => {
        const { result, warnings } = await ask(central, QUERY, "count by (cluster) (up)");
        if (warnings.length > 0) warned = warnings;
        // Without it, or with what Store has of it.
        assert.deepEqual(result.map(({ metric }) => metric.cluster).sort(), others);
      });
      figure("edge cut off: warning of Query meanwhile", warned[0] ?? "none");
      await eventually(8, () => firing(central, "ThanosEdgeSidecarMissing"));
    } finally {
      await run("E2E_HEAL", edge!.id);
    }
    figure("edge cut off and healed: seen again after", await untilWhole(8));
    await eventually(3, async () => assert.ok(await lost(edge!, 5) <= 2));
  },
  !hook("E2E_CUT") || !hook("E2E_HEAL"),
);

check("B1: S3 is away: known within five minutes, live data goes on, all heals", async () => {
  const before = (await blocks(central)).length;
  const started = performance.now();
  await run("E2E_S3_STOP");
  try {
    await Promise.all(
      fleet.map((cluster) => eventually(5, () => firing(cluster, "S3EndpointDown"))),
    );
    figure(
      "S3 away: alert on every cluster after",
      `${((performance.now() - started) / 1000).toFixed(0)} s`,
    );
    assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
  } finally {
    await run("E2E_S3_START");
  }
  const back = performance.now();
  await eventually(10, async () => {
    assert.ok((await blocks(central)).length >= before);
    for (const name of ["store", "compactor"]) {
      const [pod] = await pods(central, `app.kubernetes.io/name=thanos-${name}`);
      assert.ok(pod?.ready, `${name} is not ready`);
    }
    const { result } = await ask(central, QUERY, "max(thanos_compact_halted)");
    assert.equal(result[0]?.value[1], "0");
  });
  figure(
    "S3 back: Store and Compactor well after",
    `${((performance.now() - back) / 1000).toFixed(0)} s`,
  );
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
    const local = (await blocks(central)).filter(({ thanos }) => thanos.source === "sidecar");
    for (const key of await objectKeys(s3, bucket)) {
      await s3.send({
        method: "DELETE",
        bucket,
        key,
        what: `delete ${key}`,
        action: "s3:DeleteObject",
      });
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
      const pod = "prometheus-kube-prometheus-stack-prometheus-0";
      await kubectl(
        ["exec", "--namespace", "monitoring", pod, "-c", "prometheus", "--"]
          .concat("rm", "-f", "/prometheus/thanos.shipper.json"),
        { cluster },
      );
    }
    await eventually(5, async () => {
      const again = new Set((await blocks(central)).map(({ thanos }) => thanos.labels.cluster));
      const wanted = new Set(local.map(({ thanos }) => thanos.labels.cluster));
      assert.deepEqual([...wanted].filter((name) => !again.has(name)), []);
    });
    figure("bucket emptied: sidecar blocks there again", `of ${local.length} before`);
  },
  hook("E2E_EMPTY_BUCKET") !== "yes",
);

/** Names of all objects of a bucket. */
async function objectKeys(s3: S3, bucket: string): Promise<string[]> {
  const keys: string[] = [];
  for (let query = "list-type=2";;) {
    const what = `list ${bucket}`;
    const { body } = await s3.send({ method: "GET", bucket, query, what, action: "s3:ListBucket" });
    keys.push(...[...body.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key]) => key!));
    const [, next] = /<NextContinuationToken>([^<]+)</.exec(body) ?? [];
    if (!next) return keys;
    query = `continuation-token=${encodeURIComponent(next)}&list-type=2`;
  }
}

check("B51: a node loses its power: all of it comes back by itself", async () => {
  const started = performance.now();
  await closeAll();
  await run("E2E_RESTART", edge!.id);
  await eventually(15, async () => {
    const { items } = await kube(edge!, "pods", "--namespace", "monitoring");
    // deno-lint-ignore no-explicit-any
    const waiting = items.filter(({ status }: any) =>
      // deno-lint-ignore no-explicit-any
      !status.conditions?.some(({ type, status }: any) => type === "Ready" && status === "True")
    );
    assert.equal(waiting.length, 0);
  });
  const ready = ((performance.now() - started) / 1000).toFixed(0);
  await untilWhole(10);
  const whole = ((performance.now() - started) / 1000).toFixed(0);
  figure(
    "power cut of an edge",
    `pods ready after ${ready} s, seen by the centre after ${whole} s`,
  );
  await make([`verify-${edge!.id}`]);
}, !hook("E2E_RESTART"));

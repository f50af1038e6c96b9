// Fault drills of the logs: OpenSearch killed, its disk full, its key wrong, its node rebooted, S3
// away during a snapshot. In all of them a pod goes on writing numbered lines, and none may be lost.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { hook, run } from "./hooks.ts";
import { begin, gone, tidy } from "./lifecycle.ts";
import { call, checkWith, count, numbered, startWriter, stopWriter } from "./logs.ts";
import { closeAll, edges, eventually, figure, make } from "./site.ts";

const edge = edges.at(-1)!;
const RATE = 100;
const POD = "e2e-drill";

/**
 * Has a pod write for `seconds` while `fault` happens, and tells how long it took after the fault
 * until every line was found, each once.
 */
async function withoutLoss(name: string, seconds: number, fault: () => Promise<void>) {
  const marker = `e2e${name}${Date.now().toString(36)}`;
  const lines = seconds * RATE;
  await startWriter(edge, POD, `${numbered(marker, lines, RATE)}; sleep 1200`);
  try {
    await eventually(
      2,
      async () => assert.ok(await count(edge, "logs-k8s-*", `log:${marker}`) > 0),
    );
    await fault();
    const over = performance.now();
    await eventually(10, async () => {
      const found = await count(edge, "logs-k8s-*", `log:${marker}`);
      assert.equal(found, lines, `${found} of ${lines} lines`);
    });
    const took = ((performance.now() - over) / 1000).toFixed(0);
    await sleep(15_000); // what comes twice comes late
    assert.equal(await count(edge, "logs-k8s-*", `log:${marker}`), lines);
    figure(`${name}: ${lines} lines all there, once each`, `${took} s after the fault was over`);
  } finally {
    await stopWriter(edge, POD);
  }
}

/** Waits until OpenSearch answers and has no shard without a node. */
async function green(minutes: number): Promise<void> {
  await eventually(minutes, async () => {
    const { status } = await call(edge, "GET", "/_cluster/health");
    assert.equal(status, "green");
  });
}

checkWith(
  "fluent-bit",
  "OpenSearch is killed under load: no line is lost",
  () =>
    withoutLoss("killed", 90, async () => {
      const started = performance.now();
      const kill = [
        "delete",
        "pod",
        "opensearch-0",
        "-n",
        "logging",
        "--grace-period=0",
        "--force",
      ];
      await kubectl(kill, { cluster: edge });
      await green(10);
      figure(
        "OpenSearch killed: green after",
        `${((performance.now() - started) / 1000).toFixed(0)} s`,
      );
    }),
);

checkWith(
  "fluent-bit",
  "B32: at flood stage lines wait, and all of them come when there is room",
  async () => {
    const flood = "cluster.routing.allocation.disk.watermark";
    const set = (free: string | null) =>
      call(edge, "PUT", "/_cluster/settings", {
        persistent: {
          [`${flood}.low`]: free,
          [`${flood}.high`]: free,
          [`${flood}.flood_stage`]: free,
        },
      });
    const blocked = async () => {
      const settings = await call(edge, "GET", "/logs-k8s-*/_settings?flat_settings=true");
      return Object.values<{ settings: Record<string, string> }>(settings)
        .some(({ settings }) => settings["index.blocks.read_only_allow_delete"] === "true");
    };
    try {
      await withoutLoss("flood", 60, async () => {
        await set("100tb"); // no disk has that much free
        await eventually(3, async () => assert.ok(await blocked(), "nothing is blocked"));
        await set(null);
        await eventually(3, async () => assert.ok(!await blocked(), "the block stays"));
      });
    } finally {
      await set(null);
    }
  },
);

checkWith(
  "fluent-bit",
  "the keys of S3 are wrong, then right: no line is lost",
  () =>
    withoutLoss("rotated", 60, async () => {
      const step = ["40-logging", `CLUSTER=${edge.id}`];
      try {
        await assert.rejects(make(step, { S3_SECRET_KEY: "wrong-wrong-wrong" }), /exit code 8/);
      } finally {
        await make(step);
      }
      await green(10);
    }),
);

checkWith(
  "index-management",
  "B33, B34: S3 is away during a snapshot: the index stays, and goes when S3 is back",
  async () => {
    const index = "logs-e2e-s3";
    await tidy(edge);
    try {
      await begin(edge, index, 5000);
      await run("E2E_S3_STOP");
      try {
        await eventually(15, async () => {
          const explain = await call(edge, "GET", `/_plugins/_ism/explain/${index}`);
          assert.equal(explain[index].action?.failed, true, JSON.stringify(explain[index]));
        });
      } finally {
        await run("E2E_S3_START");
      }
      const started = performance.now();
      await eventually(20, () => gone(edge, index));
      figure(
        "S3 away during a snapshot: index in S3 and deleted",
        `${((performance.now() - started) / 1000).toFixed(0)} s after S3 was back, by the keeper`,
      );
    } finally {
      await tidy(edge);
    }
  },
  !hook("E2E_S3_STOP") || !hook("E2E_S3_START"),
);

checkWith(
  "fluent-bit",
  "the node loses its power: what was written is found, and OpenSearch is green",
  async () => {
    const marker = `e2epower${Date.now().toString(36)}`;
    const lines = 200 * RATE;
    const found = () => count(edge, "logs-k8s-*", `log:${marker}`);
    await startWriter(edge, POD, `${numbered(marker, lines, RATE)}; sleep 1200`);
    try {
      await eventually(2, async () => assert.ok(await found() > 0));
      const before = await found();
      assert.ok(before < lines / 2, "the pod has written too much already");
      await closeAll();
      await run("E2E_RESTART", edge.id);
      await green(15);
      // What is not yet on the disk of the pod's log is never written: so many lines at least.
      await eventually(5, async () => assert.ok(await found() >= before));
      figure("power cut of a node: lines before and after", `${before}, ${await found()}`);
    } finally {
      await stopWriter(edge, POD);
    }
    await make([`verify-${edge.id}`]);
  },
  !hook("E2E_RESTART"),
);

import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import { hashOf } from "../../../lib/core/hash.ts";
import { dayTable } from "../../../scripts/operate/restore_logs.ts";
import {
  backOf,
  dropDay,
  restoreDay,
  restoredIndices,
  roomOf,
  sizeText,
} from "../../../scripts/components/logging/restore.ts";
import {
  choose,
  incomplete,
  openSource,
  restorableDays,
  type Snapshot,
  snapshotsOf,
  type Source,
} from "../../../scripts/components/logging/snapshots.ts";
import { documentSpec } from "../../../scripts/components/logging/objects.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { FakeSnapshots, type Stored } from "../../support/snapshots.ts";

const DAY = "2026.01.02";
const K8S = `logs-k8s-${DAY}`, HOST = `logs-host-${DAY}`;

/** A snapshot as ISM names it. */
function stored(index: string, taken: string, rest: Partial<Stored> = {}): Stored {
  return {
    snapshot: `${index}-${taken}-05:00:00.000`,
    state: "SUCCESS",
    start: Date.parse(taken.replaceAll(".", "-")),
    indices: { [index]: { bytes: 2e9, lines: 5000 } },
    ...rest,
  };
}

/** Cluster 197 with its repository; its folder and that of 198 hold a day. */
async function site(): Promise<{ os: FakeSnapshots; own: Source; foreign: () => Promise<Source> }> {
  const os = new FakeSnapshots();
  const cluster = await fixtureCluster("197");
  os.repositories.set("opensearch-logs", documentSpec("repository", cluster));
  os.stored.set("cluster-197", [stored(K8S, "2026.01.16"), stored(HOST, "2026.01.16")]);
  os.stored.set("cluster-198", [stored(K8S, "2026.01.16")]);
  const other = await fixtureCluster("198");
  return {
    os,
    own: await openSource(os, cluster, cluster),
    foreign: () => openSource(os, cluster, other),
  };
}

/** How an index is called that a snapshot of it gave back. */
const backFrom = (index: string, taken = "2026.01.16") =>
  `restored-${index}-${hashOf(`${index}-${taken}-05:00:00.000`).slice(0, 8)}`;

const options = { replicas: 0, every: 0.001 };

async function restore(os: FakeSnapshots, source: Source) {
  const { changes, lines } = await restoreDay(os, source, DAY, options);
  return { changes: changes.map(({ id, action }) => `${action} ${id.split(" ")[0]}`), lines };
}

Deno.test("restoreDay() has every index of the day back; a second run changes nothing", async () => {
  const { os, own } = await site();
  assert.deepEqual(await restore(os, own), {
    changes: [`created ${backFrom(HOST)}`, `created ${backFrom(K8S)}`],
    lines: 10_000,
  });
  assert.deepEqual(os.indices.get(backFrom(K8S))!.settings, {
    "index.number_of_replicas": 0,
    "index.plugins.index_state_management.auto_manage": false,
  });
  const { length } = os.writes;
  assert.deepEqual(await restore(os, own), { changes: [], lines: 10_000 });
  assert.equal(os.writes.length, length);
});

Deno.test("restoreDay() says how far it is", async () => {
  const { os, own } = await site();
  os.leave(backFrom(HOST), { bytes: 2e9, looks: 3, type: "SNAPSHOT" });
  os.leave(backFrom(K8S), { bytes: 2e9, looks: 4, type: "SNAPSHOT" });
  const said: string[] = [];
  await restoreDay(os, own, DAY, { ...options, say: (line) => void said.push(line) });
  const [host, k8s] = [backFrom(HOST), backFrom(K8S)];
  assert.deepEqual(said, [
    // The first look, at 20 %, is not worth a line.
    `${host} at 90 % of 2.0 GB; ${k8s} at 40 % of 2.0 GB`,
    `${k8s} at 90 % of 2.0 GB`,
  ]);
});

Deno.test("restoreDay() waits for what an earlier run began", async () => {
  const { os, own } = await site();
  os.leave(backFrom(HOST), { bytes: 2e9, lines: 5000, looks: 3, type: "SNAPSHOT" });
  assert.deepEqual(await restore(os, own), {
    changes: [`created ${backFrom(K8S)}`],
    lines: 10_000,
  });
});

Deno.test("restoreDay() makes anew what failed, and what a restarted node left empty", async () => {
  const { os, own } = await site();
  os.leave(backFrom(HOST), { failed: "shard has failed to be restored", type: "SNAPSHOT" });
  os.leave(backFrom(K8S), { bytes: 208, type: "EMPTY_STORE" });
  assert.deepEqual(await restore(os, own), {
    changes: [
      `deleted ${backFrom(HOST)}`,
      `deleted ${backFrom(K8S)}`,
      `created ${backFrom(HOST)}`,
      `created ${backFrom(K8S)}`,
    ],
    lines: 10_000,
  });
});

Deno.test("restoreDay() keeps what is whole, also after a restart of the node or named by an earlier revision", async () => {
  for (const nameOf of [backFrom, (index: string) => `restored-${index}`]) {
    const { os, own } = await site();
    for (const index of [K8S, HOST]) {
      os.leave(nameOf(index), { bytes: 2e9, lines: 5000, type: "EXISTING_STORE" });
    }
    assert.deepEqual((await restore(os, own)).changes, []);
    assert.equal(await backOf(os, own, DAY, await restoredIndices(os)), "restored");
  }
});

Deno.test("restoreDay() tells OpenSearch's reason when no node takes a shard", async () => {
  const { os, own } = await site();
  os.shardFault = "the node is above the low watermark";
  await assert.rejects(restore(os, own), (error: DeployError) => {
    assert.equal(error.exitCode, 8);
    assert.match(error.where.join("\n"), /restored-logs-host.*not permitted.*\n.*low watermark/);
    return true;
  });
});

Deno.test("restoreDay() refuses without room, before it changes anything", async () => {
  const { os, own } = await site();
  os.disk = { total_in_bytes: 30e9, free_in_bytes: 20e9, available_in_bytes: 6.9e9 };
  await assert.rejects(restore(os, own), (error: DeployError) => {
    assert.equal(error.exitCode, 3);
    assert.match(error.message, /takes 4\.0 GB, and there is room for 3\.9 GB/);
    assert.match(error.where[0]!, /opensearch-0: 23\.1 GB of 30\.0 GB/);
    return true;
  });
  assert.deepEqual(os.writes, []);
  os.disk.available_in_bytes = 7.1e9;
  assert.equal((await restore(os, own)).lines, 10_000);
});

Deno.test("restoreDay() counts copies as room, and none for what is there", async () => {
  const { os, own } = await site();
  os.disk.available_in_bytes = 8e9;
  const twice = { ...options, replicas: 1 };
  await assert.rejects(restoreDay(os, own, DAY, twice), /takes 8\.0 GB/);
  os.leave(backFrom(HOST), { bytes: 2e9, lines: 5000 });
  assert.equal((await restoreDay(os, own, DAY, twice)).lines, 10_000);
});

Deno.test("restoreDay() names the days there are when it is asked for another", async () => {
  const { os, own } = await site();
  os.stored.get("cluster-197")!.push(
    stored("logs-k8s-2026.01.03", "2026.01.17", { state: "PARTIAL" }),
  );
  await assert.rejects(restoreDay(os, own, "2026.01.03", options), (error: DeployError) => {
    assert.equal(error.exitCode, 2);
    assert.match(error.where.join("\n"), /2026\.01\.17-05:00:00\.000 is PARTIAL/);
    assert.match(error.where.join("\n"), /there is 1 day, 2026\.01\.02/);
    return true;
  });
  assert.deepEqual(os.writes, []);
});

Deno.test("restoreDay() never takes a snapshot that is not complete", async () => {
  const { os, own } = await site();
  os.stored.get("cluster-197")!.push(
    stored(K8S, "2026.01.18", { state: "PARTIAL" }),
    stored(K8S, "2026.01.19", { state: "FAILED" }),
    stored(K8S, "2026.01.20", { state: "IN_PROGRESS" }),
  );
  await restore(os, own);
  assert.ok(os.writes.includes(
    `POST /_snapshot/opensearch-logs/${K8S}-2026.01.16-05:00:00.000/_restore`,
  ));
});

Deno.test("P15: choose() takes the newest of an index, and the oldest of one that was made anew, too", () => {
  const status = (snapshot: string, at: number, total: number, incremental = total) => ({
    snapshot,
    stats: { start_time_in_millis: at },
    indices: {
      [K8S]: {
        stats: { incremental: { size_in_bytes: incremental }, total: { size_in_bytes: total } },
      },
    },
  });
  const chosen = (...all: ReturnType<typeof status>[]) =>
    choose(all, DAY, "restored-").map(({ snapshot }) => snapshot);
  const whole = status("whole", 1, 1000), later = status("later", 2, 900, 90);
  const late = status("late", 3, 9),
    half = status("half", 4, 1000),
    more = status("more", 5, 10, 0);
  assert.deepEqual(chosen(later, whole), ["later"]);
  assert.deepEqual(chosen(late, whole), ["whole", "late"]);
  assert.deepEqual(chosen(half, later, whole), ["later", "half"]);
  assert.deepEqual(chosen(late, more, whole), ["whole", "more"]);
  assert.deepEqual(chosen(whole, late, half), ["whole", "late", "half"]);
  // What it shares may be with one that is not whole.
  assert.equal(choose([whole, later], DAY, "restored-", new Set([K8S])).length, 2);
  // The first is gone from S3.
  assert.deepEqual(chosen(more), ["more"]);
  assert.deepEqual(choose([whole], "2026.01.03", "restored-"), []);
  // Its name is its own, whatever else there is.
  const targets = (...all: ReturnType<typeof status>[]) =>
    choose(all, DAY, "restored-").map(({ target }) => target);
  assert.deepEqual(targets(whole, late, half).slice(1), targets(late, half));
});

Deno.test("P15: restoreDay() has all of a day back whose index was made anew, and drops all of it", async () => {
  const { os, own } = await site();
  const back = async () => await backOf(os, own, DAY, await restoredIndices(os));
  assert.equal(await back(), "-");
  assert.equal((await restore(os, own)).lines, 10_000);
  assert.equal(await back(), "restored");
  const again = stored(K8S, "2026.01.18", {
    indices: { [K8S]: { bytes: 2e9, lines: 5001, goesOn: true } },
  });
  os.stored.get("cluster-197")!.push(stored(K8S, "2026.01.17"));
  assert.equal(await back(), "host, a part of k8s");
  assert.deepEqual(await restore(os, own), {
    changes: [`created ${backFrom(K8S, "2026.01.17")}`],
    lines: 15_000,
  });
  assert.equal(await back(), "restored");
  // A snapshot that has all of the one before takes its place.
  os.stored.get("cluster-197")!.push(again);
  assert.deepEqual(await restore(os, own), {
    changes: [
      `created ${backFrom(K8S, "2026.01.18")}`,
      `deleted ${backFrom(K8S, "2026.01.17")}`,
    ],
    lines: 15_001,
  });
  assert.deepEqual((await restore(os, own)).changes, []);
  assert.equal((await dropDay(os, DAY, own.prefix)).length, 3);
  assert.deepEqual(await restoredIndices(os), []);
});

Deno.test("P15: restoreDay() has no line twice where an earlier revision has restored one of two parts", async () => {
  const { os, own } = await site();
  os.leave(`restored-${K8S}`, { bytes: 2e9, lines: 5000, type: "EXISTING_STORE" });
  os.stored.get("cluster-197")!.push(stored(K8S, "2026.01.17"));
  await restore(os, own);
  assert.ok(!(await restoredIndices(os)).includes(`restored-${K8S}`));
  assert.deepEqual((await restore(os, own)).changes, []);
});

Deno.test("P15: restoreDay() never deletes a part whose snapshot has gone from S3", async () => {
  const { os, own } = await site();
  os.stored.get("cluster-197")!.push(stored(K8S, "2026.01.17"));
  await restore(os, own);
  const names = await restoredIndices(os);
  os.stored.set("cluster-197", [stored(K8S, "2026.01.17")]);
  assert.deepEqual((await restore(os, own)).changes, []);
  assert.deepEqual(await restoredIndices(os), names);
  assert.equal(await backOf(os, own, DAY, names), "restored");
});

Deno.test("P15: restoreDay() has the first part of a day back also where that of the second was tried twice", async () => {
  const { os, own } = await site();
  const goesOn = { indices: { [K8S]: { bytes: 2e9, lines: 5001, goesOn: true } } };
  os.stored.get("cluster-197")!.push(
    stored(K8S, "2026.01.17", { state: "FAILED" }),
    stored(K8S, "2026.01.18", goesOn),
  );
  assert.equal((await restore(os, own)).lines, 15_001);
});

Deno.test("restorableDays() counts complete snapshots of log indices, oldest first", () => {
  const snapshots: Snapshot[] = [
    { snapshot: "c", state: "SUCCESS", indices: ["logs-k8s-2026.02.01", "probe-1"] },
    { snapshot: "a", state: "SUCCESS", indices: [K8S] },
    { snapshot: "b", state: "SUCCESS", indices: [K8S, HOST] },
    { snapshot: "d", state: "PARTIAL", indices: ["logs-host-2026.02.01"] },
    { snapshot: "e", state: "IN_PROGRESS", indices: ["logs-host-2026.02.01"] },
    { snapshot: "f", state: "FAILED", indices: ["probe-2"] },
  ];
  const days = restorableDays(snapshots);
  assert.deepEqual(days, [
    { day: DAY, streams: ["host", "k8s"], snapshots: 2 },
    { day: "2026.02.01", streams: ["k8s"], snapshots: 1 },
  ]);
  assert.deepEqual(incomplete(snapshots).map(({ snapshot }) => snapshot), ["d"]);
  assert.equal(
    dayTable(days, ["host", "restored"]),
    [
      "DAY (UTC)   STREAMS    SNAPSHOTS  IN OPENSEARCH",
      "2026.01.02  host, k8s  2          host",
      "2026.02.01  k8s        1          restored",
    ].join("\n"),
  );
});

Deno.test("openSource() registers another cluster's folder once, for reading only", async () => {
  const { os, foreign } = await site();
  const source = await foreign();
  await foreign();
  assert.deepEqual(os.writes, ["PUT /_snapshot/opensearch-logs-198"]);
  const { settings } = os.repositories.get("opensearch-logs-198");
  const { base_path, readonly, shard_path_type } = settings;
  assert.deepEqual({ base_path, readonly, shard_path_type }, {
    base_path: "cluster-198",
    readonly: true,
    shard_path_type: "FIXED",
  });
  assert.equal(source.words, "CLUSTER=197 FROM=198");
});

Deno.test("restoreDay() keeps another cluster's day apart from the own one", async () => {
  const { os, own, foreign } = await site();
  await restore(os, own);
  assert.deepEqual((await restore(os, await foreign())).changes, [
    `created restored-198-${backFrom(K8S).slice("restored-".length)}`,
  ]);
});

Deno.test("dropDay() deletes one day of one cluster, and nothing else", async () => {
  const { os, own, foreign } = await site();
  await restore(os, own);
  await restore(os, await foreign());
  const others = [
    K8S,
    "restored-logs-k8s-2026.01.03",
    `restored-probe-${K8S}`,
    `restored-${K8S}-of-bob`,
  ];
  for (const name of others) os.leave(name, {});
  const names = async (prefix: string) => (await dropDay(os, DAY, prefix)).map(({ id }) => id);
  assert.deepEqual(await names("restored-198-"), [
    `restored-198-${backFrom(K8S).slice("restored-".length)}`,
  ]);
  assert.deepEqual(await names("restored-"), [backFrom(HOST), backFrom(K8S)]);
  assert.deepEqual(await names("restored-"), []);
  assert.deepEqual([...os.indices.keys()], others);
  assert.deepEqual(await restoredIndices(os), ["restored-logs-k8s-2026.01.03"]);
});

Deno.test("snapshotsOf() points to 40-logging when there is no repository", async () => {
  const { os, own } = await site();
  os.repositories.clear();
  await assert.rejects(snapshotsOf(os, own), (error: DeployError) => {
    assert.equal(error.exitCode, 3);
    assert.equal(error.fix, "make 40-logging CLUSTER=197");
    return true;
  });
});

Deno.test("roomOf() leaves a tenth of each disk free, and counts no disk that is 85 % full", () => {
  assert.equal(roomOf([{ total: 100, available: 40 }]), 30);
  assert.equal(roomOf([{ total: 100, available: 14 }]), 0);
  const two = [{ total: 100, available: 40 }, { total: 100, available: 12 }];
  assert.equal(roomOf(two), 30);
});

Deno.test("sizeText() is short", () => {
  assert.deepEqual([208, 411_209, 23_400_000, 1_230_000_000].map(sizeText), [
    "1 kB",
    "412 kB",
    "23 MB",
    "1.2 GB",
  ]);
});

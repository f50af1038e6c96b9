// make rotate-s3: its judgements, and the whole command against a kubectl and an S3 of ours.
import assert from "node:assert/strict";
import { ensureBucket } from "../../lib/s3/bucket.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError } from "../../lib/core/error.ts";
import { secret } from "../../lib/core/object.ts";
import { Report } from "../../lib/io/report.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { type Step, step } from "../../lib/deploy/step.ts";
import { STEPS } from "../../scripts/steps.ts";
import { bucketsOf } from "../../scripts/components/minio/buckets.ts";
import { loggingObjects } from "../../scripts/components/logging/objects.ts";
import { objstoreSecret } from "../../scripts/components/prometheus/objects.ts";
import {
  holdingsOf,
  oldKeys,
  outdated,
  refuseSameId,
  retire,
} from "../../scripts/operate/rotation/keys.ts";
import { judgeGap, judgeKeys, largestGap, rotate } from "../../scripts/operate/rotate_s3.ts";
import { uploads } from "../../scripts/checks/thanos.ts";
import { backupTarget } from "../../scripts/checks/storage.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  FREE,
  identityReply,
  listOf,
  type Reply,
} from "../support/fake_kubectl.ts";
import { answering, subjectWith } from "../support/subject.ts";
import { block, targetSpec } from "../support/world.ts";
import { type FakeS3, fakeS3, KEY, pem, type Seen } from "../support/s3.ts";

const OLD = { S3_ACCESS_KEY: "old-access-key", S3_SECRET_KEY: "old-secret-key" };
const OWN = {
  THANOS_S3_ACCESS_KEY: "metrics-key",
  THANOS_S3_SECRET_KEY: "metrics-secret",
  OPENSEARCH_S3_ACCESS_KEY: "logs-key",
  OPENSEARCH_S3_SECRET_KEY: "logs-secret",
  LONGHORN_S3_ACCESS_KEY: "volumes-key",
  LONGHORN_S3_SECRET_KEY: "volumes-secret",
};

/** Cluster 197 with these settings; S3_ACCESS_KEY is a key that the fake S3 knows. */
async function site(vars: Record<string, string> = {}, endpoint?: string): Promise<Cluster> {
  const cluster = await fixtureCluster("197", {
    KUBECONFIG_FILE: "kubeconfig",
    SIMULATED_NODES: "true",
    S3_ACCESS_KEY: KEY.id,
    S3_SECRET_KEY: KEY.secret,
    ...(endpoint ? { S3_ENDPOINT: endpoint } : {}),
    ...vars,
  });
  return { ...cluster, s3Ca: pem("ca.pem") };
}

/** The Secrets that the steps wrote with the settings of that cluster; only so many times. */
function secretsOf(cluster: Cluster, times = 1e6): Reply[] {
  const logs = loggingObjects(cluster).find(({ metadata }) =>
    metadata.name === "opensearch-s3-config"
  );
  return [objstoreSecret(cluster), logs!].map((object) => ({
    on: ` get secret ${object.metadata.name} `,
    stdout: JSON.stringify(object),
    times,
  }));
}

const NO_OTHERS: Reply = { on: " get secret (longhorn-s3-secret|s3-keys-before-rotation) " };

Deno.test("holdingsOf() reads the key of every program that a cluster has", async () => {
  await fakeKubectl([...secretsOf(await site(OLD)), NO_OTHERS]);
  const held = await holdingsOf(await site());
  assert.deepEqual(
    held.map(({ program, where, key }) => [program, where, key.accessKey, key.secretKey]),
    [
      ["THANOS", "monitoring/thanos-s3-config", "old-access-key", "old-secret-key"],
      ["OPENSEARCH", "logging/opensearch-s3-config", "old-access-key", "old-secret-key"],
    ],
  );
  assert.equal(outdated(held).length, 2);
});

Deno.test("outdated() finds what differs from the settings, oldKeys() what nobody shall hold", async () => {
  const cluster = await site(OWN);
  await fakeKubectl([...secretsOf(await site({ ...OWN, THANOS_S3_ACCESS_KEY: "old" })), NO_OTHERS]);
  const held = await holdingsOf(cluster);
  assert.deepEqual(outdated(held).map(({ program }) => program), ["THANOS"]);
  assert.deepEqual(oldKeys([cluster], ["old", "logs-key", "", "old"]), ["old"]);
});

Deno.test("a new secret for a key that is in use is refused: it would shut programs out", async () => {
  await fakeKubectl([
    ...secretsOf(await site({ ...OWN, THANOS_S3_SECRET_KEY: "before-secret" })),
    NO_OTHERS,
  ]);
  const held = await holdingsOf(await site(OWN));
  assert.throws(() => refuseSameId(held), (error: DeployError) => {
    assert.equal(error.exitCode, 2);
    assert.deepEqual(error.where, [
      "THANOS_S3_ACCESS_KEY is in use on 197 (monitoring/thanos-s3-config)",
    ]);
    return true;
  });
});

Deno.test("largestGap() takes neighbours in time, in any order", () => {
  assert.equal(largestGap([]), 0);
  assert.equal(largestGap([30]), 0);
  assert.equal(largestGap([90, 0, 30, 150, 30]), 60);
});

Deno.test("a gap is a problem beyond what graphs bridge, and so is a Prometheus that is silent", () => {
  assert.deepEqual(judgeGap(300, 12, 30), { state: "ok", what: "300 s without a sample at most" });
  const found = (...judged: Parameters<typeof judgeGap>) => {
    const { state = "fail", what } = judgeGap(...judged);
    return `${state}: ${what}`;
  };
  assert.match(found(301, 12, 30), /^fail: 301 s without a sample/);
  assert.match(found(80, 75, 30), /^fail: .*no new sample of itself for 75 s/);
  assert.match(found(0, undefined, 30), /^fail: .*no new sample of itself$/);
});

Deno.test("V8: a rotation proves uploads by blocks that the bucket has got, and Longhorn by its next look", async () => {
  const upload = async (minutes?: number) => {
    const at = new Date(Date.now() - 60_000 * (minutes ?? 0)).toISOString();
    const item = `<Contents><Key>x</Key><LastModified>${at}</LastModified></Contents>`;
    const list = `<ListBucketResult>${minutes === undefined ? "" : item}</ListBucketResult>`;
    await using s3 = fakeS3({ fault: () => new Response(list) });
    const proxy = answering({
      "/api/v1/status/tsdb/blocks": { data: { blocks: [{ ulid: block(1) }] } },
      "/api/v1/query": { data: { result: [] } },
    });
    const subject = subjectWith(await site({}, s3.endpoint), { proxy });
    return (await uploads(subject, Date.now() - 5 * 60_000)).what;
  };
  assert.match(await upload(), /1 blocks of Prometheus are not in the bucket/);
  assert.equal(await upload(1), "1 meanwhile, the last block was uploaded 0.0 h ago");
  assert.equal(await upload(6), "0 meanwhile, the last block was uploaded 0.1 h ago");

  const now = Date.parse("2026-11-29T12:00:00Z");
  const cluster = await site();
  const target = (lastSyncedAt: string) => ({
    kind: "BackupTarget",
    metadata: { name: "default" },
    spec: targetSpec("197"),
    status: { available: true, lastSyncedAt },
  });
  const look = async (at: string) => {
    await fakeKubectl([{ on: " get backuptargets", stdout: listOf(target(at)) }]);
    return await backupTarget(subjectWith(cluster), now);
  };
  assert.match((await look("2026-11-29T11:59:00Z")).what, /has not looked at it since .*11:59/);
  assert.equal((await look("2026-11-29T12:00:30Z")).state, "ok");
});

Deno.test("a rotation asks every check of 50-verify that a key for S3 has a part in", () => {
  const asked = STEPS.flatMap(({ checks = [] }) => checks).filter(({ s3 }) => s3);
  assert.deepEqual(asked.map(({ name }) => name), [
    "Bucket of volumes",
    "Bucket of metrics",
    "Compactor",
    "Blocks in Store",
    "Bucket of logs",
    "Log snapshots",
  ]);
});

Deno.test("judgeKeys() shows the ends of keys only", async () => {
  await fakeKubectl([...secretsOf(await site(OWN)), NO_OTHERS]);
  const shown = { state: "ok", what: "metrics …-key, logs …-key" };
  assert.deepEqual(judgeKeys(await holdingsOf(await site(OWN))), [shown]);
  const [metrics, logs] = judgeKeys(await holdingsOf(await site()));
  assert.match(metrics!.what, /^Secret monitoring\/thanos-s3-config holds another key \(…-key\)/);
  assert.match(logs!.what, /^Secret logging\/opensearch-s3-config holds another key \(…-key\)/);
});

/** A MinIO's administration, which knows these users; gives what became of them. */
function administered(users: Record<string, string>) {
  return ({ bucket, query }: Seen): Response | undefined => {
    if (bucket !== "minio") return undefined;
    const search = new URLSearchParams(query);
    const id = search.get("accessKey");
    if (id === null) return Response.json({ mode: "online" });
    if (!(id in users)) return Response.json({ Code: "XMinioAdminNoSuchUser" }, { status: 404 });
    users[id] = search.get("status") ?? users[id]!;
    return Response.json({ status: users[id], policyName: "" });
  };
}

/** What retire() tells of these keys. */
async function retired(old: string[], fleet: Cluster[]): Promise<string> {
  const lines: string[] = [];
  await retire(old, fleet, new Report("", (line) => void lines.push(line)));
  return lines.join("");
}

Deno.test("retire() disables old users, never S3_ACCESS_KEY, and tells of what it cannot", async () => {
  const users = { "old-user-aaaa": "enabled", [KEY.id]: "enabled" };
  await using fake = fakeS3({ fault: administered(users) });
  const fleet = [await site({}, fake.endpoint)];
  const told = await retired(["old-user-aaaa", KEY.id, "a-root-bbbb"], fleet);
  assert.deepEqual(users, { "old-user-aaaa": "disabled", [KEY.id]: "enabled" });
  assert.match(told, /^ {4}changed {4}the user of the old key …aaaa is disabled/);
  assert.match(told, /…3f9a stays valid: it is S3_ACCESS_KEY[^]*…bbbb any longer: take/);
  assert.doesNotMatch(told, /…aaaa any longer/);
});

Deno.test("retire() leaves it to the operator where the server is no MinIO", async () => {
  await using fake = fakeS3();
  const told = await retired(["old-user-aaaa"], [await site({}, fake.endpoint)]);
  assert.match(told, /^ {4}note {7}no cluster uses the old key …aaaa any longer: take it away/);
});

const TARGET: Reply[] = [
  { on: "config view", stdout: FLEET_CONFIG },
  identityReply("1-2-3", {
    id: "197",
    name: "cluster-197-edge",
    role: "edge",
    uid: "1-2-3",
  }),
  ...FREE,
  { on: " get secret.v1. ", stdout: listOf() },
  { on: " apply ", stdout: listOf() },
  { on: " delete secret s3-keys-before-rotation .*--ignore-not-found" },
];

function stepThat(name: string, ran: string[], error?: DeployError): Step {
  return step({
    name,
    objects: () => Promise.resolve([]),
    run: () => error ? Promise.reject(error) : Promise.resolve(void ran.push(name)),
  });
}

/** Runs the command on cluster 197; steps only tell that they ran. */
async function run(
  fake: FakeS3,
  replies: Reply[],
  { prepared, ...options }: { prepared?: DeployError } & Parameters<typeof rotate>[1] = {},
) {
  const calls = await fakeKubectl([...replies, ...TARGET]);
  const cluster = await site(OWN, fake.endpoint);
  using s3 = s3Of(cluster);
  for (const { name } of bucketsOf(cluster)) await ensureBucket(s3, name);
  const lines: string[] = [], ran: string[] = [];
  const code = await rotate([cluster], {
    ...options,
    patience: 0,
    report: new Report("", (line) => void lines.push(line)),
    prepare: [stepThat("00-minio", ran, prepared)],
    steps: [stepThat("20-prometheus", ran)],
  });
  const written = (await calls()).filter(({ args }) => / (apply|delete) /.test(args));
  const all = (await calls()).map(({ args }) => args).join("\n") + lines.join("");
  assert.ok(!/-secret\b|secret-key/.test(all.replaceAll("longhorn-s3-secret", "")), all);
  const memory = written.map(({ stdin }) => stdin).find((text) => text.includes("before-rotation"));
  const ids = /["\s]ids"?: *"?([\w+/=]+)/.exec(memory ?? "")?.[1] ?? "";
  return {
    code,
    ran,
    output: lines.join(""),
    written: written.map(({ args }) => args),
    remembered: atob(ids).split("\n"),
  };
}

/** An S3 with the new keys, and a MinIO's administration with those users. */
function server(users: Record<string, string>): FakeS3 {
  const keys = { "metrics-key": "metrics-secret", "logs-key": "logs-secret" };
  return fakeS3({
    keys: { ...keys, "volumes-key": "volumes-secret" },
    fault: administered(users),
  });
}

Deno.test("rotate-s3 has nothing to do when every cluster holds the keys of the settings", async () => {
  await using fake = server({});
  const { code, ran, output } = await run(fake, [...secretsOf(await site(OWN)), NO_OTHERS]);
  assert.deepEqual([code, ran], [0, []]);
  assert.match(output, /nothing to rotate/);
});

Deno.test("rotate-s3 proves the new keys, hands them out, and disables the old user at the end", async () => {
  const users = { "old-access-key": "enabled" };
  await using fake = server(users);
  const now = [...secretsOf(await site(OLD), 1), ...secretsOf(await site(OWN)), NO_OTHERS];
  const { code, ran, output, written } = await run(fake, now);
  assert.equal(code, 0, output);
  assert.deepEqual(ran, ["00-minio", "20-prometheus"]);
  assert.equal(users["old-access-key"], "disabled");
  assert.match(output, /the user of the old key …-key is disabled/);
  assert.match(written[0]!, / apply /, "what is old is remembered before it is replaced");
  assert.match(written.at(-1)!, / delete secret s3-keys-before-rotation /);
});

Deno.test("rotate-s3 touches nothing when a new key does not work", async () => {
  const users = { "old-access-key": "enabled" };
  await using fake = server(users);
  const prepared = new DeployError("Cannot put a probe object", { exitCode: 8 });
  const before = [...secretsOf(await site(OLD)), NO_OTHERS];
  const { code, ran, output, written } = await run(fake, before, { prepared });
  assert.deepEqual([code, ran, written], [8, [], []]);
  assert.match(output, /nothing is rotated: every cluster keeps its keys/);
  assert.equal(users["old-access-key"], "enabled");
});

Deno.test("rotate-s3 disables nothing while a Secret still holds an old key", async () => {
  const users = { "old-access-key": "enabled" };
  await using fake = server(users);
  const [thanos, logs] = secretsOf(await site(OLD)) as [Reply, Reply];
  const renewed = secretsOf(await site(OWN))[0]!;
  const replies = [{ ...thanos, times: 1 }, renewed, logs, NO_OTHERS];
  const { code, output, written } = await run(fake, replies);
  assert.equal(code, 11, output);
  assert.match(output, /every old key stays valid/);
  assert.equal(users["old-access-key"], "enabled");
  assert.ok(!written.some((args) => args.includes(" delete ")), "a second run knows what is old");
});

Deno.test("rotate-s3 that was cut off goes on: what is old is remembered by the cluster", async () => {
  const users = { "old-access-key": "enabled" };
  await using fake = server(users);
  const memory = secret("s3-keys-before-rotation", "default", { ids: "old-access-key" });
  const replies = [
    ...secretsOf(await site(OWN)),
    { on: " get secret s3-keys-before-rotation ", stdout: JSON.stringify(memory) },
    NO_OTHERS,
  ];
  const { code, ran, output } = await run(fake, replies);
  assert.equal(code, 0, output);
  assert.deepEqual(ran, ["00-minio", "20-prometheus"]);
  assert.equal(users["old-access-key"], "disabled");
});

Deno.test("rotate-s3 --keep-old leaves the old user, and says so", async () => {
  const users = { "old-access-key": "enabled" };
  await using fake = server(users);
  const now = [...secretsOf(await site(OLD), 1), ...secretsOf(await site(OWN)), NO_OTHERS];
  const { code, output } = await run(fake, now, { keepOld: true });
  assert.equal(code, 0, output);
  assert.equal(users["old-access-key"], "enabled");
  assert.match(output, /the old key …-key stays, as --keep-old says/);
});

Deno.test("rotate-s3 leaves the old user while a cluster is paused, and keeps in mind that it must go", async () => {
  const users = { "old-access-key": "enabled" };
  await using fake = server(users);
  const now = [...secretsOf(await site(OLD), 1), ...secretsOf(await site(OWN)), NO_OTHERS];
  const { code, output, written } = await run(fake, now, { paused: ["198"] });
  assert.equal(code, 0, output);
  assert.equal(users["old-access-key"], "enabled");
  assert.match(
    output,
    /the old key …-key stays, while 198 is paused; then: make rotate-s3, before/,
  );
  assert.deepEqual(written.filter((words) => / delete /.test(words)), []);
});

Deno.test("rotate-s3 keeps in mind the old key that a paused cluster has of its own, too", async () => {
  await using fake = server({});
  const old = { ...OWN, THANOS_S3_ACCESS_KEY: "old-197", OPENSEARCH_S3_ACCESS_KEY: "shared" };
  const now = [...secretsOf(await site(old), 1), ...secretsOf(await site(OWN)), NO_OTHERS];
  const { code, output, remembered } = await run(fake, now, { paused: ["198", "201"] });
  assert.equal(code, 0, output);
  assert.deepEqual(remembered, ["old-197", "old-198", "old-201", "shared"]);
});

// The S3 half against a real MinIO over TLS: what it really answers to each fault, and what only it
// can do. On a disk of its own where the kernel gives one, so that it can be full.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "zx";
import { ensureBucket, probeBucket } from "../../../lib/s3/bucket.ts";
import { must } from "../../../lib/s3/call.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { freePorts, isFree, startDaemon, stopDaemons } from "../../../scripts/demo/daemon.ts";
import { DeployError } from "../../../lib/core/error.ts";
import {
  administration,
  attach,
  disableUser,
  metricsToken,
  type Policy,
  putPolicy,
  putUser,
  quotaOf,
  setQuota,
  userInfo,
} from "../../../scripts/components/minio/admin.ts";
import { Report } from "../../../lib/io/report.ts";
import { keyOf, type S3, type S3Key, s3Of } from "../../../lib/s3/client.ts";
import { pending, planResources } from "../../../lib/deploy/plan_fleet.ts";
import { runStep } from "../../../lib/deploy/step.ts";
import { ensureTools } from "../../../scripts/tools/tool.ts";
import { until } from "../../../lib/io/wait.ts";
import { minio } from "../../../scripts/00-minio.ts";
import { storage } from "../../../scripts/components/minio/resources.ts";
import {
  bucketsOf,
  objstoreConfig,
  policyNameOf,
  policyOf,
} from "../../../scripts/components/minio/buckets.ts";
import { minioMetrics } from "../../../scripts/components/prometheus/objects.ts";
import { fixtureCluster, fixtureFleet } from "../../support/cluster_fixture.ts";
import { ensureVersions, pem, removeUser } from "../../support/s3.ts";
import { inventoryOf } from "../../support/inventory.ts";

const ROOT = { accessKey: "root-of-the-test", secretKey: "hush-root-secret" };
const OWN_KEYS = Object.fromEntries(
  ["THANOS", "OPENSEARCH", "LONGHORN"].flatMap((program) => [
    [`${program}_S3_ACCESS_KEY`, `${program.toLowerCase()}-of-the-test`],
    [`${program}_S3_SECRET_KEY`, `hush-${program.toLowerCase()}-secret`],
  ]),
);
const OURS = "thanos-multi-cluster-";
const MI = 2 ** 20;
const LIST = { Effect: "Allow" as const, Action: ["s3:ListBucket"], Resource: ["arn:aws:s3:::*"] };

const program = await ensureTools(["minio"]).then(({ minio }) => minio!, (error) => {
  if (!(error instanceof DeployError)) throw error;
});
const folder = await mkdtemp(join(tmpdir(), "minio-test-"));
const ownDisk = (await $({ nothrow: true })`unshare -Urm mount -t tmpfs tmpfs ${folder}`).ok;
let endpoint = "";

function test(name: string, work: (t: Deno.TestContext) => Promise<void>): void {
  Deno.test({ name, fn: work, ignore: program === undefined });
}

Deno.test.beforeAll(async () => {
  if (program) endpoint = await serve("minio", "leaf");
});

Deno.test.afterAll(async () => {
  await stopDaemons(folder);
  await rm(folder, { recursive: true, force: true });
});

/** Starts a MinIO that shows this certificate; gives its address. */
async function serve(name: string, certificate: string): Promise<string> {
  const [data, certificates] = [join(folder, name), join(folder, `${name}-certs`)];
  await mkdir(data);
  await mkdir(certificates);
  const tls = new URL("../../fixtures/tls/test-only-", import.meta.url).pathname;
  await copyFile(`${tls}${certificate}.pem`, join(certificates, "public.crt"));
  await copyFile(`${tls}leaf.key`, join(certificates, "private.key"));
  const [port] = await freePorts(1) as [number];
  const address = `127.0.0.1:${port}`;
  const command = [program!, "server", "--quiet", "--address", address]
    .concat("--console-address", "127.0.0.1:0", "--certs-dir", certificates, data);
  // The disk goes with its last process.
  const small = `mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"`;
  await startDaemon(folder, {
    name,
    command: ownDisk ? ["unshare", "-Urm", "sh", "-c", small, data, ...command] : command,
    environment: {
      MINIO_ROOT_USER: ROOT.accessKey,
      MINIO_ROOT_PASSWORD: ROOT.secretKey,
      HOME: folder,
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
      MINIO_SCANNER_SPEED: "fastest", // it counts the buckets in seconds
    },
    ready: async () => !await isFree(port) && (certificate !== "leaf" || await isReady(address)),
  });
  return `https://${address}`;
}

async function isReady(address: string): Promise<boolean> {
  using client = Deno.createHttpClient({ caCerts: [pem("ca.pem")] });
  const answer = await fetch(`https://${address}/minio/health/ready`, { client }).catch(() => {});
  await answer?.body?.cancel();
  return answer?.ok === true;
}

/** The site of the tests; buckets begin with `name`, so that no test meets another one's. */
async function site(name: string, vars: Record<string, string> = {}): Promise<Cluster> {
  const cluster = await fixtureCluster("197", {
    S3_ENDPOINT: endpoint,
    SIMULATED_NODES: "true", // the cluster is none
    S3_ACCESS_KEY: ROOT.accessKey,
    S3_SECRET_KEY: ROOT.secretKey,
    THANOS_BUCKET: `${name}-thanos`,
    OPENSEARCH_BUCKET: `${name}-opensearch-logs`,
    LONGHORN_BUCKET: `${name}-longhorn-backups`,
    ...vars,
  });
  return { ...cluster, s3Ca: pem("ca.pem") };
}

/** Work as root on a bucket that is there; `as` gives the same server with another key. */
async function inBucket(
  bucket: string,
  work: (root: S3, as: (key: S3Key) => S3) => Promise<void>,
): Promise<void> {
  const cluster = await site("unused");
  using stack = new DisposableStack();
  const as = (key: S3Key) => stack.use(s3Of(cluster, { key }));
  const root = as(ROOT);
  await ensureBucket(root, bucket);
  await work(root, as);
}

/** The exit-8 error of a promise, as one text, which must hold no secret. */
async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => assert.fail("it did not fail"), (error) => error);
  assert.ok(error instanceof DeployError, String(error?.stack));
  assert.equal(error.exitCode, 8);
  const text = [error.message, ...error.where, `fix: ${error.fix}`].join("\n");
  assert.ok(!text.includes("hush") && !text.includes(ROOT.accessKey), text);
  return text;
}

/** A user of the server with one policy. */
async function makeUser(root: S3, user: S3, policy: string): Promise<void> {
  await putUser(root, user);
  await attach(root, user, [policy]);
}

async function run(cluster: Cluster): Promise<{ state: string; changed: number; output: string }> {
  const lines: string[] = [];
  const { state, changed } = await runStep(
    minio,
    inventoryOf(cluster, []),
    new Report("", (l) => lines.push(l)),
  );
  return { state, changed, output: lines.join("") };
}

/** What a key may do in a bucket, as the answers to one request each. */
async function rights(user: S3, bucket: string, folder = ""): Promise<Record<string, number>> {
  const key = `${folder}an-object`;
  const calls = {
    put: { method: "PUT", bucket, key, body: "text" },
    get: { method: "GET", bucket, key },
    list: { method: "GET", bucket, query: `list-type=2&prefix=${folder}` },
    delete: { method: "DELETE", bucket, key },
    deleteBucket: { method: "DELETE", bucket },
    deleteVersion: { method: "DELETE", bucket, key, query: "versionId=null" },
    create: { method: "PUT", bucket: `${bucket}-more` },
  } as const;
  const found: Record<string, number> = {};
  for (const [name, call] of Object.entries(calls)) {
    found[name] = (await user.send({ ...call, what: name, action: "" })).status;
  }
  return found;
}

test("B24: 00-minio gives every program a user that may use its own bucket, and delete none", async () => {
  const cluster = await site("users", { ...OWN_KEYS, THANOS_BUCKET_QUOTA: "1Gi" });
  const first = await run(cluster);
  assert.equal(first.state, "ok", first.output);
  assert.match(first.output, /BucketQuota\/users-thanos configured: bytes: \(none\) -> 1073741824/);
  assert.equal(first.changed, 3 + 1 + 3 + 3, first.output);
  const second = await run(cluster);
  assert.deepEqual([second.state, second.changed], ["ok", 0], second.output);
  assert.doesNotMatch(second.output, /warning/);

  const buckets = bucketsOf(cluster);
  for (const { key, name, folder } of buckets) {
    using user = s3Of(cluster, { key });
    assert.deepEqual(await rights(user, name, folder), {
      ...{ put: 200, get: 200, list: 200, delete: 204 },
      ...{ deleteVersion: 403, deleteBucket: 403, create: 403 },
    });
    for (const other of buckets.filter((bucket) => bucket.name !== name)) {
      const found = Object.values(await rights(user, other.name));
      assert.deepEqual(new Set(found), new Set([403]), `${name} -> ${other.name}`);
    }
    assert.equal(await administration(user), "no right");
  }
});

/** The answer to one request about an object. */
async function ask(user: S3, method: "GET" | "PUT" | "DELETE", bucket: string, key: string) {
  const body = method === "PUT" ? "text" : undefined;
  return (await user.send({ method, bucket, key, body, what: method, action: "" })).status;
}

/** Every cluster of the site, after its own 00-minio. */
async function deployed(name: string, vars: Record<string, string>): Promise<Cluster[]> {
  const { vars: { CLUSTER_ID: _, ...site_ } } = await site(name, vars);
  const ours = Object.fromEntries(
    Object.keys(vars).concat("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "SIMULATED_NODES")
      .concat("THANOS_BUCKET", "OPENSEARCH_BUCKET", "LONGHORN_BUCKET")
      .map((setting) => [setting, vars[setting] ?? String(site_[setting])]),
  );
  const fleet = (await fixtureFleet(ours)).map((one) => ({ ...one, s3Ca: pem("ca.pem") }));
  for (const cluster of fleet) {
    const { state, output } = await run(cluster);
    assert.equal(state, "ok", output);
  }
  return fleet;
}

const BLOCK = "01JAAAAAAAAAAAAAAAAAAAAAAA";
const PER_CLUSTER = { S3_KEY_PER_CLUSTER: "true" };

test("P7: an edge's key deletes and reads nobody's blocks, and reaches logs and volumes of its cluster alone", async () => {
  await deployed("least", OWN_KEYS);
  const [central, edge] = await deployed("least", { ...OWN_KEYS, ...PER_CLUSTER }) as [
    Cluster,
    Cluster,
  ];
  const keys = ["THANOS", "OPENSEARCH", "LONGHORN"].map((program) =>
    [central, edge].map((one) => keyOf(one!, program).accessKey)
  );
  assert.equal(new Set(keys.flat()).size, 6, "nobody shares a key");
  await inBucket("least-thanos", async (_, as) => {
    // What all shared before goes on until it is retired.
    for (const [program, name] of [["THANOS", "thanos"], ["LONGHORN", "longhorn-backups"]]) {
      const before = as({
        accessKey: OWN_KEYS[`${program}_S3_ACCESS_KEY`]!,
        secretKey: OWN_KEYS[`${program}_S3_SECRET_KEY`]!,
      });
      const folder = "cluster-198/";
      assert.equal((await rights(before, `least-${name}`, folder)).delete, 204);
    }
    const users = (cluster: Cluster) => bucketsOf(cluster).map(({ key }) => as(key));
    const [ofCentral, ofEdge] = [users(central), users(edge)];
    const bucket = "least-thanos";
    const files = ["meta.json", "index", "chunks/000001"].map((file) => `${BLOCK}/${file}`);
    for (const file of files) assert.equal(await ask(ofEdge[0]!, "PUT", bucket, file), 200);
    assert.equal(await ask(ofEdge[0]!, "GET", bucket, files[0]!), 200, "the sidecar looks at it");
    assert.equal(await ask(ofEdge[0]!, "GET", bucket, `${BLOCK.slice(1)}B/meta.json`), 404);
    for (const file of files) {
      assert.equal(await ask(ofEdge[0]!, "DELETE", bucket, file), 403, file);
    }
    for (const file of files.slice(1)) {
      assert.equal(await ask(ofEdge[0]!, "GET", bucket, file), 403, file);
    }
    // With this mark the Compactor would delete the block in its name.
    for (const mark of ["deletion-mark.json", "no-compact-mark.json", "anything"]) {
      assert.equal(await ask(ofEdge[0]!, "PUT", bucket, `${BLOCK}/${mark}`), 403, mark);
    }
    for (const file of files) assert.equal(await ask(ofCentral[0]!, "DELETE", bucket, file), 204);

    for (const [index, name] of ["least-opensearch-logs", "least-longhorn-backups"].entries()) {
      const [own, other] = [ofEdge[index + 1]!, ofCentral[index + 1]!];
      assert.deepEqual(await rights(own, name, "cluster-197/"), {
        ...{ put: 200, get: 200, list: 200, delete: 204 },
        ...{ deleteVersion: 403, deleteBucket: 403, create: 403 },
      });
      for (const folder of ["cluster-196/", "cluster-1970/", "cluster-19", ""]) {
        assert.deepEqual(new Set(Object.values(await rights(own, name, folder))), new Set([403]));
      }
      const { put, list, delete: gone } = await rights(other, name, "cluster-197/");
      assert.deepEqual([put, gone], [403, 403], "central neither");
      assert.equal(list, name.includes("logs") ? 200 : 403, "make restore-logs FROM=197");
    }
  });
});

test("P7: a site that was deployed before gets the new rights by a deploy, and plan tells them", async () => {
  const wide = (name: string) => ({
    Version: "2012-10-17",
    Statement: [
      { ...LIST, Resource: [`arn:aws:s3:::${name}`] },
      { ...LIST, Action: ["s3:*"], Resource: [`arn:aws:s3:::${name}/*`] },
    ],
  });
  // Keys of the edge's own, as a SECRET_FILE of each cluster gives them, and one that all share.
  const shared = { OPENSEARCH_S3_ACCESS_KEY: "all-share", OPENSEARCH_S3_SECRET_KEY: "hush-share" };
  const alone = { THANOS_S3_ACCESS_KEY: "edge-alone", THANOS_S3_SECRET_KEY: "hush-edge-alone" };
  const base = await site("older", { ...shared, ...alone });
  const fleet = base.fleet.map((peer) =>
    peer.role === "edge" ? peer : {
      ...peer,
      vars: { ...peer.vars, THANOS_S3_ACCESS_KEY: "central-alone" },
    }
  );
  const cluster = { ...base, fleet };
  await inBucket("older-thanos", async (root, as) => {
    for (const { name, key } of bucketsOf(cluster).slice(0, 2)) {
      await putPolicy(root, OURS + name, wide(name));
      await makeUser(root, as(key), OURS + name);
    }
    const plan = async () =>
      pending(await planResources(storage, cluster)).map(({ id, action, fields }) =>
        [action, id, ...fields].join(" ")
      ).filter((line) => / S3/.test(line));
    const planned = await plan();
    assert.match(planned.join("\n"), /^create S3Policy\/\S+older-thanos-197$/m);
    assert.match(planned.join("\n"), /^update S3Policy\/\S+older-opensearch-logs /m);
    assert.match(
      planned.join("\n"),
      /S3User\/THANOS_S3_ACCESS_KEY policies: \(none\) -> "\S+older-thanos-197" policies: "\S+older-thanos" -> \(none\)$/m,
    );
    assert.equal(planned.length, 3, planned.join("\n"));
    const { state, output } = await run(cluster);
    assert.equal(state, "ok", output);
    assert.deepEqual(await plan(), []);
    assert.equal((await run(cluster)).changed, 0);
    const [blocks, logs] = bucketsOf(cluster);
    assert.equal(await ask(as(blocks!.key), "DELETE", blocks!.name, `${BLOCK}/index`), 403);
    const found = await userInfo(root, blocks!.key.accessKey, "it");
    assert.deepEqual(found?.policies, [policyNameOf(cluster, blocks!)]);
    for (const id of ["196", "197", "198"]) {
      assert.equal((await rights(as(logs!.key), logs!.name, `cluster-${id}/`)).delete, 204);
    }
    assert.equal((await rights(as(logs!.key), logs!.name)).put, 403);
  });
});

test("P7: a real sidecar's uploads and the Job of 00-minio need no more than an edge's key may", async () => {
  const [, edge] = await deployed("upload", { ...OWN_KEYS, ...PER_CLUSTER }) as [Cluster, Cluster];
  const { thanos, promtool } = await ensureTools(["thanos", "promtool"]);
  const [data, text] = [join(folder, "blocks"), join(folder, "metrics.txt")];
  await writeFile(text, "# TYPE toy gauge\ntoy 1 1700000000\n# EOF\n");
  await $`${promtool!} tsdb create-blocks-from openmetrics ${text} ${data}`;
  const caFile = join(folder, "ca.pem");
  await writeFile(caFile, pem("ca.pem"));
  for (const bucket of bucketsOf(edge)) {
    const { program } = bucket, file = join(folder, `${program}.yml`);
    await writeFile(file, objstoreConfig(edge, bucket, caFile));
    const config = `--objstore.config-file=${file}`;
    if (program === "THANOS") {
      await $`${thanos!} tools bucket upload-blocks ${config} --path=${data} --label=${'cluster="x"'}`;
    }
    const { stdout } = await $`${thanos!} tools bucket ls ${config}`;
    if (program === "THANOS") assert.match(stdout, /^01\w{24}$/m);
  }
});

test("00-minio makes users once, though three clusters do it at once", async () => {
  const cluster = await site("race", OWN_KEYS);
  const runs = await Promise.all([cluster, cluster, cluster].map(run));
  assert.deepEqual(runs.map(({ state }) => state), ["ok", "ok", "ok"], runs[0]!.output);
  assert.equal((await run(cluster)).changed, 0);
});

test("00-minio corrects a secret, a policy and a quota, and nothing else", async () => {
  const cluster = await site("drift", { ...OWN_KEYS, THANOS_BUCKET_QUOTA: "1Gi" });
  await run(cluster);
  const vars = { THANOS_S3_SECRET_KEY: "hush-other-secret", THANOS_BUCKET_QUOTA: "2Gi" };
  const policy = { ...policyOf(bucketsOf(cluster)[0]!), Statement: [LIST] };
  await inBucket("drift-thanos", async (root) => {
    await putPolicy(root, `${OURS}drift-thanos`, policy);
  });
  const { state, changed, output } = await run(await site("drift", { ...OWN_KEYS, ...vars }));
  assert.equal(state, "ok", output);
  assert.match(
    output,
    /S3User\/THANOS_S3_ACCESS_KEY configured: secret key: "another" -> "that of the settings"/,
  );
  assert.match(output, /BucketQuota\/drift-thanos configured: bytes: 1073741824 -> 2147483648/);
  assert.equal(changed, 3, output);
  assert.ok(!output.includes("hush"));
});

test("E25: what somebody has put into a policy of ours, or into our rule, is drift and goes", async () => {
  const cluster = await site("more", { ...OWN_KEYS, S3_KEEP_DELETED_DAYS: "7" });
  await run(cluster);
  assert.equal((await run(cluster)).changed, 0);
  const blocks = policyOf(bucketsOf(cluster)[0]!);
  const here = {
    IpAddress: { "aws:SourceIp": ["10.0.0.0/8"] },
  } as unknown as Policy["Statement"][number]["Condition"];
  const [first, ...rest] = blocks.Statement;
  const rule =
    "<LifecycleConfiguration><Rule><ID>thanos-multi-cluster</ID><Status>Enabled</Status>" +
    "<Filter><Prefix>k</Prefix></Filter><Expiration><Days>1</Days></Expiration>" +
    "<NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration>" +
    "</Rule></LifecycleConfiguration>";
  await inBucket("more-thanos", async (root) => {
    const Statement = [{ ...first!, Condition: here }, ...rest];
    await putPolicy(root, `${OURS}more-thanos`, { ...blocks, Statement });
    const headers = { "content-md5": createHash("md5").update(rule).digest("base64") };
    const call = { bucket: "more-thanos", query: "lifecycle", what: "put", action: "s3:Put" };
    await must(root, { ...call, method: "PUT", body: rule, headers });
  });
  const { changed, output } = await run(cluster);
  assert.match(
    output,
    /S3Policy\/thanos-multi-cluster-more-thanos configured: statements\[\d\]\.Condition: /,
  );
  assert.match(output, /BucketVersions\/more-thanos configured: our rule: "<Prefix>k" -> \(none\)/);
  assert.match(output, /our rule: "<Days>1" -> \(none\)/);
  assert.equal(changed, 2, output);
  assert.equal((await run(cluster)).changed, 0);
});

test("00-minio tells of a quota that no setting wants, and leaves it", async () => {
  await run(await site("limit", { THANOS_BUCKET_QUOTA: "1Gi" }));
  const { changed, output } = await run(await site("limit"));
  assert.equal(changed, 0);
  assert.match(
    output,
    /"limit-thanos" has a quota of 1073741824 bytes, and THANOS_BUCKET_QUOTA is/,
  );
  await inBucket("limit-thanos", async (root) => {
    assert.equal(await quotaOf(root, "limit-thanos"), 1024 ** 3);
  });
});

test("00-minio with a key that may not administrate says so once, and lets the probes decide", async () => {
  const vars = { ...OWN_KEYS, THANOS_BUCKET_QUOTA: "1Gi" };
  await run(await site("plain", vars));
  await inBucket("plain-thanos", async (root, as) => {
    const user = as({ accessKey: "no-admin-here", secretKey: "hush-no-admin" });
    const all = { Version: "2012-10-17", Statement: [{ ...LIST, Action: ["s3:*"] }] };
    await putPolicy(root, `${OURS}all`, all);
    await makeUser(root, user, `${OURS}all`);
    const site_ = { S3_ACCESS_KEY: user.key.accessKey, S3_SECRET_KEY: user.key.secretKey };
    const { state, changed, output } = await run(await site("plain", { ...vars, ...site_ }));
    assert.deepEqual([state, changed], ["ok", 0], output);
    assert.match(output, /no user is made, as S3_ACCESS_KEY may not administrate the server/);
    assert.match(output, /no quota is set, as S3_ACCESS_KEY may not administrate the server/);
  });
});

test("00-minio leaves somebody else's user and one that is disabled as they are", async () => {
  const own = { THANOS_S3_ACCESS_KEY: "somebody-else", THANOS_S3_SECRET_KEY: "hush-not-theirs" };
  const cluster = await site("foreign", own);
  await inBucket("foreign-thanos", async (root, as) => {
    const user = as({ accessKey: "somebody-else", secretKey: "hush-somebody" });
    await putPolicy(root, "their-policy", { Version: "2012-10-17", Statement: [LIST] });
    await makeUser(root, user, "their-policy");
    const words = /user of THANOS_S3_ACCESS_KEY has rights of its own \(their-policy\): it is left/;
    assert.match((await run(cluster)).output, words);
    assert.equal((await rights(user, "foreign-thanos")).list, 200, "its secret is as it was");
    const entries = await planResources(storage, cluster);
    assert.equal(
      entries.find(({ id }) => id === "S3User/THANOS_S3_ACCESS_KEY")!.action,
      "unchanged",
    );

    await disableUser(root, user.key.accessKey);
    assert.equal((await userInfo(root, user.key.accessKey, "it"))?.enabled, false);
    assert.match(
      await failure(probeBucket(user, "foreign-thanos")),
      /access key …else is disabled/,
    );
    await removeUser(root, user.key.accessKey);
    const unknown = /does not know access key …else/;
    assert.match(await failure(probeBucket(user, "foreign-thanos")), unknown);
  });
});

test("E25: plan and drift name what is not as wanted on the S3, a deploy puts it, and then all is well", async () => {
  const cluster = await site("seen", { ...OWN_KEYS, THANOS_BUCKET_QUOTA: "1Gi" });
  const pendingOf = async () =>
    pending(await planResources(storage, cluster)).map(({ id, action, fields }) =>
      [action, id, ...fields].join(" ")
    );
  assert.equal((await pendingOf()).length, 3 + 1 + 3 + 3, "nothing is there yet");
  assert.equal((await run(cluster)).changed, 10);
  assert.deepEqual(await pendingOf(), []);

  await inBucket("seen-thanos", async (root) => {
    const name = `${OURS}seen-thanos`;
    await putPolicy(root, name, { Version: "2012-10-17", Statement: [LIST] });
    await setQuota(root, "seen-thanos", 10 * MI);
    await removeUser(root, OWN_KEYS.LONGHORN_S3_ACCESS_KEY!);
    const versioning =
      `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`;
    const call = { method: "PUT", bucket: "seen-thanos", query: "versioning", body: versioning };
    await root.send({ ...call, method: "PUT", what: "suspend", action: "" });
  });
  const found = await pendingOf();
  assert.match(found[0]!, /^update BucketQuota\/seen-thanos bytes: 10485760 -> 1073741824$/);
  assert.match(
    found[1]!,
    /^update S3Policy\/thanos-multi-cluster-seen-thanos statements: "\(not shown\)" -> \[/,
  );
  assert.match(found[2]!, /^create S3User\/LONGHORN_S3_ACCESS_KEY$/);
  assert.equal(found.length, 3);
  assert.ok(!found.join().includes("hush"));
  assert.equal((await run(cluster)).changed, 3);
  assert.deepEqual(await pendingOf(), []);
});

test("E25: with a key that the S3 does not know nothing is looked at, and nothing is drift", async () => {
  const cluster = await site("nobody", {
    S3_ACCESS_KEY: "nobody-77aa",
    S3_SECRET_KEY: "hush-none",
  });
  const entries = await planResources(storage, cluster);
  assert.deepEqual(pending(entries), []);
  const bucket = entries.find(({ id }) => id === "Bucket/nobody-thanos")!;
  assert.equal(bucket.action, "unseen");
  assert.match(bucket.fields.join(), /the server does not know access key …77aa/);
});

test("B24: versions and the rule that ends them are as MinIO gives them back", () =>
  inBucket("versions", async (root) => {
    const sevenDays = { days: 7, isMinio: true };
    const { changes, problems } = await ensureVersions(root, "versions", sevenDays);
    assert.deepEqual([changes.length, problems], [2, []]); // the rule, and versions
    assert.deepEqual(await ensureVersions(root, "versions", sevenDays), {
      changes: [],
      problems: [],
    });
    const fewer = await ensureVersions(root, "versions", { days: 3, isMinio: true });
    assert.deepEqual(fewer.changes, ["days until old versions go: 7 -> 3"]);
    await probeBucket(root, "versions");
  }));

test("A61: MinIO does not know a key, or finds its secret wrong", () =>
  inBucket("keys", async (_, as) => {
    const unknown = as({ accessKey: "nobody-77aa", secretKey: "hush-nothing" });
    assert.match(await failure(ensureBucket(unknown, "keys")), /does not know access key …77aa/);
    const wrong = as({ ...ROOT, secretKey: "hush-wrong-secret" });
    const text = await failure(ensureBucket(wrong, "keys"));
    assert.match(text, /the secret key does not belong to access key …test/);
    assert.match(text, /403 SignatureDoesNotMatch/);
  }));

test("A63: MinIO refuses a clock that is 20 minutes off", async () => {
  const cluster = await site("unused");
  using s3 = s3Of(cluster, { clock: () => new Date(Date.now() - 20 * 60_000) });
  const text = await failure(ensureBucket(s3, "clock"));
  assert.match(text, /clocks differ: \d{4}-.*Z here, \d{4}-.*Z on the server \(20 min apart\)/);
  assert.match(text, /403 RequestTimeTooSkewed/);
});

test("A64: MinIO with a certificate without its address is explained", async () => {
  const cluster = await site("unused");
  const other = { ...cluster.vars, S3_ENDPOINT: await serve("other", "no-ip-san") };
  using s3 = s3Of({ ...cluster, vars: other });
  const text = await failure(ensureBucket(s3, "thanos"));
  assert.match(text, /its certificate is not valid for IP 127.0.0.1/);
  assert.match(text, /its names \(SAN\): DNS:minio.example/);
});

test("A65: MinIO tells which right is missing, and a probe that stays is named", () =>
  inBucket("rights", async (root, as) => {
    const user = as({ accessKey: "no-delete-here", secretKey: "hush-no-delete" });
    const action = (Action: string[]) => ({ ...LIST, Action });
    const policy: Policy = {
      Version: "2012-10-17",
      Statement: [action(["s3:ListBucket", "s3:GetObject", "s3:PutObject"])],
    };
    await putPolicy(root, `${OURS}rights`, policy);
    await makeUser(root, user, `${OURS}rights`);
    const text = await failure(probeBucket(user, "rights"));
    assert.match(text, /^Cannot delete .* access key …here lacks s3:DeleteObject/);
    assert.match(text, /could not be removed: rights\/\.thanos-multi-cluster-probe-/);
    policy.Statement = [action(["s3:ListBucket"])];
    await putPolicy(root, `${OURS}rights`, policy);
    assert.match(await failure(probeBucket(user, "rights")), /^Cannot put .* lacks s3:PutObject/);
  }));

test("B25: MinIO shows with the key of Thanos how full it and its buckets are", async () => {
  const plain = await site("watched", OWN_KEYS);
  const cluster = {
    ...plain,
    role: "central",
    vars: { ...plain.vars, MINIO_METRICS: true, THANOS_BUCKET_QUOTA: "1Gi" },
  } as const;
  await run(cluster);
  const [scrape, token] = minioMetrics(cluster);
  const { metricsPath, metricRelabelings: [{ regex }], staticConfigs } = scrape!.spec;
  const pages = staticConfigs.map(({ labels }: { labels?: Record<string, string> }) =>
    labels?.__metrics_path__ ?? metricsPath
  );
  using client = Deno.createHttpClient({ caCerts: [pem("ca.pem")] });
  const ask = async (page: string, token: string) =>
    await fetch(endpoint + page, { client, headers: { authorization: `Bearer ${token}` } });
  const keptOf = async (page: string): Promise<string[]> => {
    const answer = await ask(page, atob(token!.data.token));
    assert.equal(answer.status, 200);
    return (await answer.text()).split("\n")
      .filter((line) => new RegExp(`^(${regex})\\{`).test(line))
      .filter((line) => !line.includes("bucket=") || line.includes(`"${plain.vars.THANOS_BUCKET}"`))
      .map((line) => line.split("{")[0]!);
  };
  assert.deepEqual(await keptOf(pages[0]), [
    "minio_cluster_capacity_usable_free_bytes",
    "minio_cluster_capacity_usable_total_bytes",
  ]);
  const wanted = ["minio_bucket_quota_total_bytes", "minio_bucket_usage_total_bytes"];
  await until("MinIO to count its buckets", async () => {
    const kept = await keptOf(pages[1]);
    return wanted.filter((metric) => !kept.includes(metric));
  }, { seconds: 180, every: 1 });
  const stranger = await ask(pages[1], metricsToken(keyOf(cluster, "LONGHORN")));
  assert.equal(stranger.status, 403, await stranger.text());
});

test("A65: MinIO has no such bucket", async () => {
  using s3 = s3Of(await site("unused"));
  const text = await failure(probeBucket(s3, "never-made"));
  assert.match(text, /the bucket is gone/);
  assert.match(text, /404 NoSuchBucket/);
});

test("A65: a quota of MinIO is used up", () =>
  inBucket("quota", async (root) => {
    await setQuota(root, "quota", 10);
    const text = await failure(probeBucket(root, "quota"));
    assert.match(text, /the quota of "quota" is used up/);
    assert.match(text, /400 XMinioAdminBucketQuotaExceeded/);
  }));

Deno.test({
  name: "A65: the disk of MinIO is full",
  ignore: program === undefined || !ownDisk,
  fn: () =>
    inBucket("full", async (root) => {
      const fill = { method: "PUT", bucket: "full", what: "fill", action: "" } as const;
      for (const size of [4 * MI, MI / 16, 1024, 64]) {
        const body = new Uint8Array(size);
        for (let n = 0, ok = true; ok; n++) {
          ok = (await root.send({ ...fill, key: `${size}-${n}`, body })).status === 200;
        }
      }
      const text = await failure(probeBucket(root, "full"));
      assert.match(text, /the server's disks are full/);
      assert.match(text, /507 XMinioStorageFull/);
    }),
});

test("A60: MinIO is down", async () => {
  using s3 = s3Of(await site("unused"));
  await stopDaemons(folder);
  assert.match(await failure(probeBucket(s3, "thanos")), /connection refused/);
});

// A MinIO with the blocks of thirty clusters and ninety days: what Store takes to be ready, what it needs then, a
// question about a week, and a run of the Compactor.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { $ } from "zx";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { until } from "../../lib/io/wait.ts";
import { freePorts, startDaemon, stopDaemons } from "../../scripts/demo/daemon.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { asked, startThanos, withFlags } from "../support/thanos.ts";
import { type Centre, centresOf, CLUSTERS, residentOf, streamsOf } from "./centre.ts";
import { type Bench, measure, timed } from "./context.ts";
import { failed } from "./measure.ts";
import { watchMemory } from "./memory.ts";
import { type Bucket, fillBucket, makeStream, METRIC, objstoreOf } from "./stream.ts";

const RUNS = 3;
const HOUR = 3600, WEEK = 7 * 24 * HOUR;

interface Place {
  folder: string;
  programs: Record<string, string>;
  bucket: Bucket;
}

/** Store, Query and the Compactor over such a bucket, with the settings of each centre. */
export async function manyBlocks(bench: Bench): Promise<void> {
  await bench.servers.stop();
  const folder = join(bench.folder, "blocks");
  const programs = await ensureTools(["thanos", "promtool", "minio"]);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => stopDaemons(folder));
  const centres = await centresOf("default", "fleet", "lazy");
  const [plain, profile] = centres as [Centre, Centre, Centre];
  const bucket = await startMinioAt(folder, programs.minio!);
  const blocks = await makeStream(join(folder, "stream"), programs, plain.words.get("compact")!);
  bench.report.note(`${blocks.length} blocks of each of ${CLUSTERS} clusters`);
  // One for each Compactor; those of Store are not changed meanwhile.
  for (const { name } of [plain, profile]) {
    await fillBucket(bucket, name, blocks, streamsOf(plain));
    await writeFile(join(folder, `objstore-${name}`), objstoreOf(bucket, name));
  }
  const place = { folder, programs, bucket };
  for (let run = 1; run <= RUNS; run++) {
    for (const centre of centres) await store(bench, place, centre, `${centre.name}-${run}`);
  }
  for (const centre of [plain, profile]) {
    await compactor(bench, place, centre, "compactor");
    await compactor(bench, place, centre, "compactor idle");
  }
}

async function startMinioAt(folder: string, minio: string): Promise<Bucket> {
  const [port] = await freePorts(1);
  const endpoint = `127.0.0.1:${port}`;
  const key = { accessKeyId: "bench-access", secretAccessKey: "bench-secret" };
  await startDaemon(folder, {
    name: "minio",
    command: [minio, "server", "--quiet", "--address", endpoint, join(folder, "minio")],
    environment: {
      MINIO_ROOT_USER: key.accessKeyId,
      MINIO_ROOT_PASSWORD: key.secretAccessKey,
      MINIO_PROMETHEUS_AUTH_TYPE: "public",
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
      HOME: folder,
    },
    ready: () => fetch(`http://${endpoint}/minio/health/ready`).then(({ ok }) => ok, () => false),
  });
  return { endpoint, key };
}

/** Calls that MinIO has had so far. */
async function callsOf({ endpoint }: Bucket): Promise<number> {
  const text = await (await fetch(`http://${endpoint}/minio/v2/metrics/cluster`)).text();
  const counts = [...text.matchAll(/^minio_s3_requests_total\{.*\} (.*)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

/** The spec of a StatefulSet of the centre. */
function statefulSet(objects: Manifest[], name: string): Manifest["spec"] {
  return objects.find((one) => idOf(one) === `StatefulSet/monitoring/${name}`)!.spec;
}

/** All shards of a centre from nothing, a question through its Query, and once more. */
async function store(
  bench: Bench,
  { folder, programs, bucket }: Place,
  { name, objects, words }: Centre,
  run: string,
): Promise<void> {
  const own = join(folder, run);
  await mkdir(own);
  const { replicas } = statefulSet(objects, "thanos-store");
  const ports = await freePorts(2 * replicas + 2);
  const shards = Array.from({ length: Number(replicas) }, (_, shard) => ({
    name: `store-${shard}`,
    grpc: ports[2 * shard]!,
    http: ports[2 * shard + 1]!,
    environment: { SHARD: String(shard) },
    words: withFlags(words.get("store")!, {
      "--data-dir": join(own, `volume-${shard}`),
      "--objstore.config-file": join(folder, "objstore-default"),
    }),
  }));
  const names = shards.map(({ name }) => name);
  const start = () =>
    timed(() => Promise.all(shards.map((shard) => startThanos(own, programs.thanos!, shard))));
  await measure(bench, `${name} store`, async () => {
    const before = await callsOf(bucket);
    const { seconds } = await start();
    const { now } = await residentOf(own, ...names);
    const volumes = shards.map((_, shard) => join(own, `volume-${shard}`));
    const kibibytes = (await $({ quiet: true })`du -sk ${volumes}`).lines()
      .reduce((sum, line) => sum + Number.parseInt(line), 0);
    const requests = await callsOf(bucket) - before;
    return { seconds, requests, own: now, tree: kibibytes / 1024 };
  });
  const [grpc, http] = ports.slice(-2) as [number, number];
  const endpoints = shards.map(({ grpc }) => ({ address: `127.0.0.1:${grpc}` }));
  await writeFile(join(own, "endpoints"), stringify({ endpoints }));
  const flags = { "--endpoint.sd-config-file": join(own, "endpoints") };
  const query = { name: "query", words: withFlags(words.get("query")!, flags), http, grpc };
  await startThanos(own, programs.thanos!, query);
  await until("the shards in Query", async () => {
    const { store = [] } = await asked(http, "stores");
    return store.length < shards.length ? [`${store.length} of ${shards.length}`] : [];
  }, { seconds: 120 });
  const end = Math.floor(Date.now() / 1000 / HOUR) * HOUR;
  const week = async () => {
    const { result } = await asked(http, "query_range", {
      query: `avg by (cluster) (avg_over_time(${METRIC}[1h]))`,
      start: String(end - WEEK),
      end: String(end),
      step: String(HOUR),
    });
    if (result.length !== CLUSTERS) throw failed("week", `${result.length} clusters answer`);
  };
  await measure(bench, `${name} week`, async () => {
    const { seconds } = await timed(week);
    return { seconds, own: (await residentOf(own, ...names)).peak };
  });
  await measure(bench, `${name} week again`, () => timed(week));
  await stopDaemons(own);
  await measure(bench, `${name} store again`, start);
  await stopDaemons(own);
  await rm(own, { recursive: true });
}

/** One run of the Compactor over its own bucket, with as many cores as its limit gives it. */
async function compactor(
  bench: Bench,
  { folder, programs, bucket }: Place,
  { name, objects, words }: Centre,
  what: string,
): Promise<void> {
  const cores =
    statefulSet(objects, "thanos-compactor").template.spec.containers[0].resources.limits.cpu;
  const own = withFlags(words.get("compact")!.filter((word) => word !== "--wait"), {
    "--wait-interval": undefined,
    "--http-address": "127.0.0.1:0",
    "--data-dir": join(folder, `compactor-${name}`),
    "--objstore.config-file": join(folder, `objstore-${name}`),
  });
  await measure(bench, `${name} ${what}`, async () => {
    const before = await callsOf(bucket);
    const started = performance.now();
    const env = { GOMAXPROCS: String(cores) };
    const running = $({ quiet: true, env })`exec ${programs.thanos} ${own}`;
    const watched = watchMemory(running.pid!);
    const { stderr } = await running;
    const seconds = (performance.now() - started) / 1000;
    const merged = stderr.match(/msg="compacted blocks"/g)?.length ?? 0;
    bench.report.note(`${name}: ${merged} merges with ${cores} cores`);
    return { seconds, requests: await callsOf(bucket) - before, tree: await watched() };
  });
}

// Real Stores over a bucket in a folder, sharded as rendered, behind a real Query: what a question gets must
// not depend on how many shards there are.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { $ } from "zx";
import { DeployError } from "../../../lib/core/error.ts";
import { until } from "../../../lib/io/wait.ts";
import { thanos as step } from "../../../scripts/30-thanos.ts";
import { freePorts, startDaemon, stopDaemons } from "../../../scripts/demo/daemon.ts";
import { ensureTools } from "../../../scripts/tools/tool.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { asked, makeBlocks, startThanos, withFlags } from "../../support/thanos.ts";

const programs = await ensureTools(["promtool", "thanos"]).catch((error) => {
  if (!(error instanceof DeployError)) throw error;
});
const folder = await mkdtemp(join(tmpdir(), "shards-test-"));
const bucket = stringify({ type: "FILESYSTEM", config: { directory: join(folder, "bucket") } });

const DAY = 86_400;
/** Seconds between two samples. */
const STEP = 120;
/** Where one block of promtool's begins that is long enough for samples of an hour: 486 h. */
const FROM = 980 * 486 * 3600;
/** Days of samples. */
const DAYS = 12;

Deno.test.afterAll(async () => {
  await stopDaemons(folder);
  await rm(folder, { recursive: true, force: true });
});

function thanos(...words: string[]) {
  return [programs!.thanos!, ...words, "--log.level=error"];
}

/** Raw, 5m and 1h blocks of the same time for each stream, as the Compactor leaves them behind. */
async function fill(streams: Record<string, string>[]): Promise<void> {
  const at = Array.from({ length: DAYS * DAY / STEP }, (_, n) => FROM + n * STEP);
  const text = ["# TYPE x gauge", ...at.map((time) => `x ${time} ${time}`), "# EOF", ""].join("\n");
  await writeFile(join(folder, "samples"), text);
  const blocks = join(folder, "blocks");
  await makeBlocks(programs!.promtool!, join(folder, "samples"), blocks, 21 * 24);
  const [block, ...others] = await readdir(blocks);
  assert.deepEqual(others, []);
  for (const [index, stream] of streams.entries()) {
    // A block is known by its name alone.
    const own = join(folder, `stream-${index}`);
    await mkdir(own);
    const name = `${block!.slice(0, -1)}${index}`;
    await $`cp -r ${join(blocks, block!)} ${join(own, name)}`;
    const meta = join(own, name, "meta.json");
    await writeFile(meta, (await readFile(meta, "utf8")).replaceAll(block!, name));
    const labels = Object.entries(stream).map(([label, value]) => `--label=${label}="${value}"`);
    await $({ quiet: true })`${
      thanos("tools", "bucket", "upload-blocks", `--path=${own}`, ...labels)
    } --objstore.config=${bucket}`;
  }
  const data = `--data-dir=${join(folder, "downsample")}`;
  const words = ["tools", "bucket", "downsample", data, "--http-address=127.0.0.1:0"];
  const command = [...thanos(...words), `--objstore.config=${bucket}`];
  await startDaemon(folder, { name: "downsample", command });
  await until("blocks of every resolution", async () => {
    const ready = (await readdir(join(folder, "bucket"))).length;
    return ready < 3 * streams.length ? [`${ready} blocks`] : [];
  }, { seconds: 300, say: () => {} });
}

/** Samples of a day by resolution, with so many shards. */
async function samples(shards: number): Promise<Record<string, number>> {
  const cluster = await fixtureCluster("196", { STORE_REPLICAS: String(shards) });
  const store = (await step.objects(cluster)).find(({ kind, metadata }) =>
    kind === "StatefulSet" && metadata.name === "thanos-store"
  )!;
  const { args } = store.spec.template.spec.containers[0];
  const ports = await freePorts(2 * shards + 1);
  const stores = ports.slice(0, shards).map((port, index) => ({
    port,
    http: ports[shards + index]!,
  }));
  for (const [index, { port, http }] of stores.entries()) {
    const name = `store-${shards}-${index}`;
    const words = withFlags(args, {
      "--objstore.config-file": undefined,
      "--objstore.config": bucket,
      "--data-dir": join(folder, name),
    });
    const environment = { SHARD: String(index) };
    await startThanos(folder, programs!.thanos!, { name, words, http, grpc: port, environment });
  }
  const query = ports.at(-1)!;
  await startThanos(folder, programs!.thanos!, {
    name: `query-${shards}`,
    words: ["query", "--query.replica-label=prometheus_replica"]
      .concat(stores.map(({ port }) => `--endpoint=127.0.0.1:${port}`)),
    http: query,
    grpc: 0,
  });
  await until("Query to see every shard", async () => {
    const { store = [] } = await asked(query, "stores");
    return store.length < shards ? [`${store.length} of ${shards}`] : [];
  }, { seconds: 120, say: () => {} });
  const counts = ["0s", "5m", "1h"].map(async (max_source_resolution) => {
    const question = "sum(count_over_time(x[1d]))";
    const time = String(FROM + (DAYS - 2) * DAY);
    const { result } = await asked(query, "query", {
      query: question,
      time,
      max_source_resolution,
    });
    return [max_source_resolution, Number(result[0]?.value[1])];
  });
  return Object.fromEntries(await Promise.all(counts));
}

Deno.test({
  name: "P17: one, two and three shards of Store give the same samples at every resolution",
  ignore: programs === undefined,
  async fn() {
    const { fleet } = await fixtureCluster("196");
    const prometheus_replica = "prometheus-kube-prometheus-stack-prometheus-0";
    await fill(fleet.map(({ name }) => ({ cluster: name, region: "lab", prometheus_replica })));
    const day = (seconds: number) => fleet.length * DAY / seconds;
    const right = { "0s": day(STEP), "5m": day(300), "1h": day(3600) };
    for (const shards of [1, 2, 3]) {
      assert.deepEqual({ shards, ...await samples(shards) }, { shards, ...right });
    }
  },
});

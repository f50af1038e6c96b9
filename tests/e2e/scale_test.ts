// Scaled and tuned by settings alone, and back again.
import assert from "node:assert/strict";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { changesOf, typeMake } from "../support/make.ts";
import { blocks, METRIC, span } from "./history.ts";
import {
  ask,
  central,
  check,
  edges,
  eventually,
  get,
  kube,
  make,
  names,
  pods,
  PROMETHEUS,
  QUERY,
} from "./site.ts";

const WIDE = {
  QUERY_REPLICAS: "2",
  QUERY_MAX_CONCURRENT: "7",
  QUERY_TIMEOUT: "90s",
  QUERY_MEMORY_LIMIT: "640Mi",
  STORE_REPLICAS: "2",
};
const thanos = ["30-thanos", `CLUSTER=${central.id}`];

/** ULIDs of the blocks that a Store has loaded. */
async function loaded(pod: string): Promise<string[]> {
  const path = `/api/v1/namespaces/monitoring/pods/${pod}:10902/proxy/api/v1/blocks?view=loaded`;
  const answer = await kubectl(["get", "--raw", path], { cluster: central });
  const { data } = JSON.parse(answer) as { data: { blocks: { ulid: string }[] } };
  return data.blocks.map(({ ulid }) => ulid);
}

/**
 * Samples of the history in a day that there are blocks of every resolution of, of each cluster by the coarsest
 * allowed. Waits for the Compactor, which may not have thinned out that day yet.
 */
async function samples(): Promise<Record<string, number[]>> {
  const time = String((Math.floor(Date.now() / 86_400_000) - 20) * 86_400);
  const query = `count_over_time(${METRIC}[1d])`;
  return await eventually(20, async () => {
    const asked = [["0s", 120], ["5m", 300], ["1h", 3600]] as const;
    return Object.fromEntries(
      await Promise.all(asked.map(async ([max_source_resolution, seconds]) => {
        const { result } = await ask(central, QUERY, query, { time, max_source_resolution });
        const counts = result.map(({ value }) => Number(value[1]));
        assert.equal(counts.length, names.length);
        for (const count of counts) assert.ok(count <= 86_400 / seconds + 1, max_source_resolution);
        return [max_source_resolution, counts];
      })),
    );
  });
}

check("Query runs twice and Store in two shards: every block in exactly one", async () => {
  const before = await samples();
  await make(thanos, WIDE);
  await eventually(5, async () => {
    const queries = await pods(central, "app.kubernetes.io/name=thanos-query");
    assert.deepEqual(queries.map(({ ready }) => ready), [true, true]);
    const shards = await Promise.all(["thanos-store-0", "thanos-store-1"].map(loaded));
    assert.ok(shards.every((blocks) => blocks.length > 0), "a shard is empty");
    const served = shards.flat();
    assert.equal(new Set(served).size, served.length, "a block is in both shards");
    const unserved = (await blocks(central)).filter(({ ulid }) => !served.includes(ulid));
    assert.deepEqual(unserved.map(({ ulid }) => ulid), []);
  });
  const time = String(span().to - 86_400);
  // Query hears of a new Store, and of what it has, some seconds after it is ready.
  await eventually(2, async () => {
    const { result } = await ask(central, QUERY, METRIC, { time });
    assert.deepEqual(result.map(({ metric }) => metric.cluster).sort(), names);
  });
  assert.deepEqual(await samples(), before);
});

check("the limits of Query are those of the settings", async () => {
  const { spec } = await kube(central, "deployment/thanos-query", "--namespace", "monitoring");
  assert.equal(spec.template.spec.containers[0].resources.limits.memory, WIDE.QUERY_MEMORY_LIMIT);
  const { data } = await get<{ data: Record<string, string> }>(
    central,
    QUERY,
    "/api/v1/status/flags",
  );
  assert.deepEqual([data["query.max-concurrent"], data["query.timeout"]], ["7", "1m30s"]);
});

check("back to the settings of the files, without a trace", async () => {
  await make(thanos);
  await eventually(5, async () => {
    for (const [name, setting] of [["query", "QUERY_REPLICAS"], ["store", "STORE_REPLICAS"]]) {
      const found = await pods(central, `app.kubernetes.io/name=thanos-${name}`);
      assert.equal(found.length, central.vars[setting!]);
    }
  });
  assert.equal(changesOf(await make(thanos)), 0);
});

check("scrape timeout and retention of an edge are those of the settings", async () => {
  const edge = edges[0]!;
  const step = ["20-prometheus", `CLUSTER=${edge.id}`];
  await make(step, { SCRAPE_TIMEOUT: "12s", PROMETHEUS_RETENTION: "6h" });
  await eventually(4, async () => {
    const { data } = await get<{ data: { yaml: string } }>(
      edge,
      PROMETHEUS,
      "/api/v1/status/config",
    );
    assert.match(data.yaml, /^ {2}scrape_timeout: 12s$/m);
    assert.match(data.yaml, /time: 6h/);
  });
  await make(step);
  assert.equal(changesOf(await make(step)), 0);
});

check("a larger volume is requested from its class, and its pod goes on", async () => {
  const name = "thanos-compactor";
  const inNamespace = ["--namespace", "monitoring"];
  const sizeOf = async () =>
    (await kube(central, `pvc/data-${name}-0`, ...inNamespace)).spec.resources.requests.storage;
  const [pod] = await pods(central, `app.kubernetes.io/name=${name}`);
  const wanted = `${Number.parseInt(await sizeOf()) + 1}Gi`;
  await make(thanos, { COMPACTOR_STORAGE: wanted });
  assert.equal(await sizeOf(), wanted);
  const { spec } = await kube(central, `statefulset/${name}`, ...inNamespace);
  assert.equal(spec.volumeClaimTemplates[0].spec.resources.requests.storage, wanted);
  assert.equal((await pods(central, `app.kubernetes.io/name=${name}`))[0]?.uid, pod!.uid);

  const refused = await typeMake(thanos);
  assert.notEqual(refused.code, 0, "a smaller volume was not refused");
  assert.match(refused.output, /COMPACTOR_STORAGE|data-thanos-compactor-0/);

  // Its volume is scratch space, so it may be made again in the size of the settings.
  await kubectl(["delete", "statefulset", name, ...inNamespace], { cluster: central });
  await kubectl(["delete", "pvc", `data-${name}-0`, ...inNamespace], { cluster: central });
  await make(thanos);
});

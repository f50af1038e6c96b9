// A real Ruler with the rules as rendered, behind a real Query, and an edge that takes questions and says nothing.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeployError } from "../../../lib/core/error.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { until } from "../../../lib/io/wait.ts";
import { thanos as step } from "../../../scripts/30-thanos.ts";
import { freePorts, stopDaemons } from "../../../scripts/demo/daemon.ts";
import { ensureTools } from "../../../scripts/tools/tool.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { groupsOf, silentPrometheus, startThanos } from "../../support/thanos.ts";

const programs = await ensureTools(["thanos"]).catch((error) => {
  if (!(error instanceof DeployError)) throw error;
});
const folder = await mkdtemp(join(tmpdir(), "hanging-test-"));

Deno.test.afterAll(async () => {
  await stopDaemons(folder);
  await rm(folder, { recursive: true, force: true });
});

Deno.test({
  name: "P10: an edge that hangs holds up no evaluation of the Ruler",
  ignore: programs === undefined,
  async fn() {
    const settings = { SCRAPE_INTERVAL: "5s", SCRAPE_TIMEOUT: "5s", QUERY_RESPONSE_TIMEOUT: "2s" };
    const cluster = await fixtureCluster("196", settings);
    const objects = await step.objects(cluster);
    const argsOf = (name: string, pattern: RegExp): string[] =>
      objects.find(({ spec, metadata }) => spec?.template && metadata.name === name)!
        .spec.template.spec.containers[0].args.filter((arg: string) => pattern.test(arg));
    const rules = join(folder, "rules");
    await mkdir(rules);
    for (const { kind, metadata, data } of objects) {
      if (kind !== "ConfigMap" || !metadata.name.startsWith("thanos-ruler-")) continue;
      for (const [file, text] of Object.entries(data)) {
        await writeFile(join(rules, file), String(text));
      }
    }

    const [prometheus, sidecar, sidecarHttp, query, ruler] = await freePorts(5);
    const end = new AbortController();
    const server = silentPrometheus(prometheus!, { cluster: cluster.fleet[1]!.name }, end.signal);
    try {
      const url = `--prometheus.url=http://127.0.0.1:${prometheus}`;
      const start = (name: string, words: string[], http: number, grpc = 0) =>
        startThanos(folder, programs!.thanos!, { name, words: [name, ...words], http, grpc });
      await start("sidecar", [url], sidecarHttp!, sidecar);
      const patience = argsOf("thanos-query", /^--store\.response-timeout/);
      await start("query", [`--endpoint=127.0.0.1:${sidecar}`, ...patience], query!);
      const words = [`--rule-file=${rules}/*.yaml`, '--label=ruler_cluster="x"']
        .concat(`--query=http://127.0.0.1:${query}`, `--data-dir=${join(folder, "ruler")}`)
        .concat(argsOf("thanos-ruler", /^--(eval|rule)-(interval|query|concurrent)/));
      await start("rule", words, ruler!);
      const groups = (metric: string) => groupsOf(ruler!, `prometheus_rule_group_${metric}`);
      const interval = durationSeconds(settings.SCRAPE_INTERVAL);
      // It is ready before it has read its rules.
      await until("the rules", async () => {
        return (await groups("interval_seconds")).size > 0 ? [] : ["all of them"];
      }, { seconds: 60, every: 0.5 });
      const fast = [...await groups("interval_seconds")].filter(([, value]) => value === interval);
      assert.ok(fast.length >= 3, JSON.stringify(fast));
      await until("two evaluations of every group", async () => {
        const rounds = await groups("iterations_total");
        return fast.map(([name]) => name).filter((name) => !(rounds.get(name)! >= 2));
      }, { seconds: 300, say: () => {} });
      const took = await groups("last_duration_seconds");
      const durations = fast.map(([name]) => [name, took.get(name)!] as const);
      assert.ok(durations.some(([, seconds]) => seconds >= 2), "nobody waits for the edge");
      assert.deepEqual(durations.filter(([, seconds]) => seconds >= interval), []);
    } finally {
      await stopDaemons(folder);
      end.abort();
      await server.finished;
    }
  },
});

// What a question to thirty clusters costs at the centre, and the evaluations of its Ruler, when one of them is dead,
// two are slow and one takes questions and says nothing.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../../lib/io/wait.ts";
import { grafanaLimits } from "../../scripts/components/prometheus/objects.ts";
import { freePorts, stopDaemons } from "../../scripts/demo/daemon.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { labTools } from "../lab/tools.ts";
import { asked, groupsOf, startThanos, withFlags } from "../support/thanos.ts";
import { centresOf, CLUSTERS, residentOf, streamsOf } from "./centre.ts";
import { type Bench, measure, timed } from "./context.ts";
import {
  ANSWERING,
  INSTANCES,
  METRICS,
  type Seat,
  sidecarsIn,
  startEdges,
  startQuery,
  type Tools,
} from "./edges.ts";
import type { Line } from "./lines.ts";
import { failed } from "./measure.ts";

/** Evaluations of every rule that are waited for. */
const EVALUATIONS = 4;
const RUNS = 5;

/** What questions of people and of the Ruler take, with the settings of each centre. */
export async function manySidecars(bench: Bench): Promise<void> {
  await bench.servers.stop();
  const folder = join(bench.folder, "sidecars");
  const centres = await centresOf("default", "fleet");
  const programs = await ensureTools(["thanos", "promtool", "prometheus"], {
    tools: await labTools(centres[0]!.cluster),
  });
  const tools = { folder, programs };
  const end = new AbortController();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => stopDaemons(folder));
  stack.defer(() => end.abort());
  const lines = await startEdges(tools, centres[0]!, end.signal);
  for (const line of lines.values()) stack.use(line);
  const seats: Seat[] = [];
  for (const centre of centres) seats.push(await startQuery(tools, centre, lines));
  await questions(bench, seats);
  await traffic(bench, tools, seats, lines);
  await rules(bench, tools, seats);
  await stopDaemons(join(folder, "hangs"));
  await variables(bench, seats);
}

/** What people ask beside all the trouble, of both in turn. */
async function questions(bench: Bench, seats: Seat[]): Promise<void> {
  for (let run = 1; run <= RUNS; run++) {
    for (const { centre, frontend } of seats) {
      const ask = async (name: string, query: string, clusters: number) => {
        await measure(bench, `${centre.name} ${name}`, () =>
          timed(async () => {
            const { result } = await asked(frontend, "query", { query });
            if (result.length === clusters) return;
            throw failed(name, `${result.length} clusters answer and not ${clusters}`);
          }));
      };
      await ask("count", "count by (cluster) (up)", ANSWERING);
      const well = streamsOf(centre).at(-1)!.cluster;
      await ask("one", `count by (cluster) (up{cluster="${well}"})`, 1);
    }
  }
  // One variable, for as long as Grafana waits for it.
  for (const { centre, frontend } of seats) {
    const most = 1000 * Number(grafanaLimits(centre.cluster).data.GF_DATAPROXY_TIMEOUT);
    await measure(
      bench,
      `${centre.name} variable beside it`,
      () =>
        timed(() =>
          asked(frontend, "label/cluster/values", { "match[]": "up" }, AbortSignal.timeout(most))
            .catch(() => {})
        ),
    );
  }
}

/** The variables of a dashboard, without the one that hangs. */
async function variables(bench: Bench, seats: Seat[]): Promise<void> {
  for (const seat of seats) await sidecarsIn(seat, ANSWERING);
  for (let run = 1; run <= RUNS; run++) {
    for (const { centre, frontend } of seats) {
      // As Grafana asks, one after the other; another selector in every run, or the last answer was kept.
      const work = async () => {
        for (const label of ["cluster", "namespace", "instance"]) {
          const words = { "match[]": `up{job!="${run}"}` };
          const values = await asked(frontend, `label/${label}/values`, words);
          if (values.length === 0) throw failed("variables", `there is no ${label}`);
        }
      };
      await measure(bench, `${centre.name} variables`, () => timed(work));
      await measure(bench, `${centre.name} variables again`, () => timed(work));
    }
  }
}

/** Bytes that a larger answer of one edge takes on the line, and what memory Query has needed until then. */
async function traffic(
  bench: Bench,
  { folder }: Tools,
  seats: Seat[],
  lines: Map<number, Line>,
): Promise<void> {
  const place = CLUSTERS - 1;
  const line = lines.get(place)!;
  for (const { centre, query } of seats) {
    const { cluster } = streamsOf(centre)[place]!;
    const selector = `{__name__=~"made_up_.*",cluster="${cluster}"}`;
    const before = line.bytes;
    const { result } = await asked(query, "query", {
      query: `count(last_over_time(${selector}[1h]))`,
    });
    const series = METRICS.length * INSTANCES;
    if (Number(result[0]?.value[1]) !== series) throw failed("wire", JSON.stringify(result));
    const kibibytes = (line.bytes - before) / 1024;
    await measure(bench, `${centre.name} wire`, () => Promise.resolve({ own: kibibytes }));
    const { peak } = await residentOf(folder, `query-${centre.name}`);
    await measure(bench, `${centre.name} query`, () => Promise.resolve({ own: peak }));
  }
}

/** What the rules of the fleet take, of one after the other: the longest of the last evaluations, and those left out. */
async function rules(bench: Bench, { folder, programs }: Tools, seats: Seat[]): Promise<void> {
  for (const { centre: { name, objects, words }, query } of seats) {
    const own = join(folder, `rules-${name}`);
    await mkdir(own);
    const files = objects.filter(({ kind, metadata }) =>
      kind === "ConfigMap" && /^thanos-ruler-.*rules$/.test(metadata.name)
    );
    for (const [file, text] of files.flatMap(({ data }) => Object.entries(data))) {
      await writeFile(join(own, file), String(text));
    }
    const flags = {
      "--rule-file": `${own}/*.yaml`,
      "--query": `http://127.0.0.1:${query}`,
      "--data-dir": join(own, "data"),
      "--objstore.config-file": undefined,
      "--alertmanagers.url": undefined,
    };
    const [http, grpc] = await freePorts(2) as [number, number];
    await startThanos(own, programs.thanos!, {
      name: "ruler",
      words: withFlags(words.get("rule")!, flags),
      http,
      grpc,
    });
    const groups = (metric: string) => groupsOf(http, `prometheus_rule_group_${metric}`);
    await until("evaluations of the rules", async () => {
      const [intervals, rounds] = [
        await groups("interval_seconds"),
        await groups("iterations_total"),
      ];
      if (intervals.size < 2 * CLUSTERS) return ["rules of every cluster"];
      // Those that are evaluated more seldom are not waited for.
      const fast = [...intervals].filter(([, seconds]) => seconds <= 60).map(([group]) => group);
      return fast.filter((group) => !((rounds.get(group) ?? 0) >= EVALUATIONS));
    }, { seconds: 900, every: 5 });
    const most = Math.max(...(await groups("last_duration_seconds")).values());
    const missed = [...(await groups("iterations_missed_total")).values()]
      .reduce((sum, count) => sum + count, 0);
    const sample = { seconds: most, requests: missed };
    await measure(bench, `${name} rules`, () => Promise.resolve(sample));
    await stopDaemons(own);
  }
}

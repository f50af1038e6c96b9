// Thirty real sidecars on this machine, each before a small Prometheus of its own: one dead, two slow, one that takes
// questions and says nothing; and a Query over them, with its Frontend.
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { until } from "../../lib/io/wait.ts";
import { freePorts, startDaemon } from "../../scripts/demo/daemon.ts";
import {
  asked,
  isReady,
  makeBlocks,
  silentPrometheus,
  startThanos,
  withFlags,
} from "../support/thanos.ts";
import { type Centre, CLUSTERS, samplesOf, streamsOf } from "./centre.ts";
import { type Line, lineTo } from "./lines.ts";

/** Who is in trouble, by the place in the fleet; the first of it is the centre. */
const TROUBLE: Record<number, "dead" | "slow" | "hangs"> = {
  1: "dead",
  2: "slow",
  3: "slow",
  4: "hangs",
};
/** Those that answer: all but the dead one and the one that hangs. */
export const ANSWERING = CLUSTERS - 2;
/** Milliseconds that everything from a slow one takes longer, each way. */
const LATENCY = 200;
const HOUR = 3600;
/** Seconds between two samples. */
const STEP = 60;
/** What a Prometheus has beside `up`, of so many instances each. */
export const METRICS = Array.from({ length: 20 }, (_, index) => `made_up_${index}`);
export const INSTANCES = 50;

/** Where they run, and their programs. */
export interface Tools {
  folder: string;
  programs: Record<string, string>;
}

/** Query and its Frontend with the words of one of the centres. */
export interface Seat {
  centre: Centre;
  query: number;
  frontend: number;
}

/** Starts them all; gives the lines to those of the edges, by their place in the fleet. */
export async function startEdges(
  { folder, programs }: Tools,
  centre: Centre,
  end: AbortSignal,
): Promise<Map<number, Line>> {
  await mkdir(folder, { recursive: true });
  const now = Math.floor(Date.now() / 1000 / (2 * HOUR)) * 2 * HOUR;
  // What comes is there already, so that nothing has to be scraped.
  const times = { from: now - 2 * HOUR, to: now + 4 * HOUR, step: STEP };
  const samples = join(folder, "samples");
  await writeFile(samples, samplesOf(["up", ...METRICS], INSTANCES, times));
  const blocks = join(folder, "blocks");
  await makeBlocks(programs.promtool!, samples, blocks, 2);
  const ports = await freePorts(3 * CLUSTERS);
  const streams = [...streamsOf(centre).entries()];
  const lines = await sideBySide(streams, 3, async ([place, labels]): Promise<[number, Line]> => {
    const [prometheus, grpc, http] = ports.slice(3 * place) as [number, number, number];
    const trouble = TROUBLE[place];
    if (trouble === "dead") return [place, await lineTo(undefined)];
    if (trouble === "hangs") silentPrometheus(prometheus, labels, end);
    else {
      const own = join(folder, `prometheus-${place}`);
      await cp(blocks, join(own, "data"), { recursive: true });
      await writeFile(join(own, "config"), stringify({ global: { external_labels: labels } }));
      const command = [programs.prometheus!, `--config.file=${join(own, "config")}`]
        .concat(`--storage.tsdb.path=${join(own, "data")}`, "--log.level=error")
        .concat(`--web.listen-address=127.0.0.1:${prometheus}`);
      const ready = () => isReady(prometheus);
      await startDaemon(folder, { name: `prometheus-${place}`, command, ready, seconds: 300 });
    }
    const words = ["sidecar", `--prometheus.url=http://127.0.0.1:${prometheus}`];
    const own = join(folder, trouble ?? "well");
    await startThanos(own, programs.thanos!, { name: `sidecar-${place}`, words, http, grpc });
    return [place, await lineTo(grpc, trouble === "slow" ? LATENCY : 0)];
  });
  return new Map(lines);
}

/** Starts Query with the endpoints of its centre, at the lines; waits until it sees all that can be seen. */
export async function startQuery(
  tools: Tools,
  centre: Centre,
  lines: Map<number, Line>,
): Promise<Seat> {
  const { folder, programs } = tools;
  const { name, objects, words } = centre;
  const { data } = objects.find(({ kind, metadata }) =>
    kind === "ConfigMap" && metadata.name === "thanos-query-endpoints"
  )!;
  const { endpoints } = parse(data["endpoints.yml"]) as { endpoints: { address: string }[] };
  const edges = endpoints.filter(({ address }) => !address.startsWith("dnssrv+"));
  const address = (place: number) => `127.0.0.1:${lines.get(place)!.port}`;
  const local = edges.map((edge, index) => ({ ...edge, address: address(index + 1) }));
  const file = join(folder, `endpoints-${name}`);
  await writeFile(file, stringify({ endpoints: [{ address: address(0) }, ...local] }));
  const [query, grpc, frontend] = await freePorts(3) as [number, number, number];
  await startThanos(folder, programs.thanos!, {
    name: `query-${name}`,
    words: withFlags(words.get("query")!, { "--endpoint.sd-config-file": file }),
    http: query,
    grpc,
  });
  const url = { "--query-frontend.downstream-url": `http://127.0.0.1:${query}` };
  await startThanos(folder, programs.thanos!, {
    name: `frontend-${name}`,
    words: withFlags(words.get("query-frontend")!, url),
    http: frontend,
  });
  const seat = { centre, query, frontend };
  await sidecarsIn(seat, ANSWERING + 1);
  return seat;
}

/** Waits until Query sees so many sidecars. */
export async function sidecarsIn({ centre, query }: Seat, wanted: number): Promise<void> {
  await until(`${wanted} sidecars in Query (${centre.name})`, async () => {
    const { sidecar = [] } = await asked(query, "stores");
    const well = sidecar.filter(({ lastError }: { lastError: unknown }) => !lastError).length;
    return well === wanted ? [] : [`${well} of ${wanted}`];
  }, { seconds: 300 });
}

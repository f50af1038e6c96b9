// Programs of Thanos on this machine, with the words that the centre gives them.
import { $ } from "zx";
import type { Manifest } from "../../lib/core/object.ts";
import { startDaemon } from "../../scripts/demo/daemon.ts";

/** Words of each program among the objects, by the first of them (`query`, `store`). */
export function wordsOf(objects: Manifest[]): Map<string, string[]> {
  const all: string[][] = objects.flatMap(({ spec }) => spec?.template?.spec.containers ?? [])
    .map(({ args }) => args ?? []);
  const programs = all.filter(([name]) => name && !name.startsWith("-"));
  return new Map(programs.map((words) => [words[0]!, words]));
}

/** The words, of which those of these flags have other values, or are left out (undefined). */
export function withFlags(words: string[], flags: Record<string, string | undefined>): string[] {
  const names = Object.keys(flags);
  const kept = words.filter((word) => !names.some((name) => word.startsWith(`${name}=`)));
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  return [...kept, ...given.map(([name, value]) => `${name}=${value}`)];
}

/** One that is to be started. */
export interface ThanosProgram {
  /** Of its log and its process. */
  name: string;
  /** `query` and what comes behind it; addresses are set here. */
  words: string[];
  http: number;
  /** Any, or undefined where the program has none. */
  grpc?: number;
  environment?: Record<string, string>;
}

/** Starts a program (`thanos`: its path) and waits until it is ready. */
export async function startThanos(
  folder: string,
  thanos: string,
  { name, words, http, grpc, environment }: ThanosProgram,
): Promise<void> {
  const local = withFlags(words, {
    "--http-address": `127.0.0.1:${http}`,
    "--grpc-address": grpc === undefined ? undefined : `127.0.0.1:${grpc}`,
    "--log.level": "error",
  });
  await startDaemon(folder, {
    name,
    command: [thanos, ...local],
    environment,
    ready: () => isReady(http),
    seconds: 300,
  });
}

/** Whether the program at this port of ours is. */
export async function isReady(port: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/-/ready`).catch(() => {});
  await answer?.body?.cancel();
  return answer?.ok === true;
}

/** Data of an answer of the query API at this port; throws where it answers with an error. */
export async function asked(
  port: number,
  path: string,
  words: Record<string, string> = {},
  signal?: AbortSignal,
) {
  const url = `http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(words)}`;
  const { data, error } = await (await fetch(url, { signal })).json();
  if (error) throw new Error(`${url}: ${error}`);
  return data;
}

/** Samples of these lines as blocks in `folder`, none longer than so many hours. */
export async function makeBlocks(
  promtool: string,
  samples: string,
  folder: string,
  hours: number,
): Promise<void> {
  await $({ quiet: true })`
    ${promtool} tsdb create-blocks-from openmetrics --max-block-duration=${hours}h ${samples} ${folder}`;
}

/** Values of one metric of the Ruler at this port, by group. */
export async function groupsOf(port: number, metric: string): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const lines = text.matchAll(
    new RegExp(`^${metric}\\{.*rule_group="[^"]*;([^"]*)".*\\} (.*)$`, "gm"),
  );
  return new Map([...lines].map(([, name, value]) => [name!, Number(value)]));
}

/** A Prometheus that tells a sidecar all that it asks at its start, and never an answer to a question. */
export function silentPrometheus(port: number, labels: Record<string, string>, gone: AbortSignal) {
  const yaml = JSON.stringify({ global: { external_labels: labels } });
  const data: Record<string, unknown> = { config: { yaml }, buildinfo: { version: "3.13.2" } };
  const options = { port, hostname: "127.0.0.1", onListen: () => {}, signal: gone };
  return Deno.serve(options, (request) => {
    const { pathname } = new URL(request.url);
    const about = pathname.match(/^\/api\/v1\/status\/(\w+)$/)?.[1];
    if (about) return Response.json({ status: "success", data: data[about] ?? {} });
    if (!pathname.startsWith("/api/")) {
      return new Response("prometheus_tsdb_lowest_timestamp_seconds 0\n");
    }
    const { promise, resolve } = Promise.withResolvers<Response>();
    gone.addEventListener("abort", () => resolve(new Response()));
    return promise;
  });
}

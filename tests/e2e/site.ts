// The site under test: its clusters as env/, the profile and the process environment describe them.
// Nothing here knows what kind of site it is.
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { openProxy, readJson } from "../../lib/probe/http.ts";
import { loadFleet, secretsOf } from "../../lib/config/cluster.ts";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { ClusterProxy, ServicePort } from "../../lib/core/check.ts";
import { maskSecrets, print, table } from "../../lib/io/report.ts";
import { type Typed, typeMake } from "../support/make.ts";
import { QUERY } from "../../scripts/components/thanos/stores.ts";
import { guard } from "./guard.ts";
import type { Sample } from "../../scripts/checks/metrics.ts";

export { QUERY };
export { ALERTMANAGER, PROMETHEUS } from "../../scripts/checks/metrics.ts";

/** All clusters of the site, with the settings that the commands of this run use. */
export const fleet = await loadFleet();
await guard(fleet);
maskSecrets(fleet.flatMap(secretsOf));

export const central = fleet.find(({ role }) => role === "central")!;
export const edges = fleet.filter(({ role }) => role === "edge");

/** Names of all clusters, as their series carry them. */
export const names = fleet.map(({ vars }) => String(vars.CLUSTER_NAME)).sort();

/** Registers a test; what it opens (proxies) may stay open for the next ones. */
export function check(name: string, run: () => Promise<unknown>, ignore = false): void {
  Deno.test({
    name,
    ignore,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => void await run(),
  });
}

/** What git tracks and what it does not, but for its own folder and what is fetched or running. */
export async function copyProject(folder: string): Promise<void> {
  const skipped = [".git", ".demo"].map((name) => projectPath(name));
  await cp(projectPath("."), folder, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) => !skipped.includes(source.replace(/\/$/, "")),
  });
}

const proxies = new Map<string, ReturnType<typeof openProxy>>();

/** A way into a cluster; opened once, closed by {@link closeAll}. */
export function way(cluster: Cluster): Promise<ClusterProxy & AsyncDisposable> {
  let proxy = proxies.get(cluster.id);
  if (!proxy) proxies.set(cluster.id, proxy = openProxy(cluster));
  return proxy;
}

/** Closes every way; one that was cut meanwhile is forgotten, too. */
export async function closeAll(): Promise<void> {
  for (const proxy of proxies.values()) await (await proxy)[Symbol.asyncDispose]();
  proxies.clear();
}

/** JSON of a path of a Service. */
export async function get<T>(cluster: Cluster, service: ServicePort, path: string): Promise<T> {
  return await readJson<T>(await way(cluster), service, path);
}

interface QueryAnswer {
  data: { result: Sample[] };
  warnings?: string[];
}

/** The answer of a server with Prometheus' API; `params` as in its documentation. */
export async function ask(
  cluster: Cluster,
  service: ServicePort,
  query: string,
  params: Record<string, string> = {},
): Promise<{ result: Sample[]; warnings: string[] }> {
  const search = new URLSearchParams({ query, ...params });
  const { data, warnings = [] } = await get<QueryAnswer>(
    cluster,
    service,
    `/api/v1/query?${search}`,
  );
  return { result: data.result, warnings };
}

/** Values of a label over the series of an expression at the centre, sorted, each once. */
export async function labelValues(query: string, label: string): Promise<string[]> {
  const { result } = await ask(central, QUERY, query);
  return [...new Set(result.map(({ metric }) => metric[label] ?? ""))].sort();
}

/**
 * Types a make command as an operator does, in the project or a copy of it; fails with its whole
 * output unless it ends with 0.
 */
export async function make(
  words: string[],
  environment: Record<string, string> = {},
  folder?: string,
): Promise<Typed> {
  const typed = await typeMake(words, environment, folder);
  assert.equal(typed.code, 0, `make ${words.join(" ")}\n${typed.output}`);
  return typed;
}

/** Repeats an assertion until it holds; after so many minutes its own failure is the test's. */
export async function eventually<T>(minutes: number, look: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + minutes * 60_000;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(2000);
    }
  }
}

/** Seconds that `work` took. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** JSON of `kubectl get` on a cluster. */
// deno-lint-ignore no-explicit-any
export async function kube(cluster: Cluster, ...words: string[]): Promise<any> {
  return JSON.parse(await kubectl(["get", ...words, "--output", "json"], { cluster }));
}

/** Name, UID and restarts of the pods of a selector in `monitoring`. */
export async function pods(cluster: Cluster, selector: string): Promise<Pod[]> {
  const { items } = await kube(cluster, "pods", "--namespace", "monitoring", "-l", selector);
  // deno-lint-ignore no-explicit-any
  return items.map(({ metadata, status }: any) => ({
    name: metadata.name,
    uid: metadata.uid,
    ready: status.conditions?.some(
      // deno-lint-ignore no-explicit-any
      ({ type, status }: any) => type === "Ready" && status === "True",
    ) ?? false,
    restarts: (status.containerStatuses ?? []).reduce(
      // deno-lint-ignore no-explicit-any
      (sum: number, { restartCount }: any) => sum + restartCount,
      0,
    ),
  }));
}

export interface Pod {
  name: string;
  uid: string;
  ready: boolean;
  restarts: number;
}

const figures: [what: string, figure: string][] = [];

/** Keeps a measured figure for the closing table. */
export function figure(what: string, value: string): void {
  figures.push([what, value]);
}

/** Prints what was measured. */
export function printFigures(): void {
  print(`\n${table([["measured", ""], ...figures])}\n`);
}

// What Prometheus and its like are asked, and checks that are one question: it must have an answer.
import { readJson } from "../../lib/probe/http.ts";
import {
  type ClusterProxy,
  type Finding,
  type Findings,
  type ServicePort,
  type Subject,
  warn,
} from "../../lib/core/check.ts";

/** The Prometheus of the cluster itself. */
export const PROMETHEUS = {
  namespace: "monitoring",
  name: "kube-prometheus-stack-prometheus",
  port: 9090,
};

/** One series of an instant query. */
export type Sample = { metric: Record<string, string>; value: [time: number, value: string] };

/** Asks a server with Prometheus' API for the value of an expression now. */
export async function ask(
  proxy: ClusterProxy,
  service: ServicePort,
  expression: string,
): Promise<Sample[]> {
  const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
  const { data } = await readJson<{ data: { result: Sample[] } }>(proxy, service, path);
  return data.result;
}

/** The value that Prometheus has of an expression with one series at most; undefined: none. */
export async function valueOf(
  proxy: ClusterProxy,
  expression: string,
): Promise<number | undefined> {
  const [sample] = await ask(proxy, PROMETHEUS, expression);
  return sample && Number(sample.value[1]);
}

/** Growth of a counter over all its series in so much time (`15m`); restarts are allowed for. */
export function growthOf(
  proxy: ClusterProxy,
  counter: string,
  time: string,
): Promise<number | undefined> {
  return valueOf(proxy, `sum(increase(${counter}[${time}]))`);
}

/** One of `data.groups` of `/api/v1/rules`. */
export interface RuleGroup {
  file: string;
  name: string;
  rules: { name: string; health: "ok" | "err" | "unknown"; lastError?: string }[];
}

/** The rules that a Prometheus or a Ruler evaluates. */
export async function groupsOf(proxy: ClusterProxy, service: ServicePort): Promise<RuleGroup[]> {
  const path = "/api/v1/rules";
  const { data } = await readJson<{ data: { groups: RuleGroup[] } }>(proxy, service, path);
  return data.groups;
}

/** A check that fails with `problem` unless the expression has a value. */
function answered(expression: string, problem: Finding) {
  return async ({ proxy }: Subject): Promise<Findings> => {
    return await valueOf(proxy, expression) === undefined && problem;
  };
}

/** The Compactor works and has not halted (it stays Ready when it has). */
export const compactor = answered('max(thanos_compact_halted{job="thanos-compactor"}) == 0', {
  what: "the Compactor has halted, or Prometheus has no metrics of it",
  cause: "blocks overlap (two Prometheus with the same labels), or its volume is full",
  fix: "kubectl -n monitoring logs thanos-compactor-0 | grep -i halt; repair, then delete the pod",
});

/** The health of OpenSearch arrives as a metric. */
export const indexed = answered('opensearch_cluster_health_status{color="green"} == 1', {
  what: "opensearch_cluster_health_status says no green",
  cause: "OpenSearch is not green, or its exporter does not reach it",
  fix: "kubectl -n logging get pods; look at the check OpenSearch above",
});

/** What a program counts that should never be lost, and how it is told. */
interface Loss {
  counter: string;
  program: string;
  /** So many, hours ago. */
  before: (count: number) => string;
  /** So many, in the last 15 minutes. */
  lately: (count: number) => string;
  cause: string;
  fix: string;
}

/** Nothing was lost in the last minutes; what was earlier is gone, and somebody should know. */
export async function lossesOf(proxy: ClusterProxy, loss: Loss): Promise<Findings> {
  const { counter, program, cause, fix } = loss;
  const [lately, before = 0] = await Promise.all([
    growthOf(proxy, counter, "15m"),
    growthOf(proxy, counter, "6h"),
  ]);
  if (lately === 0) return before > 0 && warn(loss.before(Math.ceil(before)), fix);
  const what = lately === undefined
    ? `Prometheus has no metrics of ${program}`
    : loss.lately(Math.ceil(lately));
  return { what, cause, fix };
}

/** The collectors by their jobs: what they collect, and where they run. */
const COLLECTORS = {
  "fluent-bit": ["log lines", "-n node-agents logs ds/fluent-bit"],
  "fluent-bit-events": ["events", "-n logging logs deploy/fluent-bit-events"],
};

/** No log line and no event was given up. */
export async function dropped({ proxy }: Subject): Promise<Findings> {
  return await Promise.all(
    Object.entries(COLLECTORS).map(([program, [what, place]]) =>
      lossesOf(proxy, {
        counter: `fluentbit_output_dropped_records_total{job="${program}"}`,
        program,
        before: (count) => `${program} dropped ${count} ${what} hours ago`,
        lately: (count) => `${program} has dropped ${count} ${what} in the last 15 minutes`,
        cause: "OpenSearch refuses them (mapping, disk), or its own buffer is full",
        fix: `kubectl ${place}`,
      })
    ),
  );
}

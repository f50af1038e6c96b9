// What Prometheus, its like and Alertmanager are asked, and the checks that are one question to them.
import type { ClusterProxy, Findings, ServicePort, Subject } from "../../lib/core/check.ts";
import { note, warn } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { readJson } from "../../lib/probe/http.ts";

const namespace = "monitoring";
/** The Prometheus of the cluster itself. */
export const PROMETHEUS = { namespace, name: "kube-prometheus-stack-prometheus", port: 9090 };
/** The Alertmanager of the cluster itself. */
export const ALERTMANAGER = { namespace, name: "kube-prometheus-stack-alertmanager", port: 9093 };

/** One series of an instant query. */
export type Sample = { metric: Record<string, string>; value: [time: number, value: string] };

/** Asks a server with Prometheus' API for the value of an expression now, or (`T`) of a range. */
export async function ask<T = Sample>(proxy: ClusterProxy, service: ServicePort, what: string) {
  const path = `/api/v1/query?query=${encodeURIComponent(what)}`;
  const { data } = await readJson<{ data: { result: T[] } }>(proxy, service, path);
  return data.result;
}

/** The value that Prometheus has of an expression with one series at most; undefined: none. */
export async function valueOf(proxy: ClusterProxy, expression: string) {
  const [sample] = await ask(proxy, PROMETHEUS, expression);
  return sample && Number(sample.value[1]);
}

/** Growth of a counter over all its series in so much time (`15m`); restarts are allowed for. */
export function growthOf(proxy: ClusterProxy, counter: string, time: string) {
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

function answered(expression: string, problem: Findings) {
  return async ({ proxy }: Subject): Promise<Findings> =>
    await valueOf(proxy, expression) === undefined && problem;
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

type Loss = { counter: string; lost: (count: number) => string; cause: string; fix: string };

/** Nothing was lost in the last minutes; what was earlier is gone, and somebody should know. */
async function lossesOf(proxy: ClusterProxy, { counter, lost, cause, fix }: Loss) {
  const [lately, before = 0] = await Promise.all(
    ["15m", "6h"].map((time) => growthOf(proxy, counter, time)),
  );
  if (lately === undefined) return { what: `Prometheus has no ${counter}`, cause, fix };
  if (lately > 0) return { what: `${lost(Math.ceil(lately))} in the last 15 minutes`, cause, fix };
  return before > 0 && warn(`${lost(Math.ceil(before))} hours ago`, fix);
}

/** What Alertmanager sends is taken by the receiver. */
export async function notifications({ cluster, proxy }: Subject): Promise<Findings> {
  return [
    text(cluster, "ALERT_WEBHOOK_URL") === "" &&
    note("alerts are sent nowhere: no ALERT_WEBHOOK_URL"),
    await lossesOf(proxy, {
      counter: "alertmanager_notifications_failed_total",
      lost: (count) => `${count} notifications have failed (nobody was told)`,
      cause: "what listens at ALERT_WEBHOOK_URL is away, refuses them, or is not reached from pods",
      fix: "kubectl -n monitoring logs alertmanager-kube-prometheus-stack-alertmanager-0 " +
        "-c alertmanager | grep -i notify",
    }),
  ];
}

/** No log line and no event was given up. */
export async function dropped({ proxy }: Subject): Promise<Findings> {
  const collectors = [
    ["fluent-bit", "log lines", "-n node-agents logs ds/fluent-bit"],
    ["fluent-bit-events", "events", "-n logging logs deploy/fluent-bit-events"],
  ] as const;
  return await Promise.all(collectors.map(([program, what, place]) =>
    lossesOf(proxy, {
      counter: `fluentbit_output_dropped_records_total{job="${program}"}`,
      lost: (count) => `${program} has dropped ${count} ${what}`,
      cause: "OpenSearch refuses them (mapping, disk), or its own buffer is full",
      fix: `kubectl ${place}`,
    })
  ));
}

/** One of `/api/v2/alerts`; `suppressed`: silenced, or inhibited by another. */
export interface Alert {
  labels: Record<string, string>;
  annotations: { summary?: string; runbook_url?: string };
  startsAt: string;
  status: { state: "active" | "suppressed" | "unprocessed" };
}

/** Every alert that Alertmanager has. */
export async function alertsOf(proxy: ClusterProxy): Promise<Alert[]> {
  return await readJson<Alert[]>(proxy, ALERTMANAGER, "/api/v2/alerts");
}

/** The always-firing Watchdog has arrived; one replica alone is "disabled", and well. */
export async function alertmanager({ proxy }: Subject): Promise<Findings> {
  type Status = { cluster: { status: "ready" | "settling" | "disabled" } };
  const { cluster } = await readJson<Status>(proxy, ALERTMANAGER, "/api/v2/status");
  const alerts = await alertsOf(proxy);
  return [
    cluster.status === "settling" && {
      what: "Alertmanager still looks for its peers",
      cause: "it has just started, or a peer is away",
      fix: "kubectl -n monitoring get pods -l app.kubernetes.io/name=alertmanager",
    },
    !alerts.some(({ labels }) => labels.alertname === "Watchdog") && {
      what: "Alertmanager has no Watchdog: no alert of Prometheus arrives there",
      cause: "the rules are not loaded, or spec.alerting of Prometheus names another Service",
      fix: "look at /api/v1/alertmanagers of Prometheus, then make 20-prometheus",
    },
  ];
}

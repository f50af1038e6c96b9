// Checks of the way of an alert: it arrives at Alertmanager, people are told of it, and none that is critical fires.
import { parse } from "yaml";
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Findings, note, ok, type Subject } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { lossesOf } from "./metrics.ts";

/** The Alertmanager of the cluster itself. */
export const ALERTMANAGER = {
  namespace: "monitoring",
  name: "kube-prometheus-stack-alertmanager",
  port: 9093,
};

/** One of `/api/v2/alerts`. */
export interface Alert {
  labels: Record<string, string>;
  annotations: { summary?: string; runbook_url?: string };
  startsAt: string;
  /** `suppressed`: silenced, or inhibited by another. */
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
      fix: "look at /api/v1/alertmanagers of kube-prometheus-stack-prometheus, then " +
        "make 20-prometheus",
    },
  ];
}

/** What Alertmanager sends is taken by the receiver. */
export async function notifications({ cluster, proxy }: Subject): Promise<Findings> {
  return [
    text(cluster, "ALERT_WEBHOOK_URL") === "" &&
    note("alerts are sent nowhere: no ALERT_WEBHOOK_URL"),
    await lossesOf(proxy, {
      counter: "alertmanager_notifications_failed_total",
      program: "Alertmanager",
      before: (count) => `${count} notifications failed hours ago`,
      lately: (count) =>
        `${count} notifications have failed in the last 15 minutes: nobody was told`,
      cause: "what listens at ALERT_WEBHOOK_URL is away, refuses them, or is not reached from pods",
      fix: "kubectl -n monitoring logs alertmanager-kube-prometheus-stack-alertmanager-0 " +
        "-c alertmanager | grep -i notify",
    }),
  ];
}

/**
 * Critical alerts that fire and are not silenced; those that no rule of the objects makes are a note, and so
 * are those about the `excused` clusters, by name, and about stand-ins.
 */
export function criticalProblems(
  alerts: Alert[],
  objects: Manifest[],
  excused: string[],
  standIns: string[],
): Findings {
  const names = alertNames(objects);
  const isOurs = ({ labels: { alertname, cluster = "", edge = "", job = "" } }: Alert) =>
    names.has(alertname!) && ![cluster, edge].some((name) => excused.includes(name)) &&
    !standIns.some((program) => job.includes(program));
  const firing = alerts.filter(({ labels, status }) =>
    labels.severity === "critical" && status.state !== "suppressed"
  );
  const others = new Set(
    firing.filter((alert) => !isOurs(alert)).map(({ labels }) => labels.alertname),
  );
  return [
    ok(`none fires, of ${names.size} alerts`),
    others.size > 0 && note(`critical, and not about what is ours here: ${[...others].join(", ")}`),
    firing.filter(isOurs).map((
      { labels, annotations: { summary = "", runbook_url }, startsAt },
    ) => ({
      what: `${labels.alertname} fires since ${startsAt.slice(0, 16)}Z: ${summary}`,
      cause: "what the alert says; Alertmanager forgets it a few minutes after that is mended",
      fix: runbook_url ?? "look at it in Alertmanager",
    })),
  ];
}

/** Names of the alerts that the rules of these objects make: Prometheus' own, and the Ruler's. */
function alertNames(objects: Manifest[]): Set<string> {
  const groups = objects.flatMap((object) =>
    object.kind === "PrometheusRule" ? object.spec.groups : rulerGroups([object])
  );
  return new Set(groups.flatMap(({ rules }) => rules.flatMap(({ alert }: Rule) => alert ?? [])));
}

type Rule = { alert?: string };

/** Groups of rules that the Ruler reads from its ConfigMaps. */
export function rulerGroups(objects: Manifest[]): { name: string; rules: Rule[] }[] {
  return objects.filter(({ kind, metadata }) =>
    kind === "ConfigMap" && metadata.labels?.["app.kubernetes.io/name"] === "thanos-ruler"
  ).flatMap(({ data }) => Object.values<string>(data ?? {}).flatMap((file) => parse(file).groups));
}

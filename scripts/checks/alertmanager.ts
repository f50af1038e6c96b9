// Checks of the way of an alert: it arrives at Alertmanager, and people are told of it.
import { readJson } from "../../lib/probe/http.ts";
import { type ClusterProxy, type Findings, note, type Subject } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
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

// Check of Alertmanager: it runs, and an alert of Prometheus arrives there.
import { readJson } from "../../lib/probe/http.ts";
import type { Finding, Subject } from "../../lib/core/check.ts";

/** The Alertmanager of the cluster itself. */
export const ALERTMANAGER = {
  namespace: "monitoring",
  name: "kube-prometheus-stack-alertmanager",
  port: 9093,
};

/** The part of `/api/v2/status` that says whether it works; one replica alone is "disabled". */
export interface AlertmanagerStatus {
  cluster: { status: "ready" | "settling" | "disabled" };
}

/** One of `/api/v2/alerts`. */
export interface Alert {
  labels: Record<string, string>;
}

/** The always-firing Watchdog has arrived. */
export async function alertmanager({ proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const status = await readJson<AlertmanagerStatus>(way, ALERTMANAGER, "/api/v2/status");
  const filter = encodeURIComponent('alertname="Watchdog"');
  const alerts = await readJson<Alert[]>(way, ALERTMANAGER, `/api/v2/alerts?filter=${filter}`);
  return alertProblems(status, alerts);
}

/** What is wrong with a status and its alerts. */
export function alertProblems({ cluster }: AlertmanagerStatus, alerts: Alert[]): Finding[] {
  const problems: Finding[] = [];
  if (cluster.status === "settling") {
    problems.push({
      what: "Alertmanager still looks for its peers",
      cause: "it has just started, or a peer is away",
      fix: "kubectl -n monitoring get pods -l app.kubernetes.io/name=alertmanager",
    });
  }
  if (!alerts.some(({ labels }) => labels.alertname === "Watchdog")) {
    problems.push({
      what: "Alertmanager has no Watchdog: no alert of Prometheus arrives there",
      cause: "the rules are not loaded, or spec.alerting of Prometheus names another Service",
      fix: "look at /api/v1/alertmanagers of kube-prometheus-stack-prometheus, then " +
        "make 20-prometheus",
    });
  }
  return problems;
}

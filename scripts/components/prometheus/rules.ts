// kube-prometheus' rules, changed to fit what runs here.
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import upstream from "../../../manifests/prometheus/upstream-rules.json" with { type: "json" };
import { metricsLabels } from "./access.ts";

type Rule = { alert?: string; expr: string | number; labels?: Record<string, string> };

// Upstream's names for the jobs, and ours: a job is named after its Service.
const JOBS: Record<string, string> = upstream.jobs;

/** What our installation wants otherwise: a part of an expression is `[as upstream has it, as we do]`. */
const CHANGED: Record<string, { for?: string; severity?: string; expr?: string[] }> =
  upstream.changedAlerts;

/** The PrometheusRules of the bundle in our namespace: jobs by our names, without rules and groups that cannot be here. */
export function adaptRules(objects: Manifest[], cluster: Cluster): Manifest[] {
  const beside = flag(cluster, "CONTROL_PLANE_METRICS") ? [] : upstream.controlPlaneGroups;
  const dropped = [...upstream.blindGroups, ...beside];
  const labels = metricsLabels("kube-prometheus", text(cluster, "KUBE_PROMETHEUS_RULES_VERSION"));
  return objects.map(({ apiVersion, kind, metadata: { name }, spec }) => {
    const groups = (spec.groups as { name: string; rules: Rule[] }[])
      .filter(({ name }) => !dropped.includes(name))
      .map((group) => ({
        ...group,
        rules: group.rules.filter(({ alert = "" }) => !upstream.impossibleAlerts.includes(alert))
          .map((rule) => adapted(rule, cluster)),
      }))
      .filter(({ rules }) => rules.length > 0);
    const metadata = { name, namespace: "monitoring", labels };
    return { apiVersion, kind, metadata, spec: { groups } };
  });
}

function adapted(rule: Rule, cluster: Cluster): Rule {
  const changed = CHANGED[rule.alert ?? ""] ?? {};
  const { for: time, severity, expr: [theirs = "", ours = ""] = [] } = changed;
  return {
    ...rule,
    ...time ? { for: time } : {},
    ...severity ? { labels: { ...rule.labels, severity } } : {},
    expr: fitted(ourJobs(String(rule.expr).replace(theirs, () => ours)), cluster),
  };
}

/** With windows of four scrapes at least, and of what Prometheus keeps in any case: whole blocks, and an hour in none. */
function fitted(expr: string, cluster: Cluster): string {
  const least = 4 * durationSeconds(text(cluster, "SCRAPE_INTERVAL"));
  const most = 3600 + durationSeconds(text(cluster, "PROMETHEUS_RETENTION"));
  return expr.replace(/\[(\w+)\]/g, (window, time: string) => {
    const seconds = durationSeconds(time);
    if (seconds < least) return `[${least}s]`;
    return seconds > most ? `[${most}s]` : window;
  });
}

/** Upstream's job names in a PromQL text, or in JSON that holds one, replaced by ours. */
export function ourJobs(text: string): string {
  return text.replace(
    /\bjob=(\\?")([\w-]+)(?=\\?")/g,
    (all, quote: string, job: string) => JOBS[job] ? `job=${quote}${JOBS[job]}` : all,
  );
}

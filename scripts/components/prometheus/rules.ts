// kube-prometheus' rules, changed to fit what runs here.
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { metricsLabels } from "./access.ts";

interface Rule {
  alert?: string;
  record?: string;
  expr: string | number;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

// Upstream's names for the jobs, and ours: a job is named after its Service.
const JOBS: Record<string, string> = {
  "prometheus-k8s": "kube-prometheus-stack-prometheus",
  "alertmanager-main": "kube-prometheus-stack-alertmanager",
  "prometheus-operator": "kube-prometheus-stack-operator",
};

// What is left out, and why, stands in docs/alerts.md.
const BLIND_GROUPS = [
  "kube-apiserver-slos",
  "kube-apiserver-availability.rules",
  "kube-apiserver-burnrate.rules",
  "kube-apiserver-histogram.rules",
];

const CONTROL_PLANE_GROUPS = [
  "kubernetes-system-scheduler",
  "kubernetes-system-controller-manager",
  "kube-scheduler.rules",
];

const IMPOSSIBLE_ALERTS = [
  "AlertmanagerConfigInconsistent",
  "AlertmanagerMembersInconsistent",
  "KubeStateMetricsShardingMismatch",
  "KubeStateMetricsShardsMissing",
  "KubeHpaReplicasMismatch",
  "KubeHpaMaxedOut",
  "NodeSystemdServiceFailed",
  "NodeSystemdServiceCrashlooping",
  "PrometheusRemoteStorageFailures",
  "PrometheusRemoteWriteBehind",
  "PrometheusRemoteWriteDesiredShards",
];

/** What other installations want otherwise. */
const CHANGED: Record<string, (rule: Rule) => Rule> = {
  // Four hours are twice what a block has until it is deleted.
  PrometheusTSDBReloadsFailing: (rule) => ({ ...rule, for: "30m" }),
  PrometheusTSDBCompactionsFailing: (rule) => ({ ...rule, for: "30m" }),
  // With one node there is nowhere else to go.
  KubeNodePressure: (rule) => ({ ...rule, labels: { ...rule.labels, severity: "warning" } }),
  // Interfaces of pods come and go under the names of other network plugins too.
  NodeNetworkInterfaceFlapping: (rule) => ({
    ...rule,
    expr: String(rule.expr).replace('device!~"veth.+"', 'device!~"(veth|cali|lxc|cni).+"'),
  }),
};

/**
 * The PrometheusRules of the bundle for one cluster: jobs by our names, without what cannot be
 * here, in the namespace `monitoring`. Groups that lose all their rules go.
 */
export function adaptRules(objects: Manifest[], cluster: Cluster): Manifest[] {
  const beside = flag(cluster, "CONTROL_PLANE_METRICS") ? [] : CONTROL_PLANE_GROUPS;
  const dropped = [...BLIND_GROUPS, ...beside];
  const labels = metricsLabels("kube-prometheus", text(cluster, "KUBE_PROMETHEUS_RULES_VERSION"));
  return objects.map(({ apiVersion, kind, metadata, spec }) => {
    const groups = (spec.groups as { name: string; rules: Rule[] }[])
      .filter(({ name }) => !dropped.includes(name))
      .map((group) => ({
        ...group,
        rules: group.rules.filter(({ alert = "" }) => !IMPOSSIBLE_ALERTS.includes(alert))
          .map((rule) => adapted(rule, cluster)),
      }))
      .filter(({ rules }) => rules.length > 0);
    const { name } = metadata;
    return {
      apiVersion,
      kind,
      metadata: { name, namespace: "monitoring", labels },
      spec: { groups },
    };
  });
}

function adapted(rule: Rule, cluster: Cluster): Rule {
  const changed = CHANGED[rule.alert ?? ""]?.(rule) ?? rule;
  return { ...changed, expr: fitted(ourJobs(String(changed.expr)), cluster) };
}

/**
 * The expression with windows of four scrapes at least, and no longer than Prometheus keeps in any case:
 * its retention in blocks, and an hour that is in none.
 */
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

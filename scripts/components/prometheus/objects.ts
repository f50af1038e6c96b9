// Objects of 20-prometheus that are built from variables, and kube-prometheus' rules, changed to fit what runs here.
import { parse } from "yaml";
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { configMap, labelsOf, RELOAD_ANNOTATION, secret } from "../../../lib/core/object.ts";
import { type Manifest, withValue } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { keyOf } from "../../../lib/s3/client.ts";
import upstream from "../../../manifests/prometheus/upstream-rules.json" with { type: "json" };
import { metricsToken } from "../minio/admin.ts";
import { bucketsOf, objstoreConfig } from "../minio/buckets.ts";

const NAMESPACE = "monitoring";

/** Labels of an object of `name`, whose image tag is that setting. */
function labelsFor(cluster: Cluster, name: string, setting: string): Record<string, string> {
  return labelsOf({ name, component: name, partOf: "metrics", version: text(cluster, setting) });
}

export function grafanaLabels(cluster: Cluster): Record<string, string> {
  return labelsFor(cluster, "grafana", "GRAFANA_VERSION");
}

function objstoreLabels(cluster: Cluster): Record<string, string> {
  return labelsFor(cluster, "thanos-objstore", "THANOS_VERSION");
}

/** Where Prometheus' sidecar and Thanos find the key of the bucket of blocks. */
export const thanosKey: S3KeyHolder = {
  program: "THANOS",
  keeps: "metrics",
  namespace: NAMESPACE,
  name: "thanos-s3-config",
  read(values) {
    const { access_key, secret_key } = parse(values["objstore.yml"] ?? "")?.config ?? {};
    return { accessKey: access_key, secretKey: secret_key };
  },
};

/** All that is built from variables for the metrics half of a cluster. */
export function metricsAccess(cluster: Cluster): Manifest[] {
  const { s3Ca } = cluster, labels = objstoreLabels(cluster);
  return [
    objstoreSecret(cluster),
    ...(s3Ca ? [secret("s3-ca", NAMESPACE, { "ca.crt": s3Ca }, { labels })] : []),
    ...minioMetrics(cluster),
    alertmanagerSecret(cluster),
    grafanaSecret(cluster),
    grafanaLimits(cluster),
  ];
}

/** Access to the bucket of blocks: for the sidecar of every cluster, and all of Thanos on central. */
export function objstoreSecret(cluster: Cluster): Manifest {
  const bucket = bucketsOf(cluster).find(({ program }) => program === thanosKey.program)!;
  const file = objstoreConfig(cluster, bucket, "/etc/thanos/ca/ca.crt");
  const labels = objstoreLabels(cluster);
  return secret(thanosKey.name, NAMESPACE, { "objstore.yml": file }, { labels });
}

/** With MINIO_METRICS at the centre: the scrape of how full MinIO is, and its token. */
export function minioMetrics(cluster: Cluster): Manifest[] {
  if (!flag(cluster, "MINIO_METRICS") || cluster.role !== "central") return [];
  const token = metricsToken(keyOf(cluster, thanosKey.program));
  return [
    renderFile("prometheus/minio-metrics.yaml", cluster),
    secret("minio-metrics", NAMESPACE, { token }, { labels: objstoreLabels(cluster) }),
  ];
}

/** The objects, of which the scrape of S3 trusts its private CA; of an S3 that is no MinIO neither scrape nor alert. */
export function watchingS3(objects: Manifest[], cluster: Cluster): Manifest[] {
  const isMinio = flag(cluster, "S3_IS_MINIO");
  const tlsConfig = { ca: { secret: { name: "s3-ca", key: "ca.crt" } } };
  return objects.flatMap((object) => {
    const { kind, metadata, spec } = object;
    if (kind === "ScrapeConfig") {
      if (!isMinio && metadata.name === "minio") return [];
      return cluster.s3Ca ? withValue(object, ["spec", "tlsConfig"], tlsConfig) : object;
    }
    if (kind !== "PrometheusRule" || isMinio) return object;
    const groups = spec.groups.map((group: { rules: { alert?: string }[] }) => (
      { ...group, rules: group.rules.filter(({ alert }) => alert !== "S3EndpointDown") }
    ));
    return withValue(object, ["spec", "groups"], groups);
  });
}

// Read only when Grafana makes its database, and set by the step, so a new one restarts nothing.
function grafanaSecret(cluster: Cluster): Manifest {
  const password = text(cluster, "GRAFANA_ADMIN_PASSWORD");
  const values = { "admin-user": "admin", "admin-password": password };
  const about = { labels: grafanaLabels(cluster), annotations: { [RELOAD_ANNOTATION]: "live" } };
  return secret("kube-prometheus-stack-grafana", NAMESPACE, values, about);
}

/** What Grafana wants in seconds, for its own limit of 30 s is shorter than a query may take; and the site's clock. */
export function grafanaLimits(cluster: Cluster): Manifest {
  const seconds = Math.ceil(durationSeconds(text(cluster, "QUERY_TIMEOUT"))) + 10;
  const zone = text(cluster, "TIMEZONE");
  const values = {
    GF_DATAPROXY_TIMEOUT: String(seconds),
    ...(zone === "UTC" ? {} : { GF_DATE_FORMATS_DEFAULT_TIMEZONE: zone }),
  };
  return configMap("grafana-limits", NAMESPACE, values, { labels: grafanaLabels(cluster) });
}

/** Routing of alerts: all of them go to ALERT_WEBHOOK_URL, or nowhere without one. */
export function alertmanagerSecret(cluster: Cluster): Manifest {
  const { silent, told: { routes, receivers } } =
    renderFile("prometheus/alertmanager-config.yaml", cluster).spec;
  const config = text(cluster, "ALERT_WEBHOOK_URL") === ""
    ? silent
    : { ...silent, route: { ...silent.route, routes }, receivers };
  const values = { "alertmanager.yaml": toYaml(config) };
  const labels = labelsFor(cluster, "alertmanager", "ALERTMANAGER_VERSION");
  return secret("alertmanager-kube-prometheus-stack-alertmanager", NAMESPACE, values, { labels });
}

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
  const labels = labelsFor(cluster, "kube-prometheus", "KUBE_PROMETHEUS_RULES_VERSION");
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

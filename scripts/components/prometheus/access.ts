// Secrets and settings of the metrics half that are built from variables.
import { parse } from "yaml";
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import {
  configMap,
  labelsOf,
  type Manifest,
  RELOAD_ANNOTATION,
  secret,
  withValue,
} from "../../../lib/core/object.ts";
import { metricsToken } from "../minio/admin.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { keyOf } from "../../../lib/s3/client.ts";
import { bucketsOf, objstoreConfig } from "../minio/buckets.ts";

const NAMESPACE = "monitoring";

/** Labels of an object of `name` at `version` (its image tag). */
export function metricsLabels(name: string, version: string): Record<string, string> {
  return labelsOf({ name, component: name, partOf: "metrics", version });
}

export function grafanaLabels(cluster: Cluster): Record<string, string> {
  return metricsLabels("grafana", text(cluster, "GRAFANA_VERSION"));
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

function objstoreLabels(cluster: Cluster): Record<string, string> {
  return metricsLabels("thanos-objstore", text(cluster, "THANOS_VERSION"));
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
  const labels = metricsLabels("alertmanager", text(cluster, "ALERTMANAGER_VERSION"));
  return secret("alertmanager-kube-prometheus-stack-alertmanager", NAMESPACE, values, { labels });
}

// 50-verify: proves hop by hop that a cluster does what the other steps built, and leaves nothing behind.
// Every check runs; one closing error names each failed hop, its likely cause and the fix.
import "./needs.ts";
import type { Check } from "../lib/probe/check.ts";
import { type Cluster, text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import { durationSeconds } from "../lib/core/quantity.ts";
import { desiredOf, step } from "../lib/deploy/step.ts";
import { alertmanager } from "./checks/alertmanager.ts";
import { archive, headroom } from "./checks/archive.ts";
import { certificates } from "./checks/certificates.ts";
import { doors } from "./checks/doors.ts";
import { dashboards, login } from "./checks/grafana.ts";
import { backupTarget } from "./checks/longhorn.ts";
import { fresh, marker } from "./checks/logs.ts";
import { compactor, dropped, indexed, uploads } from "./checks/metrics.ts";
import { claims, defaultClass, existing, readyObjects } from "./checks/objects.ts";
import { health, lifecycle, plugins, repository } from "./checks/opensearch.ts";
import { rules, targets } from "./checks/prometheus.ts";
import { runChecks } from "./checks/run.ts";
import { bucket } from "./checks/bucket.ts";
import type { Subject } from "./checks/subject.ts";
import { clusters, endpoints } from "./checks/thanos.ts";
import { volume } from "./checks/volume.ts";
import { STEPS } from "./steps.ts";

/** Hop by hop, in the order in which the data goes. */
export const CHECKS: Record<Cluster["role"] | "every", Check<Subject>[]> = {
  every: [
    { name: "Objects", hop: "manifests -> API server", live: false, run: existing },
    { name: "Readiness", hop: "controllers -> pods", live: false, run: readyObjects },
    { name: "Volume claims", hop: "pods -> volumes", live: false, run: claims },
    { name: "Default StorageClass", hop: "claims -> provisioner", live: true, run: defaultClass },
    { name: "New volume", hop: "claim -> volume -> pod", live: true, run: volume },
    { name: "Bucket of metrics", hop: "key -> S3", live: false, run: bucket("THANOS_BUCKET") },
    { name: "Bucket of logs", hop: "key -> S3", live: false, run: bucket("OPENSEARCH_BUCKET") },
    { name: "Bucket of volumes", hop: "key -> S3", live: false, run: bucket("LONGHORN_BUCKET") },
    { name: "Backup target", hop: "Longhorn -> S3", live: true, run: backupTarget },
    { name: "Certificates", hop: "clients -> S3, API server", live: false, run: certificates },
    { name: "Doors", hop: "people -> ingress -> programs", live: true, run: doors },
    { name: "Targets", hop: "exporters -> Prometheus", live: true, run: targets },
    { name: "Rules", hop: "PrometheusRule -> Prometheus", live: true, run: rules },
    { name: "Alerts", hop: "Prometheus -> Alertmanager", live: true, run: alertmanager },
    { name: "Block upload", hop: "sidecar -> S3", live: true, run: uploads },
    { name: "OpenSearch", hop: "OpenSearch nodes", live: true, run: health },
    {
      name: "OpenSearch plugins",
      hop: "image -> OpenSearch",
      live: true,
      program: "index-management",
      run: plugins,
    },
    { name: "Room for logs", hop: "OpenSearch -> volume", live: true, run: headroom },
    { name: "Log snapshots", hop: "OpenSearch -> S3", live: true, run: repository },
    { name: "Log archive", hop: "index -> S3", live: true, run: archive },
    {
      name: "Log lifecycle",
      hop: "index -> snapshot -> deletion",
      live: true,
      program: "index-management",
      run: lifecycle,
    },
    {
      name: "Marker line",
      hop: "pod -> Fluent Bit -> OpenSearch",
      live: true,
      program: "fluent-bit",
      run: marker,
    },
    {
      name: "Fresh logs",
      hop: "node -> Fluent Bit -> OpenSearch",
      live: true,
      program: "fluent-bit",
      run: fresh,
    },
    {
      name: "Dropped logs",
      hop: "Fluent Bit -> Prometheus",
      live: true,
      program: "fluent-bit",
      run: dropped,
    },
    { name: "OpenSearch metrics", hop: "OpenSearch -> Prometheus", live: true, run: indexed },
    { name: "Grafana login", hop: "people -> Grafana", live: true, program: "grafana", run: login },
    {
      name: "Grafana data",
      hop: "Grafana -> Prometheus",
      live: true,
      program: "grafana",
      run: dashboards,
    },
  ],
  central: [
    { name: "Thanos endpoints", hop: "Query -> sidecars", live: true, run: endpoints },
    { name: "Clusters in Query", hop: "clusters -> Query", live: true, run: clusters },
    { name: "Compactor", hop: "S3 -> Compactor -> S3", live: true, run: compactor },
  ],
  edge: [],
};

/**
 * Right after a deploy, discovery and first scrapes take their time: in ms, shared by all checks. A rate
 * needs two scrapes, and an alert on it two evaluations more.
 */
function patienceOf(cluster: Cluster): number {
  return Math.max(180, 60 + 4 * durationSeconds(text(cluster, "SCRAPE_INTERVAL"))) * 1000;
}

export const verify = step({
  name: "50-verify",
  afterFleet: true,
  objects: () => Promise.resolve([]),
  async run(context) {
    const checks = [...CHECKS.every, ...CHECKS[context.cluster.role]];
    const objects = await desiredOf(STEPS, context.cluster);
    const deadline = Date.now() + patienceOf(context.cluster);
    await runChecks(checks, context, { objects, until: () => deadline });
  },
});

if (import.meta.main) await main(verify);

// 20-prometheus: the operator, Prometheus with its sidecar, Alertmanager, exporters, rules, Grafana. Brings the
// definitions of monitors and rules, so those of earlier steps come from here too. Needs nothing. Safe to run again.
import "./needs.ts";
import { alertmanager, notifications } from "./checks/metrics.ts";
import { uploads } from "./checks/thanos.ts";
import { BY_API, LIVE } from "../lib/core/check.ts";
import { bucketOf } from "./checks/s3.ts";
import { dashboards, login, rules, targets } from "./checks/prometheus.ts";
import { loadBundle } from "../lib/render/bundle.ts";
import { type Cluster, flag, text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import type { Manifest } from "../lib/core/object.ts";
import { render } from "../lib/render/render.ts";
import { type Step, step } from "../lib/deploy/step.ts";
import { backupAlerts } from "./components/longhorn/backups.ts";
import { enforcerOf, opensOf, policiesEnforced, policiesIn } from "./components/network/network.ts";
import { adaptRules, metricsAccess } from "./components/prometheus/objects.ts";
import { thanosKey, watchingS3 } from "./components/prometheus/objects.ts";
import { packOwn, packRunbooks, packUpstream } from "./components/prometheus/dashboards.ts";
import { ensureAdminPassword } from "./components/prometheus/login.ts";
import { grpcSecrets } from "./components/thanos/fleet.ts";
import { moduleHome } from "./tools/go_build.ts";

// A program that may be a stand-in.
const GRAFANA = { ...LIVE, program: "grafana" };

export const prometheus = step({
  name: "20-prometheus",
  checks: [
    { ...BY_API, name: "NetworkPolicies", hop: "network", run: policiesEnforced },
    { ...LIVE, name: "Targets", hop: "exporters -> Prometheus", run: targets },
    { ...LIVE, name: "Rules", hop: "PrometheusRule -> Prometheus", run: rules },
    { ...LIVE, name: "Alerts", hop: "Prometheus -> Alertmanager", run: alertmanager },
    { ...LIVE, name: "Notifications", hop: "Alertmanager -> receiver", run: notifications },
    bucketOf(thanosKey),
    { ...LIVE, name: "Block upload", hop: "sidecar -> S3", run: uploads },
    { ...GRAFANA, name: "Grafana login", hop: "people -> Grafana", run: login },
    { ...GRAFANA, name: "Grafana data", hop: "Grafana -> Prometheus", run: dashboards },
  ],
  s3Key: thanosKey,
  centralPart: wayToEdges,
  bundles: upstream,
  opens: opensOf("20-prometheus"),
  async objects(cluster) {
    const add = [...metricsAccess(cluster), ...policiesIn(cluster, "monitoring")];
    // Only edges are called from outside.
    const isEdge = cluster.role === "edge", fenced = isEdge && flag(cluster, "THANOS_GRPC_MTLS");
    if (isEdge) add.push(...grpcSecrets(cluster));
    const folder = fenced ? "prometheus/edge-mtls" : "prometheus";
    const monitored = monitors(cluster);
    return [
      ...watchingS3(await render(folder, cluster, { add }), cluster),
      packOwn(cluster, monitored),
      packRunbooks(cluster),
      ...backupAlerts(cluster),
      ...(await Promise.all(monitored.map((folder) => render(folder, cluster)))).flat(),
    ];
  },
  async run({ cluster, objects, phase, live, apply, ready, changed, report }) {
    if (flag(cluster, "NETWORK_POLICIES") && !await enforcerOf(cluster)) {
      report.warn("NETWORK_POLICIES: no CNI is seen that enforces them, so nothing is refused");
    }
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
    await live("Grafana password", async () => {
      if (await ensureAdminPassword(cluster)) changed("Grafana/admin password");
    }, "grafana");
  },
});

/** The part of central that a deployed edge changes: where policies are, Query's way to its sidecar. */
function wayToEdges(): Step {
  return step({
    name: "20-prometheus",
    skips: (central) =>
      flag(central, "NETWORK_POLICIES") ? undefined : "everything is open (NETWORK_POLICIES)",
    objects(central) {
      const policies = policiesIn(central, "monitoring");
      return Promise.resolve(policies.filter(({ metadata }) => metadata.name === "thanos-query"));
    },
    async run({ objects, phase, apply }) {
      await phase("Way to the edges", () => apply(objects));
    },
  });
}

async function upstream(cluster: Cluster): Promise<Manifest[]> {
  const [definitions, rules, dashboards] = await Promise.all([
    loadBundle("prometheus-operator", cluster, { moduleHome }),
    loadBundle("kube-prometheus-rules", cluster),
    loadBundle("kube-prometheus-dashboards", cluster),
  ]);
  return [...definitions, ...adaptRules(rules, cluster), ...packUpstream(dashboards, cluster)];
}

/** Folders of what is scraped, and has a dashboard, only on some clusters. */
export function monitors(cluster: Cluster): string[] {
  const ingress = text(cluster, "INGRESS");
  return [
    ...(ingress === "existing" ? [] : [`ingress/${ingress}-monitors`]),
    ...(text(cluster, "STORAGE") === "longhorn" ? ["longhorn/monitors"] : []),
    ...(flag(cluster, "CONTROL_PLANE_METRICS") ? ["prometheus/control-plane"] : []),
  ];
}

if (import.meta.main) await main(prometheus);

import assert from "node:assert/strict";
import { parse } from "yaml";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { prometheus } from "../../../scripts/20-prometheus.ts";
import {
  adaptRules,
  alertmanagerSecret,
  grafanaLimits,
  objstoreSecret,
  ourJobs,
} from "../../../scripts/components/prometheus/objects.ts";
import { ownDashboards } from "../../../scripts/components/prometheus/dashboards.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

const cluster = await fixtureCluster("197");
const withCa = await fixtureCluster("197", { S3_CA_FILE: "tests/fixtures/env/ca.crt" });
const withControlPlane = await fixtureCluster("197", { CONTROL_PLANE_METRICS: "true" });

function rule(...groups: [name: string, ...alerts: string[]][]): Manifest {
  return {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "upstream", namespace: "monitoring", labels: { role: "alert-rules" } },
    spec: {
      groups: groups.map(([name, ...alerts]) => ({
        name,
        rules: alerts.map((alert) => ({ alert, expr: 'up{job="prometheus-k8s"} == 0' })),
      })),
    },
  };
}

/** `group: alert alert` of every group of the first object. */
function contents([object]: Manifest[]): string[] {
  return object!.spec.groups.map((group: { name: string; rules: { alert: string }[] }) =>
    `${group.name}: ${group.rules.map(({ alert }) => alert).join(" ")}`
  );
}

interface Receiver {
  name: string;
  webhook_configs?: { url: string; send_resolved: boolean }[];
}

function decoded(object: Manifest, key: string) {
  return parse(atob(object.data[key]));
}

Deno.test("20-prometheus checks the certificate of S3 in its scrape, with the private CA if there is one", async () => {
  const tls = async (one: typeof cluster) =>
    (await prometheus.objects(one)).find(({ kind }) => kind === "ScrapeConfig")!.spec.tlsConfig;
  assert.equal(await tls(cluster), undefined);
  assert.deepEqual(await tls(withCa), { ca: { secret: { name: "s3-ca", key: "ca.crt" } } });
});

Deno.test("P9: every endpoint of the kubelets is taken from the Service of our operator alone", async () => {
  const objects = await prometheus.objects(cluster);
  const monitor = objects.find((one) => idOf(one) === "ServiceMonitor/monitoring/kubelet")!;
  assert.equal(monitor.spec.endpoints.length, 3);
  for (const { relabelings } of monitor.spec.endpoints) {
    const keep = {
      action: "keep",
      sourceLabels: ["__meta_kubernetes_service_name"],
      regex: "kubelet",
    };
    assert.deepEqual(relabelings[0], keep);
  }
  const operator = objects.find(({ kind, metadata }) =>
    kind === "Deployment" && metadata.name === "kube-prometheus-stack-operator"
  )!;
  const { args } = operator.spec.template.spec.containers[0];
  assert.ok(args.includes("--kubelet-service=kube-system/kubelet"));
});

Deno.test("R6: links of alerts lead to doors of ours, and every runbook is a page behind one", async () => {
  for (const role of ["196", "197"]) {
    const own = await fixtureCluster(role);
    const objects = await prometheus.objects(own);
    const url = (kind: string) => objects.find((one) => one.kind === kind)!.spec.externalUrl;
    assert.equal(url("Prometheus"), "http://thanos.mkube-196.miribit.lab:30080");
    assert.equal(url("Alertmanager"), `http://grafana.mkube-${role}.miribit.lab:30080`);
    const door = objects.find(({ kind, metadata }) =>
      kind === "Ingress" && metadata.name === "kube-prometheus-stack-grafana"
    )!;
    const prefix = `http://${door.spec.rules[0].host}:30080/public/runbooks`;
    assert.equal(own.vars.RUNBOOK_URL, prefix);
    const pages = objects.find(({ metadata }) => metadata.name === "grafana-runbooks")!.data;
    const links = JSON.stringify(objects).matchAll(/"runbook_url":"(http[^"#]+\/([\w.]+))#(\w+)"/g);
    let count = 0;
    for (const [, link, file, section] of links) {
      assert.equal(link, `${prefix}/${file}`);
      assert.ok(pages[file!].includes(`<b id="${section}">`), `${file}#${section}`);
      count++;
    }
    assert.ok(count > 10);
    for (const page of Object.values<string>(pages)) assert.match(page, /^<!doctype html>/);
  }
  const elsewhere = await fixtureCluster("197", { RUNBOOK_URL: "https://git.example/runbooks" });
  assert.equal(elsewhere.vars.RUNBOOK_URL, "https://git.example/runbooks");
  await assert.rejects(fixtureCluster("197", { RUNBOOK_URL: "docs/runbooks" }), /1 problem/);
});

Deno.test("adaptRules() leaves out groups that have nothing to look at, and emptied ones", () => {
  const upstream = rule(
    ["kubernetes-apps", "KubePodCrashLooping", "KubeNodeNotReady", "KubeHpaMaxedOut"],
    ["kube-apiserver-slos", "KubeAPIErrorBudgetBurn"],
    ["kubernetes-system-scheduler", "KubeSchedulerDown"],
    ["only-pointless", "NodeSystemdServiceFailed"],
  );
  const apps = "kubernetes-apps: KubePodCrashLooping KubeNodeNotReady";
  assert.deepEqual(contents(adaptRules([upstream], cluster)), [apps]);
  assert.deepEqual(
    contents(adaptRules([upstream], withControlPlane)),
    [apps, "kubernetes-system-scheduler: KubeSchedulerDown"],
  );
});

Deno.test("adaptRules() carries our labels and job names, and changes no input", () => {
  const upstream = rule(["prometheus", "PrometheusBadConfig"]);
  const [adapted] = adaptRules([upstream], cluster);
  assert.equal(
    adapted!.spec.groups[0].rules[0].expr,
    'up{job="kube-prometheus-stack-prometheus"} == 0',
  );
  assert.equal(adapted!.metadata.labels?.["app.kubernetes.io/part-of"], "metrics");
  assert.equal(adapted!.metadata.labels?.role, undefined);
  assert.match(upstream.spec.groups[0].rules[0].expr, /prometheus-k8s/);
});

Deno.test("adaptRules() changes what small clusters want otherwise", () => {
  const upstream = rule(["some", "PrometheusTSDBReloadsFailing", "KubeNodePressure", "TargetDown"]);
  for (const one of upstream.spec.groups[0].rules) {
    Object.assign(one, { for: "4h", labels: { severity: "info" } });
  }
  const [adapted] = adaptRules([upstream], cluster);
  const shown = adapted!.spec.groups[0].rules.map((
    one: { for: string; labels: { severity: string } },
  ) => `${one.for} ${one.labels.severity}`);
  assert.deepEqual(shown, ["30m info", "4h warning", "4h info"]);
});

Deno.test("ourJobs() knows quotes of PromQL and of JSON, and leaves other jobs", () => {
  assert.equal(
    ourJobs('a{job="alertmanager-main"} "b{job=\\"prometheus-operator\\"}" c{job="kubelet"}'),
    'a{job="kube-prometheus-stack-alertmanager"} ' +
      '"b{job=\\"kube-prometheus-stack-operator\\"}" c{job="kubelet"}',
  );
});

Deno.test("P11: objstoreSecret() quotes what Thanos would read as a number or a switch", () => {
  const text = (secretKey: string, accessKey = "fleet") => {
    const vars = {
      ...cluster.vars,
      THANOS_S3_ACCESS_KEY: accessKey,
      THANOS_S3_SECRET_KEY: secretKey,
    };
    return atob(objstoreSecret({ ...cluster, vars }).data["objstore.yml"]);
  };
  const numbers = [
    "0b1010101",
    "1_000_000_0",
    "0x1F_00000",
    "0o17_00000",
    "-1_2e3_4567",
    "1234567890",
  ];
  for (const number of numbers) {
    assert.match(text(number), new RegExp(`secret_key: "${RegExp.escape(number)}"\n`));
  }
  assert.match(text("12345678", "yes"), /access_key: "yes"\n/);
  // What needs no quotes stays as it was, or every Thanos would restart.
  assert.match(text("12ab34cd56ef"), /secret_key: 12ab34cd56ef\n/);
});

Deno.test("objstoreSecret() names host and port, path style, and a CA only where there is one", () => {
  const { config } = decoded(objstoreSecret(cluster), "objstore.yml");
  assert.equal(config.endpoint, "172.20.40.21:30001");
  assert.equal(config.bucket_lookup_type, "path");
  assert.equal(config.insecure, false);
  assert.equal(config.http_config, undefined);
  const ca = decoded(objstoreSecret(withCa), "objstore.yml").config.http_config.tls_config.ca_file;
  assert.equal(ca, "/etc/thanos/ca/ca.crt");
});

const URL_SET = { ALERT_WEBHOOK_URL: "https://alerts.example/hook?token=hush-hush" };

Deno.test("alertmanagerSecret() never lets one cluster mute another", async () => {
  for (const settings of [{}, URL_SET]) {
    const config = alertmanagerSecret(await fixtureCluster("197", settings));
    const { route, receivers, inhibit_rules } = decoded(config, "alertmanager.yaml");
    assert.ok(route.group_by.includes("cluster"));
    for (const { equal } of inhibit_rules) assert.ok(equal.includes("cluster"));
    const names = receivers.map(({ name }: { name: string }) => name);
    for (const { receiver } of [route, ...route.routes]) assert.ok(names.includes(receiver));
  }
});

Deno.test("B20: alerts and heartbeats go to ALERT_WEBHOOK_URL, nothing goes out without one", async () => {
  const silent = decoded(alertmanagerSecret(cluster), "alertmanager.yaml");
  assert.deepEqual(silent.receivers, [{ name: "default" }, { name: "silent" }]);
  assert.match(cluster.warnings.join(), /ALERT_WEBHOOK_URL: alerts are sent nowhere/);

  const told = await fixtureCluster("197", URL_SET);
  assert.doesNotMatch(told.warnings.join(), /ALERT_WEBHOOK_URL/);
  const { route, receivers } = decoded(alertmanagerSecret(told), "alertmanager.yaml");
  const addresses = receivers.map(({ name, webhook_configs: [hook] = [] }: Receiver) =>
    [name, hook?.url, hook?.send_resolved] as const
  );
  assert.deepEqual(addresses, [
    ["default", URL_SET.ALERT_WEBHOOK_URL, true],
    ["heartbeat", URL_SET.ALERT_WEBHOOK_URL, false],
    ["silent", undefined, undefined],
  ]);
  const [mute, heartbeat] = route.routes;
  assert.deepEqual([mute.receiver, mute.matchers], ["silent", ["alertname = InfoInhibitor"]]);
  assert.equal(heartbeat.receiver, "heartbeat");
  const matches = new RegExp(`^(${/"(.*)"/.exec(heartbeat.matchers[0])![1]})$`);
  assert.deepEqual(
    ["Watchdog", "GlobalWatchdog", "ClusterWatchdogMissing"].map((name) => matches.test(name)),
    [true, true, false],
  );
});

Deno.test("20-prometheus: another ALERT_WEBHOOK_URL changes its Secret and restarts nothing", async () => {
  const before = await prometheus.objects(cluster);
  const after = await prometheus.objects(await fixtureCluster("197", URL_SET));
  const changed = after.filter((object, index) =>
    JSON.stringify(object) !== JSON.stringify(before[index])
  );
  assert.deepEqual(changed.map(idOf), [
    "Secret/monitoring/alertmanager-kube-prometheus-stack-alertmanager",
  ]);
});

Deno.test("Grafana shows times of TIMEZONE, and without one nothing of it changes", async () => {
  const site = await fixtureCluster("196", { TIMEZONE: "Asia/Seoul" });
  assert.equal(grafanaLimits(site).data.GF_DATE_FORMATS_DEFAULT_TIMEZONE, "Asia/Seoul");
  const zones = async (one: Cluster) => {
    const own = Object.values(await ownDashboards(one, []));
    return [...new Set(own.map(({ timezone }) => timezone))];
  };
  assert.deepEqual(await zones(site), ["Asia/Seoul"]);
  assert.deepEqual(await zones(await fixtureCluster("196")), ["browser"]);
});

Deno.test("grafanaLimits() waits longer than a query may take", () => {
  assert.deepEqual(grafanaLimits(cluster).data, { GF_DATAPROXY_TIMEOUT: "130" });
});

Deno.test("20-prometheus opens the sidecar's NodePort on edges only", async () => {
  for (const [id, ports] of [["196", []], ["197", [30901]]] as const) {
    const objects = await prometheus.objects(await fixtureCluster(id));
    const open = objects.filter(({ spec }) => spec?.type === "NodePort");
    assert.deepEqual(open.flatMap(({ spec }) => spec.ports.map(nodePort)), ports);
  }
});

function nodePort(port: { nodePort: number }): number {
  return port.nodePort;
}

Deno.test("20-prometheus mounts the CA of S3 where there is one, and restarts when a key changes", async () => {
  const objects = await prometheus.objects(withCa);
  assert.ok(objects.some((object) => idOf(object) === "Secret/monitoring/s3-ca"));
  const other = await fixtureCluster("197", { S3_SECRET_KEY: "another-secret-key" });
  const stamps = await Promise.all([cluster, other].map(async (one) => {
    const found = (await prometheus.objects(one)).find(({ kind }) => kind === "Prometheus");
    return found!.spec.podMetadata.annotations["deploy.miribit.lab/config-checksum"];
  }));
  assert.notEqual(stamps[0], undefined);
  assert.notEqual(stamps[0], stamps[1]);
});

Deno.test("20-prometheus scrapes what other steps and the control plane have only where it is", async () => {
  async function monitors(environment: Record<string, string>): Promise<string[]> {
    const objects = await prometheus.objects(await fixtureCluster("197", environment));
    return objects.filter(({ kind }) => kind === "ServiceMonitor").map((one) => one.metadata.name);
  }
  const optional = ["ingress-nginx", "longhorn-manager", "etcd", "kube-proxy"];
  const existing = { INGRESS: "existing", STORAGE: "existing", STORAGE_CLASS: "standard" };
  const some = await monitors({});
  const none = await monitors(existing);
  const all = await monitors({ CONTROL_PLANE_METRICS: "true" });
  assert.deepEqual(optional.filter((name) => some.includes(name)), optional.slice(0, 2));
  assert.deepEqual(optional.filter((name) => none.includes(name)), []);
  assert.deepEqual(optional.filter((name) => all.includes(name)), optional);
});

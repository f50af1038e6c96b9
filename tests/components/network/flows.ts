// Who has to talk to whom, read from the rendered objects alone: Services, monitors, addresses in
// arguments and configuration. A second opinion to the flows of the steps, which it does not use.
import { type Cluster, number, text } from "../../../lib/core/cluster.ts";
import type { Manifest } from "../../../lib/core/object.ts";

/** Pods of one workload. */
export interface Pods {
  /** `monitoring/grafana`. */
  id: string;
  namespace: string;
  labels: Record<string, string>;
  /** Numbers by name. */
  ports: Record<string, number>;
  /** Everything that its pods are configured with, as one text. */
  configuration: string;
  /** Whether they hold a token of the API server. */
  token: boolean;
}

const OPERATED: Record<string, Record<string, number>> = {
  Prometheus: { "http-web": 9090, "reloader-web": 8080, grpc: 10901, http: 10902 },
  Alertmanager: { "http-web": 9093, "reloader-web": 8080 },
};

// Of other people, and scraped or opened by ours.
const FOREIGN: Pods[] = [
  foreign("kube-system", { "k8s-app": "kube-dns" }, { dns: 53, metrics: 9153 }),
  foreign("longhorn-system", { app: "longhorn-ui" }, { http: 8000 }),
  foreign("longhorn-system", { app: "longhorn-manager" }, { manager: 9500 }),
];

function foreign(
  namespace: string,
  labels: Record<string, string>,
  ports: Record<string, number>,
): Pods {
  const id = `${namespace}/${Object.values(labels)[0]}`;
  return { id, namespace, labels, ports, configuration: "", token: false };
}

/** Every workload of the objects that has a network of its own, and the foreign ones. */
export function podsOf(objects: Manifest[]): Pods[] {
  const own = objects.flatMap((object): Pods[] => {
    const { kind, metadata: { name, namespace }, spec } = object;
    const template = OPERATED[kind] ? { metadata: spec.podMetadata, spec } : spec?.template;
    if (!template?.spec || template.spec.hostNetwork || namespace === "longhorn-system") return [];
    const word = kind.toLowerCase();
    const labels = OPERATED[kind]
      ? { "app.kubernetes.io/name": word, "operator.prometheus.io/name": name, [word]: name }
      : template.metadata.labels;
    const declared = (template.spec.containers ?? []).flatMap((container: Manifest) =>
      container.ports ?? []
    ).map((port: { name: string; containerPort: number }) => [port.name, port.containerPort]);
    return [{
      id: `${namespace}/${labels["app.kubernetes.io/name"]}`,
      namespace: namespace!,
      labels,
      ports: OPERATED[kind] ?? Object.fromEntries(declared),
      configuration: JSON.stringify(spec) + referred(object, objects),
      token: kind === "Prometheus" || template.spec.automountServiceAccountToken === true,
    }];
  });
  return [...own, ...FOREIGN];
}

/** Texts of the ConfigMaps and Secrets that a workload names, whatever for. */
function referred(owner: Manifest, objects: Manifest[]): string {
  const spec = JSON.stringify(owner.spec);
  return objects.filter(({ kind, metadata }) =>
    (kind === "ConfigMap" || kind === "Secret") &&
    metadata.namespace === owner.metadata.namespace && spec.includes(`"${metadata.name}"`)
  ).map(({ kind, data = {} }) =>
    Object.values(data as Record<string, string>)
      .map((value) => kind === "Secret" ? atob(value) : value).join("\n")
  ).join("\n");
}

/** `from -> to:port`; an end outside the cluster is its address. */
export function neededFlows(cluster: Cluster, objects: Manifest[]): Set<string> {
  const pods = podsOf(objects);
  const own = pods.filter((one) => !FOREIGN.includes(one));
  const found = new Set<string>();
  const add = (from: string, to: string, port: number) => found.add(`${from} -> ${to}:${port}`);
  const services = objects.filter(({ kind }) => kind === "Service");
  const behind = (service: Manifest, wanted: (port: { name: string; port: number }) => boolean) =>
    service.spec.ports.filter(wanted).flatMap(({ targetPort }: { targetPort: string }) =>
      pods.filter(({ namespace, labels }) =>
        namespace === service.metadata.namespace && matches(service.spec.selector, labels)
      ).map(({ id, ports }): [string, number] => [id, ports[targetPort]!])
    ) as [string, number][];
  const serviceOf = (namespace: string, name: string) =>
    services.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);

  for (const { id } of own) add(id, "kube-system/kube-dns", 53);
  scraped(cluster, objects, services, behind, add);

  const controller = own.find(({ namespace }) => namespace === "ingress-nginx");
  for (const object of objects) {
    const { kind, metadata, spec } = object;
    if (kind === "Ingress" && controller) {
      for (const { backend } of spec.rules[0].http.paths) {
        const service = serviceOf(metadata.namespace!, backend.service.name);
        if (!service) {
          add(controller.id, "longhorn-system/longhorn-ui", 8000);
          continue;
        }
        for (const end of behind(service, ({ name }) => name === backend.service.port.name)) {
          add(controller.id, ...end);
        }
      }
    }
    if (kind === "Service" && spec.type === "NodePort") {
      const door = metadata.namespace === "ingress-nginx";
      for (const end of behind(object, () => true)) {
        if (door) add(text(cluster, "ADMIN_CIDR"), ...end);
        else for (const ip of ips(cluster, "central")) add(`${ip}/32`, ...end);
      }
    }
  }

  for (const { id, namespace, configuration } of own) {
    // http://name[.namespace[.svc...]]:port, host: name of Fluent Bit, and the SRV names of Thanos.
    for (const [, name, where, port] of configuration.matchAll(URLS)) {
      const service = serviceOf(where ?? namespace, name!);
      if (!service) continue;
      for (const end of behind(service, (one) => String(one.port) === (port ?? "80"))) {
        add(id, ...end);
      }
    }
    for (const [, name, where] of configuration.matchAll(/host: ([a-z-]+)\.([a-z-]+)\.svc/g)) {
      for (const end of behind(serviceOf(where!, name!)!, ({ name }) => name === "http")) {
        add(id, ...end);
      }
    }
    for (const [, port, name, where] of configuration.matchAll(SRV)) {
      for (const end of behind(serviceOf(where!, name!)!, ({ name }) => name === port)) {
        add(id, ...end);
      }
    }
    // The objstore file, the settings of OpenSearch and the endpoint file carry addresses.
    for (const [, ip, port] of configuration.matchAll(/(\d+\.\d+\.\d+\.\d+):(\d{4,5})/g)) {
      if (/^(0\.|127\.)/.test(ip!)) continue; // where it listens, and itself
      add(id, `${ip}/32`, Number(port));
    }
  }
  for (const { kind, spec } of objects.filter(({ kind }) => kind === "Prometheus")) {
    for (const { namespace, name, port } of spec.alerting.alertmanagers) {
      const service = serviceOf(namespace, name)!;
      for (const end of behind(service, (one) => one.name === port)) {
        add(`monitoring/${kind.toLowerCase()}`, ...end);
      }
    }
  }

  // What no object says.
  const node = `${text(cluster, "NODE_IP")}/32`;
  for (const { id } of own.filter(({ token }) => token)) {
    add(id, node, number(cluster, "API_SERVER_PORT"));
  }
  for (const [id, port] of REACHED_THROUGH_API) {
    if (own.some((one) => one.id === id)) add(node, id, port);
  }
  add("logging/opensearch", "0.0.0.0/0", 443); // the plugin, at the first start
  add("logging/opensearch", "logging/opensearch", 9300); // its nodes, on the way from one to three too
  return found;
}

const URLS = /https?:\/\/([a-z][a-z0-9-]*)(?:\.([a-z-]+)(?:\.svc[a-z.]*)?)?(?::(\d+))?(?![\w.-])/g;
const SRV = /dnssrv\+_(\w+)\._tcp\.([a-z-]+)\.([a-z-]+)\.svc/g;

/** make logs, make verify and the Grafana login come in through the API server. */
const REACHED_THROUGH_API: [string, number][] = [
  ["monitoring/prometheus", 9090],
  ["monitoring/alertmanager", 9093],
  ["monitoring/grafana", 3000],
  ["monitoring/thanos-query", 9090],
  ["logging/opensearch", 9200],
];

type Behind = (
  service: Manifest,
  wanted: (port: { name: string; port: number }) => boolean,
) => [string, number][];

function scraped(
  cluster: Cluster,
  objects: Manifest[],
  services: Manifest[],
  behind: Behind,
  add: (from: string, to: string, port: number) => void,
): void {
  const node = `${text(cluster, "NODE_IP")}/32`;
  const from = "monitoring/prometheus";
  for (const { kind, metadata, spec } of objects) {
    if (kind === "ScrapeConfig") {
      for (const target of spec.staticConfigs.flatMap(({ targets }: Manifest) => targets)) {
        const [ip, port] = target.split(":");
        add(from, `${ip}/32`, Number(port));
      }
    }
    if (kind !== "ServiceMonitor") continue;
    const names = spec.namespaceSelector?.matchNames ?? [metadata.namespace];
    const selector = spec.selector.matchLabels;
    const known = KNOWN_TARGETS[metadata.name];
    if (known) {
      for (const [to, port] of known(cluster, node)) add(from, to, port);
      continue;
    }
    const chosen = services.filter(({ metadata }) =>
      names.includes(metadata.namespace) && matches(selector, metadata.labels ?? {})
    );
    if (chosen.length === 0) throw new Error(`${metadata.name}: no Service`);
    for (const { port } of spec.endpoints) {
      for (const service of chosen) {
        for (const end of behind(service, ({ name }) => name === port)) add(from, ...end);
      }
    }
  }
}

type Targets = (cluster: Cluster, node: string) => [string, number][];

/** Monitors of what Kubernetes or Longhorn brings, and of the node's own network. */
const KNOWN_TARGETS: Record<string, Targets> = {
  apiserver: (cluster, node) => [[node, number(cluster, "API_SERVER_PORT")]],
  coredns: () => [["kube-system/kube-dns", 9153]],
  kubelet: (_, node) => [[node, 10250]],
  "kube-prometheus-stack-prometheus-node-exporter": (_, node) => [[node, 9100]],
  "longhorn-manager": () => [["longhorn-system/longhorn-manager", 9500]],
};

function ips({ fleet }: Cluster, role: string): string[] {
  return fleet.filter((peer) => peer.role === role).map((peer) => text(peer, "NODE_IP"));
}

/** Whether labels fit a selector of labels. */
export function matches(selector: Record<string, string>, labels: Record<string, string>): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

// Rules that every rendered object keeps: hardening.md's tables, and the links between objects.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { idOf, type Manifest, walk } from "../../lib/core/object.ts";
import { amountOf, bytesOf } from "../../lib/core/quantity.ts";
import { SETTINGS } from "../../lib/config/schema.ts";
import { renderFile } from "../../lib/render/render.ts";
import { reachJob } from "../../scripts/components/minio/buckets.ts";
import { grpcFolder } from "../support/grpc_fixture.ts";
import { containersOf, podOf, restrictedBreaches, templateOf } from "../support/pod_security.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const root = new URL("../..", import.meta.url).pathname;
const rendered = await renderedFleet();
const objects = rendered.flatMap(({ cluster, objects }) =>
  objects.map((object) => ({ cluster, object, id: `${cluster.id} ${idOf(object)}` }))
);

interface Exemption {
  workload: string;
  rule: string;
  reason: string;
  /** Of the rule restricted: all that is refused of it. */
  breaches?: string[];
}

// deno-lint-ignore no-explicit-any
type Fields = any;
const exemptions: Exemption[] = parse(
  await readFile(join(root, "tests/manifests/policy-exemptions.yaml"), "utf8"),
);

/** Objects that break a rule and are not exempt; a test passes when there are none. */
function breaches(rule: string, broken: (object: Manifest) => string | undefined): string[] {
  return objects.flatMap(({ object, id }) => {
    const reason = broken(object);
    const exempt = exemptions.some((one) => one.rule === rule && idOf(object) === one.workload);
    return reason && !exempt ? [`${id}: ${reason}`] : [];
  });
}

Deno.test("every object is accepted by the schema of its kind", async () => {
  const refused: string[] = [];
  for (const { object, id } of objects) {
    const { apiVersion, kind } = object;
    const library = apiVersion.startsWith("monitoring.coreos.com/")
      ? "@kubernetes-models/prometheus-operator"
      : "kubernetes-models";
    const model = (await import(`${library}/${apiVersion}/${kind}`))[kind];
    try {
      new model(object).validate();
    } catch (error) {
      // The library takes a claim template for a claim, and wants what the CRD leaves open.
      const open = /volumeClaimTemplate must have required property (apiVersion|kind)$/;
      const reasons = String(error instanceof Error ? error.message : error).split(", ")
        .filter((reason) => !open.test(reason));
      refused.push(...reasons.map((reason) => `${id}: ${reason}`));
    }
  }
  assert.deepEqual(refused, []);
});

Deno.test("every object carries the six labels", () => {
  const wanted = ["name", "instance", "component", "part-of", "version", "managed-by"];
  assert.deepEqual(
    breaches("labels", ({ metadata }) => {
      const missing = wanted.filter((label) => !metadata.labels?.[`app.kubernetes.io/${label}`]);
      return missing.length > 0 ? `no label ${missing.join(", ")}` : undefined;
    }),
    [],
  );
});

Deno.test("ids are unique in a cluster, over all steps", () => {
  const ids = objects.map(({ id }) => id);
  assert.deepEqual(ids.filter((id, index) => ids.indexOf(id) !== index), []);
});

Deno.test("every image has an exact tag, and no registry is implied", () => {
  assert.deepEqual(
    breaches("images", (object) => {
      let bad: string | undefined;
      walk(object, (value, key) => {
        if (key !== "image" || typeof value !== "string") return;
        if (!/^[a-z0-9.-]+\.[a-z]+\/\S+:v?\d[\w.-]*(@sha256:[0-9a-f]{64})?$/.test(value)) {
          bad = value;
        }
      });
      return bad;
    }),
    [],
  );
});

Deno.test("nothing is left to substitute", () => {
  assert.deepEqual(
    breaches("variables", (object) => {
      const { metadata } = object;
      const isLiteral = metadata.annotations?.["deploy.miribit.lab/substitute"] === "disabled";
      return /\$\{[A-Z_0-9]*\}/.exec(JSON.stringify(isLiteral ? metadata : object))?.[0];
    }),
    [],
  );
});

Deno.test("every container has requests and a memory limit", () => {
  assert.deepEqual(
    breaches("resources", (object) => {
      const spec = templateOf(object);
      for (const { name, resources } of containersOf(spec ?? {})) {
        const { requests, limits } = resources ?? {};
        if (!requests?.cpu || !requests.memory || !limits?.memory) return `container ${name}`;
      }
    }),
    [],
  );
});

Deno.test("every long-running container has a readiness probe", () => {
  assert.deepEqual(
    breaches("readiness", (object) => {
      if (object.kind === "Job" || object.kind === "CronJob") return;
      const without = templateOf(object)?.containers.filter(
        (container: { readinessProbe?: unknown }) => !container.readinessProbe,
      ) ?? [];
      return without[0]?.name;
    }),
    [],
  );
});

Deno.test("X8: every pod that results keeps the restricted Pod Security level, but for what is exempt", async () => {
  await using folder = await grpcFolder();
  const others = await Promise.all([
    renderedFleet({
      INGRESS: "traefik",
      ADMIN_CIDR: "10.0.0.0/8",
      OPENSEARCH_NODES: "3",
      ...folder.environment,
    }),
    renderedFleet({
      NETWORK_POLICIES: "true",
      CONTROL_PLANE_METRICS: "true",
      MINIO_METRICS: "true",
      STORAGE: "existing",
    }),
  ]);
  const all = [rendered, ...others].flat();
  const jobs = all.flatMap(({ cluster }) => [
    reachJob(cluster),
    renderFile("checks/volume-probe.yaml", cluster, { WORD: "word" }),
    renderFile("checks/node-facts.yaml", cluster, { NODE: "node", SCRIPT: "true" }),
  ]);
  const found = new Map<string, Set<string>>();
  let pods = 0;
  for (const object of [...all.flatMap(({ objects }) => objects), ...jobs]) {
    const pod = podOf(object);
    if (!pod) continue;
    pods++;
    const breaches = restrictedBreaches(pod);
    if (breaches.length > 0) {
      found.set(idOf(object), new Set([...found.get(idOf(object)) ?? [], ...breaches]));
    }
  }
  assert.ok(pods > 60, String(pods));
  const exempt = exemptions.filter(({ rule }) => rule === "restricted");
  assert.deepEqual(
    Object.fromEntries([...found].map(([id, breaches]) => [id, [...breaches].sort()])),
    Object.fromEntries(exempt.map(({ workload, breaches }) => [workload, [...breaches!].sort()])),
  );
});

Deno.test("X8: nothing that the restricted level refuses is overlooked", () => {
  const fine = () => ({
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } } as Fields,
    volumes: [{ name: "a", emptyDir: {} }] as Fields[],
    containers: [{
      name: "c",
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    }] as Fields[],
    initContainers: [] as Fields[],
  });
  type Pod = ReturnType<typeof fine> & Fields;
  const changes: Record<string, (pod: Pod) => void> = {
    hostNetwork: (pod) => pod.hostNetwork = true,
    hostPID: (pod) => pod.hostPID = true,
    hostIPC: (pod) => pod.hostIPC = true,
    "volume hostPath": (pod) => pod.volumes.push({ name: "h", hostPath: { path: "/" } }),
    "volume nfs": (pod) => pod.volumes.push({ name: "n", nfs: {} }),
    "volume gitRepo": (pod) => pod.volumes.push({ name: "n", gitRepo: {} }),
    "sysctl kernel.msgmax": (pod) => pod.securityContext.sysctls = [{ name: "kernel.msgmax" }],
    "runAsUser 0": (pod) => pod.securityContext.runAsUser = 0,
    "c: runAsUser 0": (pod) => pod.containers[0].securityContext.runAsUser = 0,
    "c: runAsNonRoot is false": (pod) => pod.containers[0].securityContext.runAsNonRoot = false,
    "c: runAsNonRoot is not said": (pod) => delete pod.securityContext.runAsNonRoot,
    "c: no seccomp profile": (pod) => delete pod.securityContext.seccompProfile,
    "c: seccomp Unconfined": (pod) =>
      pod.containers[0].securityContext.seccompProfile = { type: "Unconfined" },
    "AppArmor Unconfined": (pod) => pod.securityContext.appArmorProfile = { type: "Unconfined" },
    "SELinux type": (pod) => pod.securityContext.seLinuxOptions = { type: "spc_t" },
    "c: allows privilege escalation": (pod) =>
      delete pod.containers[0].securityContext.allowPrivilegeEscalation,
    "c: keeps capabilities": (pod) =>
      pod.containers[0].securityContext.capabilities.drop = ["NET_RAW"],
    "c: adds SYS_ADMIN": (pod) =>
      pod.containers[0].securityContext.capabilities.add = ["SYS_ADMIN"],
    "c: privileged": (pod) => pod.containers[0].securityContext.privileged = true,
    "c: procMount": (pod) => pod.containers[0].securityContext.procMount = "Unmasked",
    "c: hostPort 80": (pod) => pod.containers[0].ports = [{ containerPort: 80, hostPort: 80 }],
    "c: probes another host": (pod) => pod.containers[0].livenessProbe = { httpGet: { host: "h" } },
    "i: allows privilege escalation": (pod) =>
      pod.initContainers.push({
        name: "i",
        securityContext: { capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] } },
      }),
  };
  assert.deepEqual(restrictedBreaches(fine()), []);
  for (const [breach, change] of Object.entries(changes)) {
    const pod = fine();
    change(pod);
    assert.deepEqual(restrictedBreaches(pod), [breach]);
  }
  const prometheus = objects.find(({ object }) => object.kind === "Prometheus")!.object;
  const loosened = structuredClone(prometheus);
  loosened.spec.containers = [
    ...loosened.spec.containers ?? [],
    { name: "config-reloader", securityContext: { capabilities: { add: ["SYS_PTRACE"] } } },
    { name: "more" },
  ];
  loosened.spec.volumes.push({ name: "host", hostPath: { path: "/" } });
  assert.deepEqual(restrictedBreaches(podOf(loosened)), [
    "volume hostPath",
    "config-reloader: adds SYS_PTRACE",
    "more: allows privilege escalation",
    "more: keeps capabilities",
  ]);
});

Deno.test("root file systems are read-only", () => {
  assert.deepEqual(
    breaches("readOnlyRootFilesystem", (object) => {
      const spec = templateOf(object);
      return containersOf(spec ?? {}).find(
        ({ securityContext }) => securityContext?.readOnlyRootFilesystem !== true,
      )?.name;
    }),
    [],
  );
});

Deno.test("pods have their own account, and a token only when they say so", () => {
  assert.deepEqual(
    breaches("account", (object) => {
      const spec = templateOf(object);
      if (!spec) return;
      if (!spec.serviceAccountName || spec.serviceAccountName === "default") {
        return "default account";
      }
      if (typeof spec.automountServiceAccountToken !== "boolean") return "token not decided";
      if (spec.enableServiceLinks !== false) return "service links";
    }),
    [],
  );
});

Deno.test("roles grant no wildcard and nobody is cluster-admin", () => {
  assert.deepEqual(
    breaches("rbac", (object) => {
      if (object.roleRef?.name === "cluster-admin") return "cluster-admin";
      for (const { verbs = [], resources = [] } of object.rules ?? []) {
        if (verbs.includes("*") || resources.includes("*")) return "wildcard";
        const grave = ["escalate", "bind", "impersonate"].find((verb) => verbs.includes(verb));
        if (grave) return grave;
      }
    }),
    [],
  );
});

/** What these ask of the API server, by their sources: discovery and events come as lists, a pod by its name. */
const READERS: Record<string, Record<string, string>> = {
  "ClusterRole/fluent-bit": { pods: "get" },
  "ClusterRole/fluent-bit-events": { events: "list, watch" },
  "ClusterRole/kube-prometheus-stack-prometheus": {
    services: "list, watch",
    pods: "list, watch",
    endpointslices: "list, watch",
    "nodes/metrics": "get",
    "/metrics": "get",
  },
};

Deno.test("X8: who reads of the API server may do what it does, and nothing else", () => {
  const roles = objects.filter(({ object }) => READERS[idOf(object)]);
  assert.equal(new Set(roles.map(({ object }) => idOf(object))).size, Object.keys(READERS).length);
  for (const { object, id } of roles) {
    const granted = (object.rules as Fields[]).flatMap(({ verbs, ...rule }) =>
      [rule.resources ?? rule.nonResourceURLs].flat().map((name) => [name, verbs.join(", ")])
    );
    assert.deepEqual(Object.fromEntries(granted), READERS[idOf(object)], id);
  }
});

Deno.test("an account that a pod or binding names exists", () => {
  const found = rendered.flatMap(({ cluster }) => {
    const mine = objects.filter((one) => one.cluster.id === cluster.id).map(({ object }) => object);
    const accounts = new Set(
      mine.filter(({ kind }) => kind === "ServiceAccount").map(({ metadata }) =>
        `${metadata.namespace}/${metadata.name}`
      ),
    );
    return mine.flatMap((object) => {
      const pod = templateOf(object) ??
        (/^(Prometheus|Alertmanager)$/.test(object.kind) ? object.spec : undefined);
      const used = pod ? [`${object.metadata.namespace}/${pod.serviceAccountName}`] : [];
      for (const { kind, namespace, name } of object.subjects ?? []) {
        if (kind === "ServiceAccount") used.push(`${namespace}/${name}`);
      }
      return used.filter((name) => !accounts.has(name)).map((name) => `${idOf(object)} -> ${name}`);
    });
  });
  assert.deepEqual([...new Set(found)], []);
});

function selects(selector: Record<string, string>, labels: Record<string, string> = {}): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

Deno.test("B56: every ServiceMonitor selects a Service that has the port it names", () => {
  const outside = /^(default|kube-system|longhorn-system)$/; // Services we do not render
  const lost = objects.filter(({ object }) => object.kind === "ServiceMonitor").flatMap(
    ({ cluster, object, id }) => {
      const namespaces = object.spec.namespaceSelector?.matchNames ?? [object.metadata.namespace];
      if (namespaces.every((name: string) => outside.test(name))) return [];
      const services = objects.filter((one) =>
        one.cluster.id === cluster.id && one.object.kind === "Service" &&
        namespaces.includes(one.object.metadata.namespace) &&
        selects(object.spec.selector.matchLabels ?? {}, one.object.metadata.labels)
      );
      const ports = services.flatMap(({ object }) =>
        object.spec.ports.map(({ name }: { name: string }) => name)
      );
      return object.spec.endpoints.filter(({ port }: { port: string }) => !ports.includes(port))
        .map(({ port }: { port: string }) => `${id}: no Service with port ${port}`);
    },
  );
  assert.deepEqual(lost, []);
});

Deno.test("every Service of ours selects a pod template, and every Ingress a Service", () => {
  const lost = objects.flatMap(({ cluster, object, id }) => {
    const mine = objects.filter((one) => one.cluster.id === cluster.id).map(({ object }) => object);
    if (object.kind === "Ingress") {
      // deno-lint-ignore no-explicit-any
      const backends = object.spec.rules.flatMap((rule: any) =>
        // deno-lint-ignore no-explicit-any
        rule.http.paths.map(({ backend }: any) => backend.service.name)
      );
      return backends.filter((name: string) =>
        object.metadata.namespace !== "longhorn-system" &&
        !mine.some(({ kind, metadata }) =>
          kind === "Service" && metadata.name === name &&
          metadata.namespace === object.metadata.namespace
        )
      ).map((name: string) => `${id} -> Service ${name}`);
    }
    if (
      object.kind !== "Service" || !object.spec.selector ||
      object.metadata.namespace === "kube-system"
    ) return [];
    const pods = mine.filter(({ metadata }) => metadata.namespace === object.metadata.namespace)
      .flatMap((owner) => {
        if (templateOf(owner)) return [owner.spec.template.metadata.labels];
        const name = owner.kind.toLowerCase();
        return owner.kind === "Prometheus" || owner.kind === "Alertmanager"
          ? [{
            "app.kubernetes.io/name": name,
            "operator.prometheus.io/name": owner.metadata.name,
            [name]: owner.metadata.name,
          }]
          : [];
      });
    return pods.some((labels) => selects(object.spec.selector, labels))
      ? []
      : [`${id}: selects nothing`];
  });
  assert.deepEqual(lost, []);
});

Deno.test("every host name of the specification is served", () => {
  for (const { cluster } of rendered) {
    const hosts = objects.filter((one) =>
      one.cluster.id === cluster.id && one.object.kind === "Ingress"
    )
      .flatMap(({ object }) => object.spec.rules.map(({ host }: { host: string }) => host));
    const names = [
      "grafana",
      "longhorn",
      "opensearch",
      ...(cluster.role === "central" ? ["thanos"] : []),
    ];
    assert.deepEqual(hosts.sort(), names.map((name) => `${name}.${cluster.vars.DOMAIN}`).sort());
  }
});

Deno.test("B54: doors without a login of their own are for ADMIN_CIDR, and no Ingress has a snippet", () => {
  for (const { object, id } of objects.filter(({ object }) => object.kind === "Ingress")) {
    const annotations = object.metadata.annotations ?? {};
    assert.deepEqual(Object.keys(annotations).filter((name) => /snippet/.test(name)), [], id);
    if (/grafana/.test(id)) continue;
    const range = annotations["nginx.ingress.kubernetes.io/whitelist-source-range"];
    assert.equal(range, "0.0.0.0/0", id);
  }
});

Deno.test("B55: a NodePort keeps the client's address, or a source range would mean nothing", () => {
  const open = objects.filter(({ object }) =>
    object.kind === "Service" && object.spec.type === "NodePort"
  );
  assert.ok(open.length >= 5);
  for (const { object, id } of open) {
    assert.equal(object.spec.externalTrafficPolicy, "Local", id);
  }
});

Deno.test("every setting of env/schema.json is used", async () => {
  const texts: string[] = [];
  for (const folder of ["manifests", "scripts", "lib"]) {
    for (const name of await readdir(join(root, folder), { recursive: true })) {
      if (/\.(ya?ml|ts)$/.test(name)) texts.push(await readFile(join(root, folder, name), "utf8"));
    }
  }
  const all = texts.join("\n");
  // Of each program that has a bucket: scripts/components/minio/buckets.ts and lib/s3/client.ts put these names together.
  const composed = /^(THANOS|OPENSEARCH|LONGHORN)_(S3_(ACCESS|SECRET)_KEY|BUCKET_QUOTA)$/;
  assert.match(all, /\$\{program\}_BUCKET_QUOTA/);
  assert.match(all, /\$\{program\}_S3_ACCESS_KEY/);
  const names = Object.keys(SETTINGS).filter((name) => !composed.test(name));
  assert.deepEqual(
    names.filter((name) => !new RegExp(`\\b${name}\\b`).test(all)),
    [],
  );
});

Deno.test("a cluster asks for no more than a 4 CPU, 16 GiB host can give", () => {
  for (const id of new Set(rendered.map(({ cluster }) => cluster.id))) {
    let cpu = 0, memory = 0;
    for (const { object } of objects.filter(({ cluster }) => cluster.id === id)) {
      const replicas = object.spec?.replicas ?? 1;
      const containers = templateOf(object)?.containers ??
        (object.kind === "Prometheus" || object.kind === "Alertmanager"
          ? [object.spec, object.spec.thanos ?? {}]
          : []);
      for (const { resources } of containers) {
        cpu += replicas * amountOf(resources?.requests?.cpu ?? "0");
        memory += replicas * bytesOf(resources?.requests?.memory ?? "0");
      }
    }
    assert.ok(cpu > 0.5 && cpu <= 1.6, `${id} asks for ${cpu.toFixed(2)} CPU`);
    assert.ok(
      memory > 2 * 2 ** 30 && memory <= 9 * 2 ** 30,
      `${id} asks for ${memory / 2 ** 30} GiB`,
    );
  }
});

Deno.test("policy exemptions name workloads that exist and give a reason", () => {
  const ids = new Set([...objects.map(({ object }) => idOf(object)), "Job/kube-system/preflight"]);
  for (const { workload, rule, reason } of exemptions) {
    assert.ok(ids.has(workload), `${workload} (${rule}) does not exist`);
    assert.ok(reason.length > 10);
  }
});

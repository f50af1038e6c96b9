import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Deployment } from "kubernetes-models/apps/v1";
import { Ingress, IngressClass } from "kubernetes-models/networking.k8s.io/v1";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1";
import {
  ClusterRole,
  ClusterRoleBinding,
  Role,
  RoleBinding,
} from "kubernetes-models/rbac.authorization.k8s.io/v1";
import { ConfigMap, Namespace, Secret, Service, ServiceAccount } from "kubernetes-models/v1";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import type { Cluster } from "../../lib/core/cluster.ts";
import { findingsOf } from "../../lib/core/check.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { render } from "../../lib/render/render.ts";
import { ingress } from "../../scripts/05-ingress.ts";
import { thanos } from "../../scripts/30-thanos.ts";
import { ensureCertificates, SITE } from "../../scripts/operate/certificates.ts";
import { doors } from "../../scripts/checks/doors.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { subjectWith } from "../support/subject.ts";

const MODELS: Record<string, new (object: never) => { validate(): void }> = {
  ClusterRole,
  ClusterRoleBinding,
  ConfigMap,
  Deployment,
  Ingress,
  IngressClass,
  Namespace,
  PodDisruptionBudget,
  Role,
  RoleBinding,
  Secret,
  Service,
  ServiceAccount,
  ServiceMonitor,
};

function byId(objects: Manifest[], id: string): Manifest {
  const object = objects.find((object) => idOf(object) === id);
  assert.ok(object, `${id} is missing`);
  return object;
}

const CONTROLLER = "Deployment/ingress-nginx/ingress-nginx-controller";

Deno.test("05-ingress renders objects that Kubernetes' schemas accept, on every cluster", async () => {
  for (const id of ["196", "197", "198"]) {
    const cluster = await fixtureCluster(id);
    const objects = await ingress.objects(cluster);
    const monitors = await render("ingress/nginx-monitors", cluster);
    for (const object of [...objects, ...monitors]) {
      new MODELS[object.kind]!(object as never).validate();
    }
    assert.equal(objects.length, 12);
    assert.equal(monitors.length, 1);
  }
});

Deno.test("05-ingress publishes the node's address and the NodePorts of the settings", async () => {
  const cluster = await fixtureCluster("197", { HTTP_NODE_PORT: "31080" });
  const objects = await ingress.objects(cluster);
  const service = byId(objects, "Service/ingress-nginx/ingress-nginx-controller");
  assert.deepEqual(
    service.spec.ports.map(({ nodePort }: { nodePort: number }) => nodePort),
    [31080, 30443],
  );
  const { args } = byId(objects, CONTROLLER).spec.template.spec.containers[0];
  assert.ok(args.includes("--publish-status-address=192.168.101.197"));
  assert.ok(args.includes("--configmap=$(POD_NAMESPACE)/ingress-nginx-controller"));
});

Deno.test("B53: 05-ingress has no admission webhook, no Job, and no write access but to status", async () => {
  const objects = await ingress.objects(await fixtureCluster("196"));
  const kinds = new Set(objects.map(({ kind }) => kind));
  assert.ok(!kinds.has("Job") && !kinds.has("ValidatingWebhookConfiguration"));
  const { rules } = byId(objects, "ClusterRole/ingress-nginx");
  const writes = rules.filter(({ verbs }: { verbs: string[] }) =>
    verbs.some((verb) => !["get", "list", "watch"].includes(verb))
  );
  assert.deepEqual(
    writes.flatMap(({ resources }: { resources: string[] }) => resources),
    ["events", "ingresses/status"],
  );
});

Deno.test("05-ingress lets nginx wait longer than a query may take", async () => {
  const objects = await ingress.objects(await fixtureCluster("196", { QUERY_TIMEOUT: "5m" }));
  const { data } = byId(objects, "ConfigMap/ingress-nginx/ingress-nginx-controller");
  assert.equal(data["proxy-read-timeout"], "310");
  assert.equal(data.hsts, "false");
  assert.ok(Object.values(data).every((value) => typeof value === "string"));
});

Deno.test("05-ingress: Services and the disruption budget select the controller's pods", async () => {
  const objects = await ingress.objects(await fixtureCluster("196"));
  const { labels } = byId(objects, CONTROLLER).spec.template.metadata;
  for (const { spec } of objects.filter(({ kind }) => /Service$|Budget/.test(kind))) {
    const selector = spec.selector.matchLabels ?? spec.selector;
    for (const [key, value] of Object.entries(selector)) assert.equal(labels[key], value);
  }
});

Deno.test("05-ingress with Traefik: the same class and NodePorts, and no rights but to read", async () => {
  const cluster = await fixtureCluster("197", {
    INGRESS: "traefik",
    TRAEFIK_IMAGE: "r/traefik:v3",
  });
  const objects = await ingress.objects(cluster);
  const monitors = await render("ingress/traefik-monitors", cluster);
  for (const object of [...objects, ...monitors]) {
    new MODELS[object.kind]!(object as never).validate();
  }
  assert.equal(byId(objects, "IngressClass/nginx").spec.controller, "k8s.io/ingress-nginx");
  const { spec } = byId(objects, "Service/ingress-nginx/ingress-nginx-controller");
  const pod = byId(objects, "Deployment/ingress-nginx/traefik").spec.template;
  assert.deepEqual(
    spec.ports.map(({ nodePort }: { nodePort: number }) => nodePort),
    [30080, 30443],
  );
  for (const [key, value] of Object.entries(spec.selector)) {
    assert.equal(pod.metadata.labels[key], value);
  }
  assert.equal(pod.spec.containers[0].image, "r/traefik:v3");
  const { rules } = byId(objects, "ClusterRole/ingress-traefik");
  const writes = rules.filter(({ verbs }: { verbs: string[] }) => verbs.includes("update"));
  assert.deepEqual(writes.map(({ resources }: { resources: string[] }) => resources), [[
    "ingresses/status",
  ]]);
});

Deno.test("INGRESS_TLS gives either controller the certificate, and restarts Traefik for a new one", async () => {
  const doorCertificate = { certificate: "PEM", key: "KEY" };
  const of = async (vars: Record<string, string>, pair = doorCertificate) => {
    const cluster = await fixtureCluster("196", vars);
    return await ingress.objects({
      ...cluster,
      vars: { ...cluster.vars, INGRESS_TLS: true },
      doorCertificate: pair,
    });
  };
  const nginx = await of({});
  assert.equal(byId(nginx, "Secret/ingress-nginx/ingress-tls").type, "kubernetes.io/tls");
  const { args } = byId(nginx, CONTROLLER).spec.template.spec.containers[0];
  assert.ok(args.includes("--default-ssl-certificate=$(POD_NAMESPACE)/ingress-tls"));
  const pods = await Promise.all(
    [doorCertificate, { certificate: "NEW", key: "KEY" }].map(async (pair) =>
      byId(await of({ INGRESS: "traefik" }, pair), "Deployment/ingress-nginx/traefik").spec.template
    ),
  );
  const data = byId(await of({ INGRESS: "traefik" }), "ConfigMap/ingress-nginx/traefik").data;
  assert.match(data["dynamic.yaml"], /certFile: \/etc\/traefik\/tls\/tls.crt/);
  assert.notDeepEqual(pods[0].metadata.annotations, pods[1].metadata.annotations);
  const plain = await ingress.objects(await fixtureCluster("196"));
  assert.ok(plain.every(({ kind }) => kind !== "Secret"));
});

Deno.test("THANOS_UI_AUTH puts the login before Thanos, on the centre only", async () => {
  const door = async (id: string, vars: Record<string, string>) =>
    (await thanos.objects(await fixtureCluster(id, vars))).filter(({ kind, metadata }) =>
      kind === "Ingress" || metadata.name === "thanos-basic-auth"
    );
  const [open] = await door("196", {});
  assert.equal(open!.metadata.annotations!["nginx.ingress.kubernetes.io/auth-type"], undefined);
  const shut = await door("196", { THANOS_UI_AUTH: "true" });
  const annotations = byId(shut, "Ingress/monitoring/thanos-frontend").metadata.annotations!;
  assert.equal(annotations["nginx.ingress.kubernetes.io/auth-secret"], "thanos-basic-auth");
  assert.deepEqual(Object.keys(byId(shut, "Secret/monitoring/thanos-basic-auth").data), ["auth"]);
  assert.deepEqual(await door("197", { THANOS_UI_AUTH: "true" }), []);
});

Deno.test("05-ingress does nothing where a controller exists", async () => {
  assert.match(
    ingress.skips!(await fixtureCluster("196", { INGRESS: "existing" }))!,
    /INGRESS=existing/,
  );
  assert.equal(ingress.skips!(await fixtureCluster("196")), undefined);
});

const DOMAIN = "mkube-197.miribit.lab";

/** An Ingress of the host `name`, with the annotation of a login when it asks for one. */
function door(name: string, annotations: Record<string, string> = {}): Manifest {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name, namespace: "x", annotations },
    spec: { rules: [{ host: `${name}.${DOMAIN}` }] },
  };
}

const LOGIN = { "nginx.ingress.kubernetes.io/auth-type": "basic" };
const OBJECTS = [door("grafana"), door("opensearch", LOGIN), door("thanos")];

/** What the check Doors finds and says of OBJECTS, where the ports of this machine are the ingress. */
async function told(
  more: Partial<Cluster["vars"]>,
  pair?: Cluster["doorCertificate"],
): Promise<string[]> {
  const cluster = await fixtureCluster("197");
  const vars = { ...cluster.vars, NODE_IP: "127.0.0.1", ...more } as Cluster["vars"];
  const subject = subjectWith({ ...cluster, vars, doorCertificate: pair }, { objects: OBJECTS });
  return findingsOf(await doors(subject)).map(({ what }) => what);
}

const LISTEN = { port: 0, hostname: "127.0.0.1", onListen() {} };

Deno.test("Doors: a host that nobody serves, a program that is away, and a door without its login", async () => {
  let statuses: Record<string, number> = {};
  await using server = Deno.serve(LISTEN, (request) => {
    const status = statuses[request.headers.get("host")!.split(".")[0]!];
    return new Response(status ? "the program" : "nobody", { status: status ?? 404 });
  });
  const saying = (answers: Record<string, number>) => {
    statuses = answers;
    return told({ HTTP_NODE_PORT: server.addr.port });
  };
  const well = { grafana: 302, opensearch: 401, thanos: 403 };
  assert.deepEqual(await saying(well), []);
  // A program's own 404 is an answer; the controller's is none.
  assert.deepEqual(await saying({ ...well, grafana: 404 }), []);
  assert.deepEqual(await saying({ opensearch: 401, thanos: 503 }), [
    `grafana.${DOMAIN} gives 404`,
    `thanos.${DOMAIN} gives 503`,
  ]);
  assert.deepEqual(await saying({ ...well, opensearch: 200 }), [
    `opensearch.${DOMAIN} lets people in without a login (200)`,
  ]);
});

Deno.test("Doors: a controller that is away, and one that is not ours", async () => {
  const away = await told({ HTTP_NODE_PORT: 1 });
  assert.equal(away.length, OBJECTS.length);
  assert.match(away[0]!, /^grafana\.\S+ does not answer: ./);
  assert.deepEqual(await told({ INGRESS: "existing" }), ["not looked at: INGRESS=existing"]);
});

Deno.test("Doors: programs that begin an answer, or none, and go no further", async () => {
  const { promise: over, resolve } = Promise.withResolvers<Response>();
  const half = () =>
    new Response(new ReadableStream({ start: (body) => body.enqueue(new Uint8Array(4)) }));
  await using server = Deno.serve(LISTEN, (request) => {
    const host = request.headers.get("host")!;
    if (host.startsWith("grafana")) return half();
    return host.startsWith("opensearch") ? over : new Response("the program");
  });
  const found = await told({ HTTP_NODE_PORT: server.addr.port });
  resolve(new Response());
  assert.deepEqual(found, [
    `grafana.${DOMAIN} does not answer: aborted`,
    `opensearch.${DOMAIN} does not answer: no answer in 10 s`,
  ]);
});

Deno.test("Doors: another certificate on the port, and one that is not for every host", async () => {
  const folder = await mkdtemp(join(tmpdir(), "doors-"));
  try {
    await ensureCertificates(SITE, [
      { id: "shown", name: DOMAIN, folder },
      { id: "narrow", name: `grafana.${DOMAIN}`, folder },
    ]);
    const pair = async (id: string) => ({
      certificate: await readFile(join(folder, `${id}.crt`), "utf8"),
      key: await readFile(join(folder, `${id}.key`), "utf8"),
    });
    const shown = await pair("shown");
    const answer = () => new Response("the program", { status: 401 });
    await using plain = Deno.serve(LISTEN, answer);
    await using tls = Deno.serve({ ...LISTEN, cert: shown.certificate, key: shown.key }, answer);
    const ports = { HTTP_NODE_PORT: plain.addr.port, HTTPS_NODE_PORT: tls.addr.port };
    assert.deepEqual(await told(ports, shown), []);
    assert.deepEqual(await told(ports, await pair("narrow")), [
      `the certificate of INGRESS_TLS_DIR is not for opensearch.${DOMAIN}, thanos.${DOMAIN}`,
      `port ${tls.addr.port} does not show the certificate of INGRESS_TLS_DIR`,
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

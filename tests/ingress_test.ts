import assert from "node:assert/strict";
import { Deployment } from "kubernetes-models/apps/v1";
import { Ingress, IngressClass } from "kubernetes-models/networking.k8s.io/v1";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1";
import {
  ClusterRole,
  ClusterRoleBinding,
  Role,
  RoleBinding,
} from "kubernetes-models/rbac.authorization.k8s.io/v1";
import { ConfigMap, Namespace, Service, ServiceAccount } from "kubernetes-models/v1";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { idOf, type Manifest } from "../lib/manifest.ts";
import { render } from "../lib/render.ts";
import { ingress } from "../scripts/05-ingress.ts";
import { fixtureCluster } from "./cluster_fixture.ts";

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
    const monitors = await render("ingress/monitors", cluster);
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

Deno.test("05-ingress has no admission webhook, no Job, and no write access but to status", async () => {
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

Deno.test("05-ingress does nothing where a controller exists", async () => {
  assert.match(
    ingress.skips!(await fixtureCluster("196", { INGRESS: "existing" }))!,
    /INGRESS=existing/,
  );
  assert.equal(ingress.skips!(await fixtureCluster("196")), undefined);
});

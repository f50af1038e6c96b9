// What people, programs and controllers do to our objects behind our back, on a real API server: plan names
// it, a deploy puts it right, and both say nothing where nothing is wrong.
import assert from "node:assert/strict";
import { desiredOf } from "../../lib/deploy/step.ts";
import { STEPS } from "../../scripts/steps.ts";
import { type Manifest, secret } from "../../lib/core/object.ts";
import { driftCode } from "../../lib/deploy/plan_fleet.ts";
import { cluster, definitionOf, live, ours, typed } from "./server.ts";
import { apply } from "../../lib/apply/apply.ts";
import { plan } from "../../lib/deploy/plan.ts";
import { applyTo, inventoryOf, planOf } from "../support/inventory.ts";

const labels = { app: "web" };
const metadata = (name: string) => ({ name, namespace: "default", labels });

const OBJECTS: Manifest[] = [
  {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: metadata("web"),
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          securityContext: {},
          containers: [{
            name: "web",
            image: "web:1",
            args: [],
            env: [
              { name: "VERSION", value: "1.10" },
              { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
            ],
            ports: [{ name: "http", containerPort: 80 }],
            resources: { requests: { cpu: 0.5, memory: "1024Mi" }, limits: { memory: "1Gi" } },
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
            volumeMounts: [{ name: "data", mountPath: "/data" }],
          }],
          volumes: [
            { name: "data", emptyDir: {} },
            { name: "all", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
          ],
        },
      },
    },
  },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata("web"),
    spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: "http" }] },
  },
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: metadata("web"),
    spec: {
      podSelector: { matchLabels: labels },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ ports: [{ port: 80 }] }],
      egress: [],
    },
  },
  { apiVersion: "v1", kind: "ConfigMap", metadata: metadata("web"), data: { a: "010", empty: "" } },
  secret("web", "default", { password: "wanted-secret" }, { labels }),
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "web", labels },
    rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }],
  },
  { apiVersion: "v1", kind: "ServiceAccount", metadata: metadata("web") },
  {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: metadata("web"),
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1024Mi" } } },
  },
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: metadata("web"),
    spec: {
      rules: [{
        host: "web.example",
        http: {
          paths: [{
            path: "/",
            pathType: "Prefix",
            backend: { service: { name: "web", port: { name: "http" } } },
          }],
        },
      }],
    },
  },
].map(ours);

/** What plan says of the objects that are not as wanted, and what a deploy then changes. */
async function seen(): Promise<{ planned: string[]; changed: string[] }> {
  const entries = (await planOf(cluster, OBJECTS)).filter(({ action }) => action !== "unchanged");
  const changes = (await applyTo(cluster, OBJECTS)).filter(({ action }) => action !== "unchanged");
  const planned = entries.map(({ id, action, fields }) => `${action} ${id}: ${fields.join(" | ")}`);
  return { planned, changed: changes.map(({ id }) => id) };
}

const NOTHING = { planned: [], changed: [] };

Deno.test("E1: what was applied is as wanted, though the API server has completed and rewritten it", async () => {
  await applyTo(cluster, OBJECTS);
  assert.deepEqual(await seen(), NOTHING);
});

/** A JSON patch of `kind` web, as a person types it. */
function patch(kind: string, ...steps: [op: string, path: string, value?: unknown][]) {
  const patch = JSON.stringify(steps.map(([op, path, value]) => ({ op, path, value })));
  return () => typed(["patch", kind, "web", "--namespace", "default", "--type=json", "-p", patch]);
}

const POD = "/spec/template/spec", CONTAINER = `${POD}/containers/0`;

/** What somebody does; what the plan must say of it. */
const EDITS: [what: string, edit: () => Promise<unknown>, told: RegExp][] = [
  [
    "a false is gone",
    patch("deployment", ["remove", `${POD}/automountServiceAccountToken`]),
    /^update Deployment.*automountServiceAccountToken: \(none\) -> false .*Token: removed, .*no name/,
  ],
  [
    "a false below is gone",
    patch("deployment", ["remove", `${CONTAINER}/securityContext/allowPrivilegeEscalation`]),
    /allowPrivilegeEscalation: \(none\) -> false .*Escalation: removed, and .* no name/,
  ],
  [
    "a variable is gone",
    patch("deployment", ["remove", `${CONTAINER}/env/0`]),
    / \| spec\.template\.spec\.containers\[name=web\]\.env\[0\]: removed, and .* no name/,
  ],
  [
    "an emptyDir became the host",
    patch("deployment", ["replace", `${POD}/volumes/0`, { name: "data", hostPath: { path: "/" } }]),
    /hostPath/,
  ],
  [
    "the host's processes",
    patch("deployment", ["add", `${POD}/hostPID`, true]),
    /^update Deployment\/default\/web: spec\.template\.spec\.hostPID: true -> \(none\), written by kubectl-patch at \d{4}-/,
  ],
  [
    "one more capability",
    patch("deployment", ["add", `${CONTAINER}/securityContext/capabilities/add`, ["SYS_ADMIN"]]),
    /capabilities\.add: \["SYS_ADMIN"\] -> \(none\)/,
  ],
  [
    "a command",
    patch("deployment", ["add", `${CONTAINER}/command`, ["sh"]]),
    /command.* -> \(none\)/,
  ],
  [
    "one more variable",
    patch("deployment", ["add", `${CONTAINER}/env/-`, { name: "X", value: "y" }]),
    /env\[name=X\]: \{"name":"X","value":"y"\} -> \(none\)/,
  ],
  [
    "another number that is the same amount",
    patch("deployment", ["replace", `${CONTAINER}/env/0/value`, "1.1"]),
    /value: "1\.1" -> "1\.10"/,
  ],
  ["paused", patch("deployment", ["add", "/spec/paused", true]), /spec\.paused: true -> \(none\)/],
  [
    "scaled",
    () => typed(["scale", "deployment", "web", "--namespace", "default", "--replicas=2"]),
    /spec\.replicas: 2 -> 0/,
  ],
  [
    "other addresses",
    patch("service", ["add", "/spec/externalIPs", ["1.2.3.4"]]),
    /spec\.externalIPs.* -> \(none\)/,
  ],
  [
    "one more selector",
    patch("service", ["add", "/spec/selector/other", "x"]),
    /spec\.selector\.other: "x" -> \(none\)/,
  ],
  [
    "one more rule",
    patch("networkpolicy", ["add", "/spec/ingress/-", {}]),
    /^update NetworkPolicy.*spec\.ingress\[1\]: \{\} -> \(none\)/,
  ],
  [
    "text that is the same number",
    patch("configmap", ["replace", "/data/a", "10"]),
    /data\.a: "10"/,
  ],
  ["an empty text is gone", patch("configmap", ["remove", "/data/empty"]), /data\.empty: \(none\)/],
  [
    "no change any more",
    patch("configmap", ["add", "/binaryData", { x: "eA==" }]),
    /binaryData\.x: .* -> \(none\)/,
  ],
  [
    "one more key of a Secret, which is not shown",
    patch("secret", ["add", "/data/more", "dG9wLXNlY3JldA=="]),
    /^update Secret\/default\/web: data\.more: \(secret\) -> \(none\)/,
  ],
  [
    "another value of a Secret",
    patch("secret", ["replace", "/data/password", "b3RoZXI="]),
    /data\.password: changed/,
  ],
  [
    "one more right",
    patch("clusterrole", ["add", "/rules/0/verbs/-", "*"]),
    /verbs\[1\]: "\*" -> \(none\)/,
  ],
  [
    "a label of another",
    () => typed(["label", "serviceaccount", "web", "--namespace", "default", "team=x"]),
    /metadata\.labels\.team: "x" -> \(none\), written by kubectl-label/,
  ],
  [
    "our own label",
    () => typed(["label", "serviceaccount", "web", "--namespace", "default", "app-"]),
    /metadata\.labels\.app: \(none\) -> "web" .*app: removed, and the API server keeps no name/,
  ],
  [
    "it was made anew",
    async () => {
      const made = await live("configmap", "web");
      const copy = { ...made, metadata: { ...metadata("web"), labels: made.metadata.labels } };
      await typed(["replace", "--force", "--filename", "-"], {
        ...copy,
        data: { a: "010", z: "1" },
      });
    },
    /data\.z: "1" -> \(none\)/,
  ],
  [
    "plain apply",
    async () => {
      const object = { ...OBJECTS[3]!, data: { a: "010", more: "x" } };
      await typed(["apply", "--filename", "-"], object);
    },
    /data\.more: "x" -> \(none\)/,
  ],
];

for (const [what, edit, told] of EDITS) {
  Deno.test(`E1: ${what}: plan names it, a deploy takes it back, and then it is as wanted`, async () => {
    await edit();
    const { planned, changed } = await seen();
    assert.equal(planned.length, 1, planned.join("\n"));
    assert.match(planned[0]!, told);
    assert.doesNotMatch(planned[0]!, /dG9wLXNlY3JldA|b3RoZXI|wanted-secret/);
    assert.equal(changed.length, 1);
    assert.deepEqual(await seen(), NOTHING);
  });
}

Deno.test("E1: what a controller adds, and a restart by hand, is nobody's drift and stays", async () => {
  const controller = ["--field-manager=kube-controller-manager"];
  await typed([
    "annotate",
    "pvc",
    "web",
    "-n",
    "default",
    ...controller,
    "pv.kubernetes.io/bound=x",
  ]);
  await typed(["rollout", "restart", "deployment/web", "--namespace", "default"]);
  await typed(["annotate", "configmap", "web", "-n", "default", "deploy.miribit.lab/keep=true"]);
  assert.deepEqual(await seen(), NOTHING);
  // Neither goes when something else is taken back from the same hand.
  await typed(["annotate", "configmap", "web", "-n", "default", "note=x"]);
  assert.equal((await seen()).changed.length, 1);
  const { annotations } = (await live("configmap", "web")).metadata;
  assert.deepEqual(annotations, { "deploy.miribit.lab/keep": "true" });
  const template = (await live("deployment", "web")).spec.template.metadata.annotations;
  assert.ok(template["kubectl.kubernetes.io/restartedAt"]);
});

Deno.test("E1, E8: what an unknown program writes beside us is told and stays; what it takes is refused alike", async () => {
  const program = ["--field-manager=autoscaler"];
  await typed(["annotate", "service", "web", "-n", "default", ...program, "example.org/x=1"]);
  const { planned, changed } = await seen();
  assert.match(
    planned.join(),
    /^foreign Service.*annotations\.example\.org\/x: "1" stays \(ARGS=--take=autoscaler takes it away\), written by autoscaler/,
  );
  assert.deepEqual(changed, []);

  const patch = JSON.stringify({ spec: { replicas: 5 } });
  await typed(["patch", "deployment", "web", "-n", "default", ...program, "-p", patch]);
  const entry = (await planOf(cluster, OBJECTS)).find(({ id }) => id === "Deployment/default/web");
  assert.equal(entry!.action, "refused", entry!.fields.join());
  assert.match(
    entry!.fields.join("\n"),
    /conflict with "autoscaler"[^]*autoscaler writes that field[^]*--take=autoscaler/,
  );
  const error = await applyTo(cluster, OBJECTS).catch((error) => error);
  assert.equal(error.exitCode, 6);

  const taking = () => inventoryOf(cluster, OBJECTS, { take: ["autoscaler"] });
  const told = await plan(taking(), OBJECTS);
  const changes = await apply(taking(), OBJECTS);
  assert.deepEqual(
    told.filter(({ action }) => action === "update").map(({ id }) => id).sort(),
    ["Deployment/default/web", "Service/default/web"],
  );
  assert.deepEqual(
    changes.filter(({ action }) => action === "configured").map(({ id }) => id).sort(),
    ["Deployment/default/web", "Service/default/web"],
  );
  assert.deepEqual(await seen(), NOTHING);
  assert.equal((await live("service", "web")).metadata.annotations?.["example.org/x"], undefined);
});

Deno.test("E9: what no step wants and nobody deletes is told, and is no drift", async () => {
  const step = { "deploy.miribit.lab/step": "99-gone" };
  const left = (name: string, annotations = {}): Manifest =>
    ours({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "default", labels: step, annotations },
    });
  const claim: Manifest = ours({
    ...OBJECTS.find(({ kind }) => kind === "PersistentVolumeClaim")!,
    metadata: { name: "left", namespace: "default", labels: step },
  });
  await applyTo(cluster, [left("surplus"), left("marked"), claim]);
  await typed(["annotate", "configmap", "marked", "-n", "default", "deploy.miribit.lab/keep=true"]);
  const told = async (keeps?: () => Promise<string | undefined>) =>
    (await plan(inventoryOf(cluster, [claim, left("x")]), [], [{ name: "99-gone", keeps }]))
      .map(({ id, action }) => `${action} ${id}`).sort();
  assert.deepEqual(await told(), [
    "delete ConfigMap/default/surplus",
    "kept ConfigMap/default/marked",
    "kept PersistentVolumeClaim/default/left",
  ]);
  assert.ok((await told(() => Promise.resolve("data"))).includes("kept ConfigMap/default/surplus"));
  const entries = (await plan(inventoryOf(cluster, [claim]), [], [{ name: "99-gone" }]))
    .filter(({ action }) => action === "kept");
  assert.equal(driftCode([{ cluster, entries }]), 0);
});

Deno.test("E1: everything that the centre is sent is as wanted as soon as it was sent", async () => {
  const objects = await desiredOf(STEPS, cluster);
  await applyTo(cluster, objects);
  const deltas = await inventoryOf(cluster, objects).deltas(objects);
  const wrong = [...deltas].filter(([, { state, others }]) => state !== "current" || others.length);
  assert.ok(objects.length > 150);
  assert.deepEqual(wrong, []);
});

/** An object of its own, applied. */
async function sent(
  object: Manifest,
): Promise<() => Promise<{ planned: string[]; changed: string[] }>> {
  const own = ours(object);
  await applyTo(cluster, [own]);
  return async () => {
    const entries = await planOf(cluster, [own]);
    const changes = await applyTo(cluster, [own]);
    return {
      planned: entries.filter(({ action }) => action !== "unchanged").map(({ action }) => action),
      changed: changes.filter(({ action }) => action !== "unchanged").map(({ action }) => action),
    };
  };
}

const AGREED = { planned: ["update"], changed: ["configured"] };

Deno.test("E1: a value that was changed and put back is ours again, and plan and deploy both say so", async () => {
  const map = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "back", namespace: "default" },
  };
  const look = await sent({ ...map, data: { a: "1" } });
  for (const manager of ["kubectl-patch", "some-program"]) {
    for (const a of ["2", "1"]) {
      const patch = ["-p", JSON.stringify({ data: { a } }), `--field-manager=${manager}`];
      await typed(["patch", "configmap", "back", "-n", "default", ...patch]);
    }
    assert.deepEqual(await look(), AGREED, manager);
    assert.deepEqual(await look(), NOTHING, manager);
  }
});

Deno.test("E1: what is scaled to 0 loses its owner: plan and deploy say so, and name no writer", async () => {
  const { spec } = OBJECTS[0]!;
  const labels = { app: "zero" };
  const template = { ...spec.template, metadata: { labels } };
  const object = ours({
    ...OBJECTS[0]!,
    metadata: { ...metadata("zero"), labels },
    spec: { replicas: 1, selector: { matchLabels: labels }, template },
  });
  const look = async (wanted = object) => {
    const [entry] = await planOf(cluster, [wanted]);
    const said: string[] = [];
    await applyTo(cluster, [wanted], { say: (text) => said.push(text) });
    return { told: entry!.fields.join(" | "), last: entry!.last, said: said.join() };
  };
  const scale = (replicas: number) =>
    typed(["scale", "deployment", "zero", "-n", "default", `--replicas=${replicas}`]);
  await applyTo(cluster, [object]);
  await scale(0);
  const zero = await look();
  assert.match(zero.told, /^spec\.replicas: 0 -> 1 \| spec\.replicas: scaled to 0 .* no name/);
  assert.match(zero.said, /^taking Deployment\/default\/zero back: spec\.replicas: scaled to 0 /);
  assert.equal(zero.last, undefined);
  assert.deepEqual(await look(), { told: "", last: undefined, said: "" });
  // Also where the settings have moved meanwhile.
  await scale(0);
  const both = await look({ ...object, spec: { ...object.spec, minReadySeconds: 1 } });
  assert.match(both.told, /spec\.replicas: scaled to 0 /);
  assert.equal(both.last, undefined);
  await look();
  // To another number it has a name, and no time.
  await scale(3);
  const three = await look();
  assert.equal(three.told, "spec.replicas: 3 -> 1");
  assert.equal(three.said, "taking Deployment/default/zero back from kubectl");
  assert.equal(three.last, undefined);
});

Deno.test("E1: containers in another order are drift, for they start in it", async () => {
  const init = (name: string) => ({ name, image: "a:1" });
  const { spec } = OBJECTS[0]!;
  const template = structuredClone(spec.template);
  template.metadata.labels = { app: "order" };
  template.spec.initContainers = [init("a"), init("b")];
  const look = await sent({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "order", namespace: "default" },
    spec: { replicas: 0, selector: { matchLabels: { app: "order" } }, template },
  });
  const path = "/spec/template/spec/initContainers";
  const value = [init("b"), init("a")];
  const patch = ["--type=json", "-p", JSON.stringify([{ op: "replace", path, value }])];
  await typed(["patch", "deployment", "order", "-n", "default", ...patch]);
  assert.deepEqual(await look(), AGREED);
  assert.deepEqual(await look(), NOTHING);
});

Deno.test("E1: ports that differ in their protocol alone are told apart, and a default is none", async () => {
  const look = await sent({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "ports", namespace: "default" },
    spec: {
      ports: [{ name: "s", port: 53, protocol: "SCTP" }, { name: "t", port: 53 }, {
        name: "u",
        port: 53,
        protocol: "UDP",
      }],
    },
  });
  assert.deepEqual(await look(), NOTHING);
});

Deno.test("E1: what a person has set and nobody can take away is told, and stays", async () => {
  const map = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "fixed", namespace: "default" },
  };
  const look = await sent({ ...map, data: { a: "1" } });
  await typed(["patch", "configmap", "fixed", "-n", "default", "-p", '{"immutable":true}']);
  for (let time = 0; time < 2; time++) {
    assert.deepEqual(await look(), { planned: ["foreign"], changed: [] });
  }
});

Deno.test("E1: an empty map of a person is seen: to an operator it may mean everything", async () => {
  const kind = "Picker", apiVersion = "drift.example.org/v1";
  await applyTo(cluster, [ours(definitionOf(kind, "drift.example.org", "v1"))]);
  const look = await sent({
    apiVersion,
    kind,
    metadata: { name: "all", namespace: "default" },
    spec: { size: 1 },
  });
  const all = JSON.stringify({ spec: { selector: {} } });
  await typed(["patch", "picker", "all", "-n", "default", "--type=merge", "-p", all]);
  assert.deepEqual(await look(), AGREED);
  assert.deepEqual((await live("picker", "all")).spec, { size: 1 });
});

Deno.test("E1: a value of another type is another value, where the API server knows no types", async () => {
  await applyTo(cluster, [ours(definitionOf("Free", "drift.example.org", "v1"))]);
  const spec = { port: 80, on: true };
  const look = await sent({
    apiVersion: "drift.example.org/v1",
    kind: "Free",
    metadata: { name: "all", namespace: "default" },
    spec,
  });
  assert.deepEqual(await look(), NOTHING);
  const texts = JSON.stringify({ spec: { port: "80", on: "true" } });
  await typed(["patch", "free", "all", "-n", "default", "--type=merge", "-p", texts]);
  assert.deepEqual(await look(), AGREED);
  assert.deepEqual((await live("free", "all")).spec, spec);
});

Deno.test("E1: what a person has added to an object of thousands of fields is taken away", async () => {
  // Their owners are more than an argument of a program may be.
  const keys = Array.from({ length: 5000 }, (_, number) => `${"a".repeat(40)}-${number}`);
  const look = await sent({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "many", namespace: "default" },
    data: Object.fromEntries(keys.map((key) => [key, "x"])),
  });
  await typed(["patch", "configmap", "many", "-n", "default", "-p", '{"data":{"more":"1"}}']);
  assert.deepEqual(await look(), AGREED);
  assert.deepEqual(await look(), NOTHING);
});

Deno.test("E14: an object that is being deleted is made anew, by plan and by deploy", async () => {
  const finalizers = ["example.org/slow"];
  const map = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "going", namespace: "default" },
  };
  const look = await sent({ ...map, data: { a: "1" } });
  await typed([
    "patch",
    "configmap",
    "going",
    "-n",
    "default",
    "-p",
    JSON.stringify({ metadata: { finalizers } }),
  ]);
  await typed(["delete", "configmap", "going", "-n", "default", "--wait=false"]);
  const free = ["--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]'];
  setTimeout(() => typed(["patch", "configmap", "going", "-n", "default", ...free]), 4000);
  assert.deepEqual(await look(), { planned: ["create"], changed: ["created"] });
  assert.equal((await live("configmap", "going")).metadata.deletionTimestamp, undefined);
});

Deno.test("E5: plan and deploy go on when a definition was removed by hand a moment ago", async () => {
  const definition = ours(definitionOf("Gadget", "test.example.org", "v1"));
  const gadget = ours({
    apiVersion: "test.example.org/v1",
    kind: "Gadget",
    metadata: { name: "one", namespace: "default" },
  });
  const wanted = [OBJECTS.find(({ kind }) => kind === "ServiceAccount")!];
  // So that every kind that was sent is looked at, as on a site; kubectl keeps for hours which kinds there are.
  const all = [definition, gadget, ...wanted];
  await applyTo(cluster, all);
  const planned = () => plan(inventoryOf(cluster, all), wanted);
  await planned();
  await typed(["delete", "customresourcedefinition", "gadgets.test.example.org"]);
  assert.deepEqual((await planned()).map(({ action }) => action), ["unchanged"]);
  const changes = await apply(inventoryOf(cluster, all), wanted);
  assert.deepEqual(changes.map(({ action }) => action), ["unchanged"]);
});

Deno.test("A34: of two objects of one name the one that a person has taken is taken back", async () => {
  const map = (namespace: string) =>
    ours({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "twin", namespace },
      data: { a: "1" },
    });
  const twins = [map("default"), map("kube-public")];
  await applyTo(cluster, twins);
  await typed(["patch", "configmap", "twin", "-n", "default", "-p", '{"data":{"a":"2"}}']);
  await typed(["delete", "configmap", "twin", "-n", "kube-public"]);
  await applyTo(cluster, twins);
  assert.equal((await live("configmap", "twin")).data.a, "1");
});

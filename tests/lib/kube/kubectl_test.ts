import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError } from "../../../lib/core/error.ts";
import { kubectl, kustomize, useKubectl } from "../../../lib/kube/kubectl.ts";
import { KubectlError } from "../../../lib/kube/kubectl_error.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });

async function failure(stderr: string, code = 1): Promise<KubectlError> {
  await fakeKubectl([{ on: ".", stderr, code }]);
  const error = await kubectl(["get", "pods"], { cluster, once: true }).catch((error) => error);
  assert.ok(error instanceof KubectlError);
  return error;
}

Deno.test("A22: kubectl() names the context itself and never asks for the current one", async () => {
  const calls = await fakeKubectl([{ on: "get pods", stdout: "ok" }]);
  assert.equal(await kubectl(["get", "pods"], { cluster }), "ok");
  const { args } = (await calls())[0]!;
  assert.match(args, /^--kubeconfig=\S+tests\/fixtures\/kubeconfig --context=mkube-197 get pods$/);
});

Deno.test("A13: kubectl() runs every child with LC_ALL=C, whatever the shell has", async () => {
  for (const locale of ["ko_KR.UTF-8", "tr_TR.UTF-8", "C"]) {
    Deno.env.set("LANG", locale);
    const calls = await fakeKubectl([{ on: "version" }]);
    await kubectl(["version"], { cluster });
    assert.equal((await calls())[0]!.locale, "C");
  }
});

Deno.test("A58: kubectl() ends a call that does not answer, exit 5", async () => {
  await fakeKubectl([{ on: ".", delay: 30 }]);
  const error = await kubectl(["get", "pods"], { cluster, seconds: 0.3 }).catch((error) => error);
  assert.ok(error instanceof KubectlError);
  assert.equal(error.exitCode, 5);
  assert.match(error.stderr, /no answer within 0.3 s/);
});

Deno.test("kubectl() sends input on stdin and closes stdin otherwise", async () => {
  const calls = await fakeKubectl([{ on: "." }]);
  await kubectl(["apply"], { cluster, input: "secret on stdin" });
  await kubectl(["get"], { cluster });
  assert.deepEqual((await calls()).map(({ stdin }) => stdin), ["secret on stdin", ""]);
});

const verdicts: [title: string, stderr: string, exitCode: number, transient: boolean][] = [
  [
    "refused connection",
    "The connection to the server 192.168.101.197:8443 was refused - did you specify the right host or port?\ndial tcp: connect: connection refused",
    5,
    true,
  ],
  [
    "unknown host",
    "Unable to connect to the server: dial tcp: lookup mkube: no such host",
    5,
    true,
  ],
  [
    "A28: expired certificate",
    "Unable to connect to the server: x509: certificate has expired or is not yet valid",
    5,
    false,
  ],
  ["A29: unknown authority", "x509: certificate signed by unknown authority", 5, false],
  ["A30: unauthorized", "error: You must be logged in to the server (Unauthorized)", 5, false],
  [
    "A30: forbidden",
    'Error from server (Forbidden): pods is forbidden: User "x" cannot list resource "pods" in API group ""',
    5,
    false,
  ],
  [
    "A30: forbidden to ask what the server has",
    'Error from server (Forbidden): forbidden: User "x" cannot get path "/apis"',
    5,
    false,
  ],
  [
    "A40: terminating namespace",
    'Error from server (Forbidden): secrets "a" is forbidden: unable to create new content in namespace monitoring because it is being terminated',
    6,
    false,
  ],
  [
    "A36: immutable field",
    "The Job is invalid: spec.template: Invalid value: field is immutable",
    6,
    false,
  ],
  [
    "A41: webhook not up",
    'Error from server (InternalError): failed calling webhook "validate.nginx": no endpoints',
    6,
    true,
  ],
  [
    "A42: webhook of an old install",
    'Error from server (InternalError): failed calling webhook "prometheusrulemutate.monitoring.coreos.com": no endpoints available for service "old-operator"',
    6,
    true,
  ],
  [
    "A48: quota",
    'Error from server (Forbidden): pods "a" is forbidden: exceeded quota: small, requested: requests.cpu=2, used: requests.cpu=1, limited: requests.cpu=2',
    6,
    false,
  ],
  [
    "A33: too many requests",
    "Error from server (TooManyRequests): the server has received too many requests",
    5,
    true,
  ],
  [
    "A31: nothing listens",
    "The connection to the server 10.0.0.1:8443 was refused - did you specify the right host or port?",
    5,
    true,
  ],
  ["etcd timeout", "Error from server: etcdserver: request timed out", 5, true],
  ["E11: etcd is too busy", "Error from server: etcdserver: too many requests", 5, true],
  [
    "E11: 504",
    "Error from server (Timeout): the server was unable to return a response in the time allotted, but may still be processing the request (get configmaps)",
    5,
    true,
  ],
  [
    "E11: 502 of a proxy",
    'Error from server (InternalError): an error on the server ("<html>upstream down</html>") has prevented the request from succeeding (get configmaps)',
    5,
    true,
  ],
  ["E11: a line that was lost", "error: http2: client connection lost", 5, true],
  [
    "E11: a webhook whose certificate nobody knows",
    'Error from server (InternalError): Internal error occurred: failed calling webhook "validator.longhorn.io": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    6,
    true,
  ],
];

for (const [title, stderr, exitCode, transient] of verdicts) {
  Deno.test(`kubectl() classifies: ${title}`, async () => {
    const error = await failure(stderr);
    assert.deepEqual([error.exitCode, error.transient], [exitCode, transient]);
    assert.ok(error.fix);
  });
}

Deno.test("E26: kubectl() names a proxy variable where a server does not answer", async () => {
  Deno.env.set("HTTPS_PROXY", "http://proxy.example:3128");
  const error = await failure("Unable to connect to the server: Service Unavailable");
  Deno.env.delete("HTTPS_PROXY");
  assert.match(error.fix!, /^HTTPS_PROXY is set: unless 192\.168\.101\.197 is in NO_PROXY/);
  assert.match((await failure("Unable to connect to the server: x")).fix!, /^check that/);
});

Deno.test("E7: kubectl() gives every letter whole, wherever the pieces of a long answer end", async () => {
  const text = "대시보드 메모리 ".repeat(20_000);
  await fakeKubectl([{ on: "get", stdout: text }]);
  for (let time = 0; time < 3; time++) {
    assert.ok(await kubectl(["get", "x"], { cluster }) === text);
  }
});

Deno.test("E4: kubectl() runs without the defaults of the user's kuberc", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/kubectl`, '#!/bin/sh\necho "$KUBECTL_KUBERC $KUBERC"\n');
  await Deno.chmod(`${folder}/kubectl`, 0o755);
  useKubectl(`${folder}/kubectl`);
  assert.equal(await kubectl(["delete", "x"], { cluster }), "false off\n");
});

/** A kubectl that notes its verb and context and goes on until `go` is there, but not for `patch`. */
async function patientKubectl() {
  const folder = await Deno.makeTempDir();
  const script = `#!/bin/sh
cd ${folder}; touch "run.$2.$3.$$"
[ "$3" = patch ] || until [ -e go ]; do sleep 0.1; done
`;
  await Deno.writeTextFile(`${folder}/kubectl`, script);
  await Deno.chmod(`${folder}/kubectl`, 0o755);
  useKubectl(`${folder}/kubectl`);
  const begun = async () =>
    (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name)
      .filter((name) => name.startsWith("run."));
  return {
    begun,
    async eight() {
      while ((await begun()).length < 8) await sleep(50);
    },
    go: () => Deno.writeTextFile(`${folder}/go`, ""),
    clusters: Array.from({ length: 12 }, (_, index) => {
      const id = String(index + 100);
      return { ...cluster, id, vars: { ...cluster.vars, KUBE_CONTEXT: id } };
    }),
  };
}

Deno.test("E22: kubectl() runs two at once on a cluster and eight in all, kustomize among them", async () => {
  const { begun, eight, go, clusters } = await patientKubectl();
  const calls: Promise<unknown>[] = clusters.flatMap((one) =>
    [1, 2, 3, 4].map(() => kubectl(["apply"], { cluster: one }))
  );
  calls.push(...["one", "two", "three"].map(kustomize));
  await eight();
  await sleep(1000);
  const names = await begun();
  await go();
  await Promise.all(calls);
  assert.equal(names.length, 8);
  const contexts = Map.groupBy(names, (name) => /context=(\d+)\.apply/.exec(name)?.[1]);
  assert.ok([...contexts.values()].every((those) => those.length <= 2), names.join());
});

Deno.test("E22: a renewal of a lock is the first in line, and waits a second at most, whatever hangs", async () => {
  const { begun, eight, go, clusters } = await patientKubectl();
  const calls = clusters.flatMap((one) =>
    [1, 2, 3, 4].map(() => kubectl(["apply"], { cluster: one }))
  );
  await eight();
  const renewal = () => kubectl(["patch"], { cluster: clusters[0]!, afterInterrupt: true });
  const started = Date.now();
  await renewal();
  assert.ok(Date.now() - started >= 1000);
  const next = renewal();
  await go();
  await next;
  assert.ok((await begun()).length < 40, "it was behind the others");
  await Promise.all(calls);
});

Deno.test("A15: kubectl() says that kubectl is missing, exit 3", async () => {
  const error = await failure("exec: kubectl: not found", 127);
  assert.equal(error.exitCode, 3);
  assert.equal(error.fix, "make tools");
});

Deno.test("kustomize() says what is wrong with a folder", async () => {
  useKubectl("kubectl");
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/kustomization.yaml`, "resources: [absent.yaml]\n");
  const error = await kustomize(folder).catch((error) => error);
  assert.equal(error.exitCode, 2);
  assert.match(error.where.join(), /absent\.yaml/);
});

Deno.test("kubectl() keeps warnings and advice out of the reason", async () => {
  const error = await failure("Warning: unrecognized format\nError: real reason");
  assert.equal(error.stderr, "Error: real reason");
  assert.ok(error instanceof DeployError);
});

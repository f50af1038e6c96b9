import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { DeployError } from "../../../lib/core/error.ts";
import { connect } from "../../../lib/kube/target.ts";
import { OWNER } from "../../../lib/core/object.ts";
import { fixtureCluster, servedAt } from "../../support/cluster_fixture.ts";
import { fakeKubectl, identityReply, listOf, type Reply } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const UID = "11111111-2222-3333-4444-555555555555";

function target(
  { context = "mkube-197", server = "https://192.168.101.197:8443", marker = {} }: {
    context?: string;
    server?: string;
    marker?: Record<string, string>;
  } = {},
): Reply[] {
  const config = {
    contexts: [{ name: context, context: { cluster: "c" } }],
    clusters: [{ name: "c", cluster: { server } }],
  };
  const data = { id: "197", name: "cluster-197-edge", role: "edge", uid: UID, ...marker };
  return [
    { on: "config view", stdout: JSON.stringify(config) },
    identityReply(UID, marker.none ? undefined : data),
  ];
}

async function refusal(replies: Reply[]): Promise<DeployError> {
  await fakeKubectl(replies);
  const error = await connect(cluster).catch((error) => error);
  assert.ok(error instanceof DeployError, `not refused: ${error}`);
  return error;
}

Deno.test("connect() accepts the cluster it deployed before and writes nothing", async () => {
  const calls = await fakeKubectl(target());
  assert.equal((await connect(cluster)).marker, undefined);
  assert.ok((await calls()).every(({ args }) => / (get|config view) /.test(args)));
});

Deno.test("connect() reads all that is kept there in one call", async () => {
  const [config, identity] = target();
  const { items } = JSON.parse(identity!.stdout!);
  const lease = { kind: "Lease", metadata: { name: OWNER, resourceVersion: "7" } };
  const kinds = {
    kind: "ConfigMap",
    metadata: { name: `${OWNER}-kinds` },
    data: { kinds: "service.v1." },
  };
  await fakeKubectl([config!, { ...identity!, stdout: listOf(...items, kinds, lease) }]);
  assert.deepEqual(await connect(cluster), { cluster, lease, kept: kinds });
});

Deno.test("V5: connect() tells of a server that is no API server: kubectl finds nothing there", async () => {
  for (const stdout of ["", listOf()]) {
    const [config, identity] = target();
    const error = await refusal([config!, { ...identity!, stdout }]);
    assert.deepEqual([error.exitCode, error.message], [5, "What answers for 197 is no API server"]);
    assert.match(error.where.join(), /mkube-197 has no namespace kube-system/);
  }
});

Deno.test("connect() gives the marker for a cluster that has none", async () => {
  await fakeKubectl(target({ marker: { none: "yes" } }));
  const { marker } = await connect(cluster);
  assert.deepEqual(marker?.data, { id: "197", name: "cluster-197-edge", role: "edge", uid: UID });
});

Deno.test("A23: connect() names the contexts there are when the wanted one is absent", async () => {
  const error = await refusal(target({ context: "minikube" }));
  assert.equal(error.exitCode, 4);
  assert.match(error.message, /no context mkube-197/);
  assert.match(error.where.join(), /minikube/);
});

Deno.test("A24: connect() refuses a context that leads to another address", async () => {
  const error = await refusal(target({ server: "https://192.168.101.198:8443" }));
  assert.equal(error.exitCode, 4);
  assert.match(error.where.join(), /expected 192.168.101.197, the kubeconfig says \S+198/);
});

Deno.test("A25: connect() refuses a rebuilt cluster, and accepts it with adopt", async () => {
  const replies = target({ marker: { uid: "other" } });
  const error = await refusal(replies);
  assert.equal(error.exitCode, 4);
  assert.match(`${error.where} ${error.fix}`, new RegExp(`${UID}.*other.*--adopt`));
  await fakeKubectl(replies);
  assert.equal((await connect(cluster, { adopt: true })).marker?.data.uid, UID);
});

Deno.test("A26: connect() refuses the env of 197 on the cluster of 196", async () => {
  const error = await refusal(target({ marker: { id: "196", name: "cluster-196-central" } }));
  assert.equal(error.exitCode, 4);
  assert.match(error.message, /this is cluster-196-central, refusing cluster-197-edge/);
});

Deno.test("A27: connect() refuses another role than the one deployed", async () => {
  const error = await refusal(target({ marker: { role: "central" } }));
  assert.equal(error.exitCode, 4);
  assert.match(error.message, /deployed as central, refusing edge/);
});

Deno.test("A31: connect() tries three times, then exit 5", async () => {
  const [view] = target();
  const calls = await fakeKubectl([view!, { on: "get", stderr: "connection refused", code: 1 }]);
  const error = await connect(cluster).catch((error) => error);
  assert.equal(error.exitCode, 5);
  assert.match(error.message, /3 tries/);
  const asked = (await calls()).filter(({ args }) => args.includes("get namespace/"));
  assert.equal(asked.length, 3);
});

Deno.test("E16: connect() takes a cluster for new only where nothing of ours is left", async () => {
  const lease = { kind: "Lease", metadata: { name: OWNER, resourceVersion: "7" } };
  const [config, identity] = target({ marker: { none: "yes" } });
  const { items } = JSON.parse(identity!.stdout!);
  for (const more of [[], [lease]]) {
    await fakeKubectl([config!, { ...identity!, stdout: listOf(...items, ...more) }]);
    assert.equal((await connect(cluster)).isNew, more.length === 0);
  }
});

Deno.test("E18: connect() refuses (3) a kubectl that is too old, and says what to do", async () => {
  const old = { on: "^version --client", stdout: '{"clientVersion":{"gitVersion":"v1.31.9"}}' };
  const error = await refusal([old, ...target()]);
  assert.equal(error.exitCode, 3);
  assert.match(error.message, /kubectl v1\.31\.9: older than v1\.32/);
  assert.match(error.fix!, /make tools/);
});

Deno.test("E22: one kubeconfig, and which kubectl it is, are read once for a whole fleet", async () => {
  const calls = await fakeKubectl([
    { on: "^version --client", stdout: '{"clientVersion":{"gitVersion":"v1.36.3"}}' },
    ...target(),
  ]);
  await Promise.all([connect(cluster), connect(cluster), connect(cluster)]);
  const words = (await calls()).map(({ args }) => /version|config view|get/.exec(args)![0]).sort();
  assert.deepEqual(words, ["config view", "get", "get", "get", "version"]);
});

Deno.test("E17: connect() compares the port where API_HOST names one, in any case of letters", async () => {
  const tried = async (API_HOST: string, server: string) => {
    await fakeKubectl(target({ server }));
    const refused = await connect(servedAt(cluster, API_HOST)).catch((error) => error);
    return refused instanceof DeployError ? refused.exitCode : "accepted";
  };
  for (
    const [host, server] of [
      ["127.0.0.1:32771", "https://127.0.0.1:32771"],
      ["127.0.0.1", "https://127.0.0.1:32771"],
      ["API.Example:443", "https://api.example"],
    ] as const
  ) assert.equal(await tried(host, server), "accepted", server);
  for (
    const [host, server] of [
      ["127.0.0.1:32771", "https://127.0.0.1:32772"],
      ["127.0.0.1:443", "http://127.0.0.1"],
      ["127.0.0.1:32771", "https://127.0.0.1"],
      ["127.0.0.1", ""],
      ["api.example", "api.example:443"],
    ] as const
  ) assert.equal(await tried(host, server), 4, server);
});

/** A server on the loopback interface that takes connections and may answer a handshake; gives its address. */
async function listening(
  serve: (socket: Socket) => void,
): Promise<AsyncDisposable & { server: string }> {
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return {
    server: `https://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

// Behind a proxy it could not be told.
for (const name of ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) Deno.env.delete(name);

const near = servedAt(cluster, "127.0.0.1");

Deno.test("E22: connect() knows in five seconds that a server makes no connection, and kubectl is gone", async () => {
  await using silent = await listening(() => {});
  const [view, identity] = target({ server: silent.server });
  const calls = await fakeKubectl([view!, { ...identity!, delay: 60 }]);
  const begun = Date.now();
  await assert.rejects(connect(near), {
    exitCode: 5,
    message: "Cannot get namespace/kube-system on 197",
    where: ["no answer within 4.5 s"],
  });
  assert.ok(Date.now() - begun < 45_000, `${Date.now() - begun} ms`);
  const asked = (await calls()).filter(({ args }) => args.includes("get namespace/"));
  assert.equal(asked.length, 1);
});

Deno.test("E22: connect() waits for a server that is slow, but makes a connection", async () => {
  const lines: [what: string, serve: (socket: Socket) => void][] = [
    ["it refuses us", (socket) => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, 116]))],
    ["a stall of four seconds", (socket) => void setTimeout(() => socket.end(), 1800)],
  ];
  for (const [what, serve] of lines) {
    await using slow = await listening(serve);
    const [view, identity] = target({ server: slow.server });
    const calls = await fakeKubectl([view!, { ...identity!, delay: 6 }]);
    assert.equal((await connect(near)).marker, undefined, what);
    assert.equal((await calls()).length, 2);
  }
});

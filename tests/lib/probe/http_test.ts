import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { useKubectl } from "../../../lib/kube/kubectl.ts";
import { openProxy } from "../../../lib/probe/http.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

const SERVICE = { namespace: "logging", name: "opensearch", port: "http" };

/** A folder with a kubectl of this text in it, where it may leave files. */
async function withKubectl(script: string): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), "proxy-test-"));
  const path = join(folder, "kubectl");
  await writeFile(path, `#!/bin/bash\nfolder=${folder}\n${script}`);
  await chmod(path, 0o700);
  useKubectl(path);
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

// Answers each request with what it got, and tells its process id and arguments.
const SERVER = `
echo "$@" >$folder/args
echo $$ >$folder/pid
cat >$folder/server.ts <<'EOF'
const path = Deno.args.find((arg) => arg.startsWith("--unix-socket="))!.slice(14);
Deno.serve({ path, transport: "unix", onListen() {} }, async (request) => {
  const { pathname, search } = new URL(request.url);
  if (pathname.endsWith("/slow")) await new Promise(() => {});
  const { method, headers } = request;
  const got = { method, pathname, search, host: headers.get("host"), body: await request.text() };
  return Response.json(got, { status: 201 });
});
EOF
exec ${Deno.execPath()} run --no-config -A $folder/server.ts "$@"
`;

function target(): Promise<Cluster> {
  return fixtureCluster("196", { KUBECONFIG_FILE: "/nowhere" });
}

function alive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

async function dead(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100 && alive(pid); tries++) await sleep(50);
  return !alive(pid);
}

Deno.test("openProxy() passes requests on over a socket that only we can reach", async () => {
  await using fake = await withKubectl(SERVER);
  const cluster = await target();
  const proxy = await openProxy(cluster);
  const args = await readFile(join(fake.folder, "args"), "utf8");
  assert.match(args, /^--kubeconfig=\S+ --context=mkube-196 proxy --unix-socket=\S+\n$/);
  const socket = /--unix-socket=(\S+)/.exec(args)![1]!;
  assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);

  const response = await proxy.fetch(SERVICE, "/a%3Ab/c?d=e", { method: "PUT", body: "{}" });
  assert.equal(response.status, 201);
  assert.deepEqual(await response.json(), {
    method: "PUT",
    pathname: "/api/v1/namespaces/logging/services/opensearch:http/proxy/a%3Ab/c",
    search: "?d=e",
    host: "localhost", // kubectl proxy refuses other names
    body: "{}",
  });

  const pid = Number(await readFile(join(fake.folder, "pid"), "utf8"));
  await proxy[Symbol.asyncDispose]();
  assert.ok(await dead(pid), "the proxy goes on");
  assert.ok(!existsSync(dirname(socket)), "its folder is left");
});

Deno.test("openProxy() waits until somebody listens, not for the file of the socket alone", async () => {
  const early = 'socket=${!#}; socket=${socket#*=}; touch "$socket"; sleep 0.5; rm "$socket"\n';
  await using _ = await withKubectl(early + SERVER);
  await using proxy = await openProxy(await target());
  assert.equal((await proxy.fetch(SERVICE, "/")).status, 201);
});

Deno.test("openProxy(): a signal of the caller ends a request as the caller's own", async () => {
  await using _ = await withKubectl(SERVER);
  await using proxy = await openProxy(await target());
  const signal = AbortSignal.timeout(100);
  await assert.rejects(proxy.fetch(SERVICE, "/slow", { signal }), { name: "TimeoutError" });
});

Deno.test("openProxy() tells kubectl's own words when it does not start", async () => {
  await using _ = await withKubectl(`echo 'error: context "mkube-196" does not exist' >&2; exit 1`);
  const before = await sockets();
  const error = await openProxy(await target()).catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 5);
  assert.deepEqual(error.where, ['error: context "mkube-196" does not exist']);
  assert.match(error.fix!, /--context mkube-196/);
  assert.deepEqual(await sockets(), before);
});

Deno.test("openProxy(): a proxy that has died is an unreachable cluster", async () => {
  await using fake = await withKubectl(SERVER);
  await using proxy = await openProxy(await target());
  const pid = Number(await readFile(join(fake.folder, "pid"), "utf8"));
  Deno.kill(pid, "SIGKILL");
  assert.ok(await dead(pid));
  const error = await proxy.fetch(SERVICE, "/").catch((error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 5);
  // The reason, which fetch itself keeps back.
  assert.match(String(error.where), /Connect|connection/);
});

Deno.test("openProxy() leaves nothing running when the deployer itself is killed", async () => {
  await using fake = await withKubectl(SERVER);
  const program = `
    import { useKubectl } from "./lib/kube/kubectl.ts";
    import { openProxy } from "./lib/probe/http.ts";
    import { fixtureCluster } from "./tests/support/cluster_fixture.ts";
    useKubectl("${fake.folder}/kubectl");
    await openProxy(await fixtureCluster("196", { KUBECONFIG_FILE: "/nowhere" }));
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  `;
  const deployer = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", program],
    cwd: new URL("../../..", import.meta.url).pathname,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const file = join(fake.folder, "pid");
  while (!existsSync(file) || statSync(file).size === 0) await sleep(50);
  const pid = Number(await readFile(file, "utf8"));
  assert.ok(alive(pid));
  deployer.kill("SIGKILL");
  await deployer.status;
  assert.ok(await dead(pid), "the proxy goes on");
  const args = await readFile(join(fake.folder, "args"), "utf8");
  await rm(dirname(/--unix-socket=(\S+)/.exec(args)![1]!), { recursive: true });
});

async function sockets(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) =>
    name.startsWith("proxy-") && name.length === 12
  );
}

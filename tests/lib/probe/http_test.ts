import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
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
  assert.match(
    args,
    /^--kubeconfig=\S+ --context=mkube-196 proxy --append-server-path --unix-socket=\S+\n$/,
  );
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

Deno.test("openProxy() is refused with 3 where there is no kubectl, and where a socket's path is too long", async () => {
  const { TMPDIR } = process.env, before = await sockets();
  const refusal = async () => await openProxy(await target()).catch((error) => error);
  useKubectl("/nowhere/kubectl");
  const { exitCode, where, fix } = await refusal();
  assert.deepEqual([exitCode, where, fix], [3, ["kubectl is not on PATH"], "make tools"]);
  await using fake = await withKubectl(SERVER);
  process.env.TMPDIR = join(fake.folder, "t".repeat(103 - fake.folder.length));
  try {
    await mkdir(process.env.TMPDIR);
    const error = await refusal();
    assert.deepEqual([error.exitCode, error.where], [3, ["its path is longer than 103 bytes"]]);
    assert.match(error.fix, /TMPDIR/);
    assert.deepEqual(await readdir(process.env.TMPDIR), []);
  } finally {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
  }
  assert.deepEqual(await sockets(), before);
});

Deno.test("openProxy() leads to a server below a path, as kubectl does", async () => {
  await using fake = await withKubectl("");
  useKubectl("kubectl");
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, ({ url }) => {
    asked.push(new URL(url).pathname);
    return new Response();
  });
  const config = join(fake.folder, "kubeconfig");
  const cluster = { server: `http://127.0.0.1:${server.addr.port}/k8s/clusters/c` };
  await writeFile(
    config,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster }],
      contexts: [{ name: "mkube-196", context: { cluster: "c" } }],
    }),
  );
  {
    await using proxy = await openProxy(await fixtureCluster("196", { KUBECONFIG_FILE: config }));
    await (await proxy.fetch(SERVICE, "/x")).text();
  }
  await server.shutdown();
  // Some kubectl ask for the version of the server before.
  const place = "/api/v1/namespaces/logging/services/opensearch:http/proxy/x";
  assert.equal(asked.at(-1), `/k8s/clusters/c${place}`);
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

/** A program with a proxy that is open, in a process group of its own, as the shell of a terminal starts one. */
async function deployer(fake: { folder: string }) {
  const program = `
    import process from "node:process";
    import { useKubectl } from "./lib/kube/kubectl.ts";
    import { openProxy } from "./lib/probe/http.ts";
    import { fixtureCluster } from "./tests/support/cluster_fixture.ts";
    useKubectl("${fake.folder}/kubectl");
    const proxy = await openProxy(await fixtureCluster("196", { KUBECONFIG_FILE: "/nowhere" }));
    process.on("SIGINT", () => proxy[Symbol.asyncDispose]().then(() => process.exit(130)));
    setTimeout(() => {}, 60_000);
    Deno.writeTextFileSync("${fake.folder}/open", "");
  `;
  const child = spawn(Deno.execPath(), ["eval", "--ext=ts", program], {
    cwd: new URL("../../..", import.meta.url).pathname,
    stdio: "ignore",
    detached: true,
  });
  const ended = once(child, "exit");
  while (!existsSync(join(fake.folder, "open"))) await sleep(50);
  const pid = Number(await readFile(join(fake.folder, "pid"), "utf8"));
  assert.ok(alive(pid));
  const args = await readFile(join(fake.folder, "args"), "utf8");
  return { group: child.pid!, ended, pid, place: dirname(/--unix-socket=(\S+)/.exec(args)![1]!) };
}

Deno.test("openProxy() leaves nothing when the deployer itself is killed", async () => {
  await using fake = await withKubectl(SERVER);
  const { group, ended, pid, place } = await deployer(fake);
  process.kill(group, "SIGKILL");
  await ended;
  assert.ok(await dead(pid), "the proxy goes on");
  assert.ok(!existsSync(place), "its folder is left");
});

Deno.test("openProxy(): Ctrl-C, which a terminal sends to all that it has started, is the deployer's alone", async () => {
  await using fake = await withKubectl(SERVER);
  const { group, ended, pid, place } = await deployer(fake);
  process.kill(-group, "SIGINT");
  const hangs = sleep(10_000, "hangs", { ref: false });
  const end = await Promise.race([ended, hangs]);
  if (end === "hangs") process.kill(-group, "SIGKILL");
  assert.deepEqual(end, [130, null]);
  assert.ok(await dead(pid), "the proxy goes on");
  assert.ok(!existsSync(place), "its folder is left");
});

Deno.test("openProxy() ends a kubectl whole that is a script and starts another one", async () => {
  const script = SERVER.replace("\nexec ", "\n").trimEnd();
  await using fake = await withKubectl(`${script} & echo $! >$folder/child; wait`);
  const proxy = await openProxy(await target());
  const closing = proxy[Symbol.asyncDispose]().then(() => "closed");
  const end = await Promise.race([closing, sleep(10_000, "hangs")]);
  if (end === "hangs") process.kill(Number(await readFile(`${fake.folder}/child`, "utf8")));
  await closing;
  assert.equal(end, "closed");
});

async function sockets(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) =>
    name.startsWith("proxy-") && name.length === 12
  );
}

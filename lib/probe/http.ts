// HTTP to Services inside the cluster, through the API server: no port of the cluster is opened.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { temporaryFolder } from "../io/files.ts";
import type { ClusterProxy, ServicePort } from "../core/check.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../core/error.ts";
import { startKubectl } from "../kube/kubectl.ts";

const PATIENCE = 60_000;

/**
 * Opens the way with `kubectl proxy`. It listens on a unix socket in a folder of ours alone, because
 * a port would give every local user this context's rights.
 * @throws {DeployError} exit 5 with kubectl's words when it does not start.
 */
export async function openProxy(cluster: Cluster): Promise<ClusterProxy & AsyncDisposable> {
  const folder = await temporaryFolder("proxy-");
  const socket = join(folder, "s"); // short: the system allows about 100 characters
  const running = startKubectl(["proxy", `--unix-socket=${socket}`], cluster);
  const client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const close = async () => {
    client.close();
    running.stdin.end();
    await running;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await listening(socket, running);
  } catch (error) {
    await close();
    throw unreachable(cluster, error);
  }
  return {
    async fetch({ kind = "services", namespace, name, port }, path, init = {}) {
      const signal = init.signal ?? AbortSignal.timeout(PATIENCE);
      const place = `api/v1/namespaces/${namespace}/${kind}/${name}:${port}`;
      try {
        return await fetch(`http://localhost/${place}/proxy${path}`, { ...init, signal, client });
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw unreachable(cluster, error);
      }
    },
    [Symbol.asyncDispose]: close,
  };
}

async function listening(socket: string, running: ReturnType<typeof startKubectl>): Promise<void> {
  let end: string | undefined;
  running.then(({ stderr, exitCode }) => end = stderr.trim() || `exit ${exitCode}`);
  const deadline = Date.now() + PATIENCE;
  while (!await takes(socket)) {
    if (end !== undefined) throw new Error(end);
    if (Date.now() > deadline) throw new Error("kubectl proxy did not start to listen");
    await sleep(20);
  }
}

/** Whether somebody listens: the file of a socket is there a moment earlier. */
async function takes(socket: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path: socket })).close();
    return true;
  } catch {
    return false;
  }
}

function unreachable(cluster: Cluster, cause: unknown): DeployError {
  return new DeployError(`Cannot reach the Services of ${cluster.id} through its API server`, {
    exitCode: ExitCode.unreachable,
    where: messageOf(cause),
    fix: `kubectl --context ${text(cluster, "KUBE_CONTEXT")} get --raw /readyz`,
    cause,
  });
}

/** JSON that a Service answers. Throws exit 8 with status and text when it is an error or no JSON. */
export async function readJson<T>(
  proxy: ClusterProxy,
  service: ServicePort,
  path: string,
  init?: RequestInit,
): Promise<T> {
  const response = await proxy.fetch(service, path, init);
  const body = await response.text();
  if (response.ok) {
    try {
      return JSON.parse(body);
    } catch {
      // A page in place of an answer is as wrong as an error.
    }
  }
  const { namespace, name } = service;
  throw new DeployError(`Cannot read ${path} of ${name}`, {
    exitCode: ExitCode.service,
    where: `${response.status} ${body.trim().slice(0, 300)}`,
    fix: `kubectl -n ${namespace} get pods,endpointslices -l kubernetes.io/service-name=${name}`,
  });
}

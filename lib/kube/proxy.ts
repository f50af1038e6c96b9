// A way to the API server of a cluster: `kubectl proxy`, on a socket that nobody else can reach.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ProcessPromise } from "zx";
import type { Cluster } from "../core/cluster.ts";
import { temporaryFolder } from "../io/files.ts";
import { startKubectl } from "./kubectl.ts";

/** Longest wait for it to listen, in ms. */
const PATIENCE = 60_000;

/** An API server, with the rights of the cluster's context. */
export interface Way extends AsyncDisposable {
  /** As the global fetch, of a `path` like `/api/v1/nodes`; what kubectl says when it is cut off is its own answer (502). */
  fetch(path: string, init?: RequestInit): Promise<Response>;
}

/**
 * Opens the way. It is a unix socket in a folder of ours alone, because a port would give every local user this
 * context's rights.
 * @throws {Error} with kubectl's words when it does not start.
 */
export async function openWay(cluster: Cluster): Promise<Way> {
  const folder = await temporaryFolder("proxy-");
  const socket = join(folder, "s");
  const running = startKubectl(["proxy", `--unix-socket=${socket}`], cluster, folder);
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
    throw error;
  }
  return {
    fetch: (path, init = {}) => fetch(`http://localhost${path}`, { ...init, client }),
    [Symbol.asyncDispose]: close,
  };
}

async function listening(socket: string, running: ProcessPromise): Promise<void> {
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

// A way to the API server of a cluster: `kubectl proxy`, on a socket that nobody else can reach.
import { Buffer } from "node:buffer";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { ProcessPromise } from "zx";
import type { Cluster } from "../core/cluster.ts";
import { DeployError, prerequisiteError } from "../core/error.ts";
import { temporaryFolder } from "../io/files.ts";
import { kubeconfigMark, startKubectl } from "./kubectl.ts";
import { NO_KUBECTL } from "./kubectl_error.ts";

/** Longest waits in ms: for it to listen, and for its end and that of what it has started. */
const PATIENCE = 60_000, LONGEST_END = 2000;

/** Bytes of a socket's path that every system takes. */
const LONGEST = 103;

/** A unix socket in a folder of ours alone: a port would give every local user this context's rights. */
async function openWay(cluster: Cluster, signal: AbortSignal) {
  await using parts = new AsyncDisposableStack();
  const folder = await temporaryFolder("proxy-");
  parts.defer(() => rm(folder, { recursive: true, force: true }));
  const socket = join(folder, "s");
  // The system would say "invalid argument".
  if (Buffer.byteLength(socket) > LONGEST) {
    throw prerequisiteError(`Cannot make the socket "${socket}"`, {
      where: `its path is longer than ${LONGEST} bytes`,
      fix: "set TMPDIR to a folder with a shorter path",
    });
  }
  // Of a server below a path (behind Rancher) kubectl goes by that path everywhere but here.
  const words = ["proxy", "--append-server-path", `--unix-socket=${socket}`];
  const running = startKubectl(words, cluster, folder);
  parts.defer(async () => {
    running.stdin.end();
    const timer = setTimeout(endGroup, LONGEST_END, running);
    await running;
    clearTimeout(timer);
  });
  await listening(socket, running, signal);
  const client = parts.use(Deno.createHttpClient({ proxy: { transport: "unix", path: socket } }));
  return Object.assign(parts.move(), {
    /** As the global fetch, of a `path` like `/api/v1/nodes`; cut off, kubectl's words are its own answer (502). */
    fetch: (path: string, init: RequestInit = {}) =>
      fetch(`http://localhost${path}`, { ...init, client }),
    /** kubectl has ended, of itself or because the way was closed. */
    ended: running.then(() => {}),
  });
}

function endGroup({ pid }: ProcessPromise): void {
  try {
    process.kill(-pid!, "SIGKILL");
  } catch {
    // They have just ended.
  }
}

/** A way that several use: the last of them closes it, of whom one is who keeps it. */
interface Shared {
  way: ReturnType<typeof openWay>;
  users: number;
  mark: string; // of the kubeconfig that it goes by
  cut: AbortController; // ends the wait for it
}

type Kept = { keepers: number; shared?: Shared };

/** Clusters (ids) whose way is kept: by how many, and the one that is open. */
const kept = new Map<string, Kept>();

/** Until the result is disposed all that goes to this cluster takes one way, which the first of it opens. */
export function keepWay({ id }: Cluster): AsyncDisposable {
  const one = kept.getOrInsertComputed(id, () => ({ keepers: 0 }));
  one.keepers += 1;
  return {
    async [Symbol.asyncDispose]() {
      one.keepers -= 1;
      if (one.keepers > 0) return;
      kept.delete(id);
      await drop(one);
    },
  };
}

/** Whether somebody keeps the way to this cluster: to take it starts no kubectl, unless that is the first one. */
export function isWayKept({ id }: Cluster): boolean {
  return kept.has(id);
}

/** The way that is kept, else one kept for this use. @throws {DeployError} exit 3, {Error} in kubectl's words. */
export async function takeWay(cluster: Cluster, signal?: AbortSignal) {
  const mark = await kubeconfigMark(cluster);
  await using use = new AsyncDisposableStack();
  use.use(keepWay(cluster));
  const one = kept.get(cluster.id)!;
  if (one.shared?.mark !== mark) drop(one);
  const isNew = one.shared === undefined;
  const shared = one.shared ??= share(cluster, one, mark);
  shared.users += 1;
  use.defer(() => leave(shared));
  const way = await untilCut(shared.way, signal).catch((error) => {
    drop(one, shared);
    throw error;
  });
  return Object.assign(use.move(), {
    fetch: way.fetch,
    /** Opened by this very use: what it knows of the kubeconfig and its keys is of this moment. */
    isNew,
    /** It leads nowhere: whoever comes next opens another. */
    drop: () => drop(one, shared),
  });
}

function share(cluster: Cluster, one: Kept, mark: string): Shared {
  const cut = new AbortController();
  const shared = { way: openWay(cluster, cut.signal), users: 1, mark, cut };
  shared.way.then(({ ended }) => ended.then(() => drop(one, shared)), () => {});
  return shared;
}

/** Nobody takes this one any more; who has it keeps it. */
async function drop(one: Kept, shared = one.shared): Promise<void> {
  if (!shared || one.shared !== shared) return;
  one.shared = undefined;
  await leave(shared);
}

async function leave(shared: Shared): Promise<void> {
  shared.users -= 1;
  if (shared.users > 0) return;
  shared.cut.abort();
  await shared.way.then((way) => way[Symbol.asyncDispose]()).catch(() => {});
}

/** What several wait for is not ended by the signal of one of them. */
async function untilCut<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  signal?.throwIfAborted();
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const end = () => reject(signal!.reason);
  // A listener keeps the signal's timer, and with it the process, alive.
  signal?.addEventListener("abort", end);
  return await Promise.race([work, cut]).finally(() => signal?.removeEventListener("abort", end));
}

async function listening(socket: string, running: ProcessPromise, signal: AbortSignal) {
  let end: Error | undefined;
  running.then(({ stderr, exitCode }) => {
    end = exitCode === 127
      ? new DeployError("Cannot start kubectl proxy", NO_KUBECTL)
      : new Error(stderr.trim() || `exit ${exitCode}`);
  });
  const deadline = Date.now() + PATIENCE;
  while (!await takes(socket)) {
    if (end) throw end;
    signal.throwIfAborted();
    if (Date.now() > deadline) {
      throw new Error(`no answer within ${PATIENCE / 1000} s: kubectl proxy does not listen`);
    }
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

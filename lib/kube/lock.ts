// One deploy at a time per cluster, from whatever machine: a Lease in kube-system names its holder.
import { hostname, userInfo } from "node:os";
import process from "node:process";
import { $ } from "zx";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { hold, interruptOn } from "../io/interrupt.ts";
import { kubectl } from "./kubectl.ts";
import { KubectlError } from "./kubectl_error.ts";
import { hashOf } from "../core/hash.ts";
import { type Manifest, OWNER } from "../core/object.ts";
import { isTransient, retried } from "./retry.ts";

const NAMESPACE = "kube-system";
/** Seconds after which a holder that has told nothing more counts as gone. */
const EXPIRY = 900;
const RENEWAL = 300;

export interface LockOptions {
  /** Take it from whoever holds it. */
  steal?: boolean;
  /** Told of a run before that did not end well. */
  say?: (text: string) => void;
}

/**
 * Takes the lock of a cluster until the result is disposed; `lease` is what was there a moment ago, and only
 * that very state is replaced. One whose holder has died (a process of this
 * machine that is gone, or no sign of life for 15 minutes) is taken over.
 * @throws {DeployError} exit 10 when another run holds it.
 */
export async function lock(
  cluster: Cluster,
  lease: Manifest | undefined,
  { steal = false, say = () => {} }: LockOptions = {},
): Promise<AsyncDisposable> {
  const me = `${userInfo().username}@${hostname()}/${process.pid}/${
    startOf(process.pid)
  }/${machine()}`;
  let tries = 0;
  await retried(async () => {
    const found = tries++ === 0 ? lease : await read(cluster);
    // Taken by a try before this one, whose answer was lost.
    if (found?.spec.holderIdentity === me) return;
    refuseHeld(cluster, found, steal, say);
    await write(cluster, leaseOf(me, found?.metadata.resourceVersion));
  });
  const holding = hold();
  const timer = setInterval(() => {
    retried(() => swap(cluster, me, "renewTime", now())).catch((error) => {
      // There is time for two renewals more before anybody takes it.
      if (isTransient(error)) return;
      interruptOn(cluster.id, "its lock went to another run", ExitCode.locked);
    });
  }, RENEWAL * 1000);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      // Stolen or unreachable: either way there is nothing more for us to give back.
      await retried(() => swap(cluster, me, "holderIdentity", ""), 10).catch(() => {});
      holding[Symbol.dispose]();
    },
  };
}

/** Who holds this Lease, if it is held by a run that may still be alive. */
export function holderOf(lease?: Manifest): string | undefined {
  const holder = lease?.spec.holderIdentity;
  return holder && !isDead(lease) ? holder : undefined;
}

function refuseHeld(
  cluster: Cluster,
  lease: Manifest | undefined,
  steal: boolean,
  say: (text: string) => void,
): void {
  const holder = lease?.spec.holderIdentity;
  if (!holder) return;
  const since = `since ${lease.spec.acquireTime}`;
  if (steal) say(`the lock is taken from ${nameOf(holder)}, who had it ${since}`);
  else if (isDead(lease)) {
    say(`the run of ${nameOf(holder)} ${since} did not finish; this one goes on`);
  } else throw held(cluster, holder, since);
}

async function read(cluster: Cluster): Promise<Manifest | undefined> {
  const words = ["get", "lease", OWNER, "--namespace", NAMESPACE, "--ignore-not-found"];
  const answer = await kubectl([...words, "--output", "json"], { cluster });
  return answer.trim() ? JSON.parse(answer) : undefined;
}

/** With a `resourceVersion` it replaces that very state of the Lease, else there must be none. */
function leaseOf(holderIdentity: string, resourceVersion?: string): Manifest {
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: OWNER, namespace: NAMESPACE, ...resourceVersion ? { resourceVersion } : {} },
    spec: {
      holderIdentity,
      leaseDurationSeconds: EXPIRY,
      acquireTime: now(),
      renewTime: now(),
    },
  };
}

/** The time as a Lease has it, in microseconds. */
function now(): string {
  return new Date().toISOString().replace("Z", "000Z");
}

async function write(cluster: Cluster, object: Manifest): Promise<void> {
  const verb = object.metadata.resourceVersion ? "replace" : "create";
  const input = JSON.stringify(object);
  try {
    // Its schema is the same everywhere, and reading it first would be a call of its own.
    await kubectl([verb, "--validate=false", "--filename", "-"], { cluster, input });
  } catch (error) {
    // Another run was quicker by a moment.
    const lost = error instanceof KubectlError && /AlreadyExists|Conflict/.test(error.stderr);
    if (!lost) throw error;
    throw held(cluster, "another run", "since this moment");
  }
}

/** Changes one field while the lock is ours. */
async function swap(cluster: Cluster, me: string, field: string, value: string): Promise<void> {
  const patch = JSON.stringify([
    { op: "test", path: "/spec/holderIdentity", value: me },
    { op: "replace", path: `/spec/${field}`, value },
  ]);
  const words = ["patch", "lease", OWNER, "--namespace", NAMESPACE, "--type=json"];
  await kubectl([...words, "--patch", patch], { cluster, afterInterrupt: true });
}

function isDead({ spec }: Manifest): boolean {
  const [, pid, start, where] = /\/(\d+)\/(\d+)\/(\w+)$/.exec(spec.holderIdentity) ?? [];
  // Of another machine, whatever its name, its own sign of life counts.
  if (where === machine() && startOf(Number(pid)) !== start) return true;
  return Date.parse(spec.renewTime) + spec.leaseDurationSeconds * 1000 < Date.now();
}

let here: string | undefined;

/** This machine since its last start, and the part of it that sees our processes: no name tells them apart. */
function machine(): string {
  const files = "/etc/machine-id /proc/sys/kernel/random/boot_id";
  return here ??= hashOf([told(`cat ${files}; readlink /proc/self/ns/pid`), hostname()]).slice(
    0,
    12,
  );
}

/** When a process began, in ticks since the machine did: a number may be given twice. "0": not known, or gone. */
function startOf(pid: number): string {
  // The name of the program, in brackets, may hold anything.
  return told(`cat /proc/${pid}/stat`).split(") ").at(-1)?.split(" ")[19] ?? "0";
}

/** What a shell says; Deno itself reads nothing of /proc. */
function told(line: string): string {
  return $({ sync: true, quiet: true, nothrow: true })`sh -c ${line}`.stdout.trim();
}

/** The holder as people read it. */
function nameOf(holder: string): string {
  return holder.replace(/\/\d+\/\w+$/, "");
}

function held(cluster: Cluster, holder: string, since: string): DeployError {
  return new DeployError(`Cannot deploy to ${text(cluster, "CLUSTER_NAME")}: another run does`, {
    exitCode: ExitCode.locked,
    where: `held by ${nameOf(holder)}, ${since}`,
    fix: "wait for it; or, if that run is surely gone, add ARGS=--steal-lock",
  });
}

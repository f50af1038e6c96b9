// One deploy at a time per cluster, from whatever machine: a Lease in kube-system names its holder.
import { setInterval } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { hold, interruptOn, refuseInterrupted } from "../io/interrupt.ts";
import { isRunningHere, LONGEST_UNTIED, me, nameOf } from "./process.ts";
import { kubectl } from "./kubectl.ts";
import { isTransient, KubectlError, retried } from "./kubectl_error.ts";
import { type Manifest, OWNER } from "../core/object.ts";
import { fences } from "./turns.ts";

const NAMESPACE = "kube-system";
// A run that cannot renew begins nothing after two thirds of this; the calls of a dead one end within a third.
/** Seconds that a renewal is good for, and after which a run that cannot be seen counts as gone. */
const DURATION = 3 * LONGEST_UNTIED;
/** Renewals in that time: another run sees a living one that soon. */
const RENEWALS = 6;
const SILENT = "no answer within a minute to the renewal of its lock";
/** Seconds for an answer about the lock, which is also given back when the run is to end. */
const ANSWER = 10, ASKED = { seconds: ANSWER, afterInterrupt: true };

interface LockOptions {
  steal?: boolean; // take it from whoever holds it
  patience?: number; // seconds to wait for another run; default: until it gives a sign of life
  say?: (text: string) => void; // told of a run before that did not end well, and of a wait
  duration?: number; // seconds that a renewal is good for (90)
}

/**
 * Takes the lock of a cluster until disposed, in place of `lease` as it was a moment ago: at once that of a process of
 * this machine that is gone, else one that nobody touched for its time while we watched (no clock but ours counts).
 * `hasWaited`: what was read before may be true no longer. @throws {DeployError} exit 10 when another run holds it.
 */
export async function lock(cluster: Cluster, lease?: Manifest, options: LockOptions = {}) {
  const { duration = DURATION } = options;
  let isOurs = true, tries = 0;
  let { time: renewed, hasWaited } = await retried(async () => {
    const found = tries++ === 0 ? lease : await read(cluster);
    return await take(cluster, found, options);
  });
  const renew = async () => {
    const begun = Date.now();
    try {
      await swap(cluster, "renewTime", now());
      renewed = begun;
    } catch (error) {
      if (isTransient(error) || !isOurs) throw error;
      if ((await read(cluster))?.spec.holderIdentity !== me()) {
        isOurs = false;
        interruptOn(cluster.id, "its lock went to another run", ExitCode.locked);
        refuseInterrupted(cluster.id);
      }
      throw error;
    }
  };
  const isOld = () => Date.now() > renewed + duration * 1000 * 2 / 3;
  const held = new AsyncDisposableStack();
  held.use(hold());
  held.defer(async () => {
    if (!isOurs) return;
    isOurs = false;
    // Stolen or unreachable: either way there is nothing more for us to give back.
    await retried(() => swap(cluster, "holderIdentity", ""), ANSWER).catch(() => {});
  });
  const begin = () => isOld() ? renew() : Promise.resolve();
  held.defer(() => void fences.delete(cluster.id));
  fences.set(cluster.id, { begin, over: () => !isOurs || isOld() ? SILENT : undefined });
  // One that fails is made up for by the next, or by the call that needs it.
  held.use(setInterval(() => void renew().catch(() => {}), duration * 1000 / RENEWALS));
  return Object.assign(held, { hasWaited });
}

/** Who holds this Lease, if it is held by a run that may still be alive: of one elsewhere its clock tells. */
export function holderOf(lease?: Manifest): string | undefined {
  const { holderIdentity, renewTime, leaseDurationSeconds } = lease?.spec ?? {};
  if (!holderIdentity) return undefined;
  const isRecent = Date.parse(renewTime) + leaseDurationSeconds * 1000 > Date.now();
  return isRunningHere(holderIdentity) ?? isRecent ? holderIdentity : undefined;
}

async function take(cluster: Cluster, found: Manifest | undefined, options: LockOptions) {
  const { steal = false, patience, say = () => {}, duration = DURATION } = options;
  const begun = Date.now();
  let still = begun, isAlive = false, hasWaited = false;
  for (;;) {
    refuseInterrupted(cluster.id);
    const time = Date.now();
    const spec = found?.spec ?? {};
    const { holderIdentity: holder, acquireTime, leaseDurationSeconds = duration } = spec;
    // Taken by a try before this one, whose answer was lost.
    if (holder === me()) {
      await swap(cluster, "renewTime", now());
      return { time, hasWaited };
    }
    let who = holder && `${nameOf(holder)} since ${acquireTime}`;
    const isGone = isRunningHere(holder) === false || time >= still + leaseDurationSeconds * 1000;
    if (!holder || steal || isGone) {
      const gone = `the run of ${who} did not finish; this one goes on`;
      if (holder) say(steal ? `the lock is taken from ${who}` : gone);
      if (await write(cluster, duration, found)) return { time, hasWaited };
      [isAlive, who] = [true, "another run since this moment"];
    }
    isAlive ||= isRunningHere(holder) === true;
    if (patience === undefined ? isAlive : time >= begun + patience * 1000) {
      throw new DeployError(`Cannot deploy to ${text(cluster, "CLUSTER_NAME")}: another run does`, {
        exitCode: ExitCode.locked,
        where: `held by ${who}`,
        fix: "wait for it; or, if that run is surely gone, add ARGS=--steal-lock",
      });
    }
    const wait = `when that run gives no sign of life for ${leaseDurationSeconds} s`;
    const told = `the run of ${who} has the lock; it is taken over ${wait}`;
    if (!hasWaited) say(`${told} (ARGS=--steal-lock: at once)`);
    hasWaited = true;
    await sleep(Math.min(3000, leaseDurationSeconds * 100));
    const before = found?.metadata.resourceVersion;
    found = await read(cluster);
    if (found?.metadata.resourceVersion === before) continue;
    [still, isAlive] = [Date.now(), true];
  }
}

async function read(cluster: Cluster): Promise<Manifest | undefined> {
  const words = ["get", "lease", OWNER, "--namespace", NAMESPACE, "--ignore-not-found"];
  const answer = await kubectl([...words, "--output", "json"], { cluster, ...ASKED });
  return answer.trim() ? JSON.parse(answer) : undefined;
}

// As a Lease has it: in microseconds.
function now(): string {
  return new Date().toISOString().replace("Z", "000Z");
}

/** Makes it ours in place of that very state `before`, else of none; false: another run was quicker by a moment. */
async function write(cluster: Cluster, duration: number, before?: Manifest): Promise<boolean> {
  const resourceVersion = before?.metadata.resourceVersion, time = now();
  const times = { leaseDurationSeconds: duration, acquireTime: time, renewTime: time };
  const input = JSON.stringify({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: OWNER, namespace: NAMESPACE, resourceVersion },
    spec: { holderIdentity: me(), ...times },
  });
  // Its schema is the same everywhere, and reading it first would be a call of its own.
  const words = [resourceVersion ? "replace" : "create", "--validate=false", "--filename", "-"];
  try {
    await kubectl(words, { cluster, input, seconds: ANSWER });
    return true;
  } catch (error) {
    if (error instanceof KubectlError && /AlreadyExists|Conflict/.test(error.stderr)) return false;
    throw error;
  }
}

async function swap(cluster: Cluster, field: string, value: string): Promise<void> {
  const patch = JSON.stringify([
    { op: "test", path: "/spec/holderIdentity", value: me() },
    { op: "replace", path: `/spec/${field}`, value },
  ]);
  const words = ["patch", "lease", OWNER, "--namespace", NAMESPACE, "--type=json"];
  await kubectl([...words, "--patch", patch], { cluster, ...ASKED });
}

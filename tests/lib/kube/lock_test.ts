// lib/kube/lock.ts: one deploy at a time per cluster.
import assert from "node:assert/strict";
import { hostname } from "node:os";
import process from "node:process";
import type { DeployError } from "../../../lib/core/error.ts";
import { interruptOn } from "../../../lib/io/interrupt.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { lock } from "../../../lib/kube/lock.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, FREE, type Reply } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });

/** As the guard has read it. */
function heldBy(holderIdentity: string, age = 10): Manifest {
  const time = new Date(Date.now() - age * 1000).toISOString().replace("Z", "000Z");
  const spec = { holderIdentity, leaseDurationSeconds: 900, acquireTime: time, renewTime: time };
  const metadata = { name: "thanos-multi-cluster", resourceVersion: "7" };
  return { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
}

const REST: Reply[] = [{ on: "replace --validate=false --filename -" }, { on: "patch lease " }];

Deno.test("lock() names its holder, and gives the Lease back only while it is still its own", async () => {
  const calls = await fakeKubectl(FREE);
  {
    await using _held = await lock(cluster, undefined);
  }
  const [create, release] = await calls();
  const { spec, metadata } = JSON.parse(create!.stdin);
  assert.equal(metadata.namespace, "kube-system");
  assert.match(spec.holderIdentity, new RegExp(`@${hostname()}/${process.pid}/[1-9]\\d*/\\w{12}$`));
  assert.match(release!.args, new RegExp(`"op":"test".*${hostname()}/${process.pid}/.*"value":""`));
});

Deno.test("A47: lock() refuses (10) while another run holds the cluster, with its name and the way out", async () => {
  const calls = await fakeKubectl([]);
  await assert.rejects(lock(cluster, heldBy("kim@other-host/12")), (error: DeployError) => {
    assert.equal(error.exitCode, 10);
    assert.match(error.where.join(), /held by kim@other-host\/12, since 2/);
    assert.match(error.fix!, /--steal-lock/);
    return true;
  });
  assert.deepEqual(await calls(), [], "nothing is written");
});

Deno.test("A47: lock() with steal takes it, and says from whom", async () => {
  const calls = await fakeKubectl(REST);
  const said: string[] = [];
  const say = (text: string) => said.push(text);
  await using _held = await lock(cluster, heldBy("kim@other-host/12"), { steal: true, say });
  assert.match(said.join(), /taken from kim@other-host\/12/);
  // Of this very state: somebody quicker would win.
  assert.equal(JSON.parse((await calls())[0]!.stdin).metadata.resourceVersion, "7");
});

Deno.test("A47: lock() loses to a run that was quicker by a moment", async () => {
  const stderr = 'Error from server (Conflict): Operation cannot be fulfilled on leases "x"';
  await fakeKubectl([{ on: "replace", stderr, code: 1 }]);
  await assert.rejects(lock(cluster, heldBy("")), { exitCode: 10 });
});

/** Our own name, as a run writes it, with another process. */
async function identity(pid: number, start?: string): Promise<string> {
  const calls = await fakeKubectl(FREE);
  {
    await using _held = await lock(cluster, undefined);
  }
  const { spec } = JSON.parse((await calls())[0]!.stdin);
  const [user, , began, where] = spec.holderIdentity.split("/");
  return [user, pid, start ?? began, where].join("/");
}

const DEAD: [what: string, lease: Manifest][] = [
  ["whose process is gone from this machine", heldBy(await identity(999999999))],
  ["whose number another process has by now", heldBy(await identity(process.pid, "1"))],
  ["that has given no sign of life for longer than its Lease", heldBy("kim@other-host/12", 901)],
];

for (const [what, lease] of DEAD) {
  Deno.test(`A46: lock() goes on after a run ${what}`, async () => {
    await fakeKubectl(REST);
    const said: string[] = [];
    await using _held = await lock(cluster, lease, { say: (text) => said.push(text) });
    assert.match(said.join(), /the run of \S+@\S+\/?\d* since .* did not finish; this one goes on/);
  });
}

Deno.test("E13: lock() does not believe the name of a machine: another one of that name is alive", async () => {
  await fakeKubectl(REST);
  const own = await identity(999999999);
  const other = own.replace(/\w{12}$/, "0123456789ab");
  for (const holder of [other, `kim@${hostname()}/999999999`]) {
    await fakeKubectl(REST);
    await assert.rejects(lock(cluster, heldBy(holder)), { exitCode: 10 }, holder);
  }
});

Deno.test("E12: a lock that was lost ends the run on its own cluster, and no other", async () => {
  await fakeKubectl([{ on: "." }]);
  interruptOn("198", "its lock went to another run", 10);
  const lost = await fixtureCluster("198", { KUBECONFIG_FILE: "kubeconfig" });
  await assert.rejects(kubectl(["apply"], { cluster: lost }), {
    message: "Interrupted: its lock went to another run",
    exitCode: 10,
  });
  await kubectl(["apply"], { cluster });
});

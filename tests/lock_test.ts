// lib/lock.ts: one deploy at a time per cluster.
import assert from "node:assert/strict";
import { hostname } from "node:os";
import process from "node:process";
import type { DeployError } from "../lib/error.ts";
import { lock } from "../lib/lock.ts";
import { fixtureCluster } from "./cluster_fixture.ts";
import { fakeKubectl, FREE, type Reply } from "./fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });

function heldBy(holderIdentity: string, age = 10): Reply {
  const time = new Date(Date.now() - age * 1000).toISOString().replace("Z", "000Z");
  const spec = { holderIdentity, leaseDurationSeconds: 900, acquireTime: time, renewTime: time };
  return { on: "get lease ", stdout: JSON.stringify({ metadata: { resourceVersion: "7" }, spec }) };
}

const REST: Reply[] = [{ on: "replace --validate=false --filename -" }, { on: "patch lease " }];

Deno.test("lock() names its holder, and gives the Lease back only while it is still its own", async () => {
  const calls = await fakeKubectl(FREE);
  {
    await using _held = await lock(cluster);
  }
  const [, create, release] = await calls();
  const { spec, metadata } = JSON.parse(create!.stdin);
  assert.equal(metadata.namespace, "kube-system");
  assert.match(spec.holderIdentity, new RegExp(`@${hostname()}/${process.pid}$`));
  assert.match(release!.args, new RegExp(`"op":"test".*${hostname()}/${process.pid}.*"value":""`));
});

Deno.test("A47: lock() refuses (10) while another run holds the cluster, with its name and the way out", async () => {
  const calls = await fakeKubectl([heldBy("kim@other-host/12")]);
  await assert.rejects(lock(cluster), (error: DeployError) => {
    assert.equal(error.exitCode, 10);
    assert.match(error.where.join(), /held by kim@other-host\/12, since 2/);
    assert.match(error.fix!, /--steal-lock/);
    return true;
  });
  assert.equal((await calls()).length, 1, "nothing is written");
});

Deno.test("A47: lock() with steal takes it, and says from whom", async () => {
  const calls = await fakeKubectl([heldBy("kim@other-host/12"), ...REST]);
  const said: string[] = [];
  await using _held = await lock(cluster, { steal: true, say: (text) => said.push(text) });
  assert.match(said.join(), /taken from kim@other-host\/12/);
  // Of this very state: somebody quicker would win.
  assert.equal(JSON.parse((await calls())[1]!.stdin).metadata.resourceVersion, "7");
});

Deno.test("A47: lock() loses to a run that was quicker by a moment", async () => {
  const stderr = 'Error from server (Conflict): Operation cannot be fulfilled on leases "x"';
  await fakeKubectl([heldBy(""), { on: "replace", stderr, code: 1 }]);
  await assert.rejects(lock(cluster), { exitCode: 10 });
});

const DEAD: [what: string, reply: Reply][] = [
  ["whose process is gone from this machine", heldBy(`kim@${hostname()}/999999999`)],
  ["that has given no sign of life for longer than its Lease", heldBy("kim@other-host/12", 901)],
];

for (const [what, reply] of DEAD) {
  Deno.test(`A46: lock() goes on after a run ${what}`, async () => {
    await fakeKubectl([reply, ...REST]);
    const said: string[] = [];
    await using _held = await lock(cluster, { say: (text) => said.push(text) });
    assert.match(said.join(), /the run of kim@.* did not finish; this one goes on/);
  });
}

// lib/kube/lock.ts: one deploy at a time per cluster.
import assert from "node:assert/strict";
import { hostname } from "node:os";
import process from "node:process";
import type { DeployError } from "../../../lib/core/error.ts";
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
  assert.match(spec.holderIdentity, new RegExp(`@${hostname()}/${process.pid}$`));
  assert.match(release!.args, new RegExp(`"op":"test".*${hostname()}/${process.pid}.*"value":""`));
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

const DEAD: [what: string, lease: Manifest][] = [
  ["whose process is gone from this machine", heldBy(`kim@${hostname()}/999999999`)],
  ["that has given no sign of life for longer than its Lease", heldBy("kim@other-host/12", 901)],
];

for (const [what, lease] of DEAD) {
  Deno.test(`A46: lock() goes on after a run ${what}`, async () => {
    await fakeKubectl(REST);
    const said: string[] = [];
    await using _held = await lock(cluster, lease, { say: (text) => said.push(text) });
    assert.match(said.join(), /the run of kim@.* did not finish; this one goes on/);
  });
}

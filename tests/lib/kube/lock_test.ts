// lib/kube/lock.ts: one deploy at a time per cluster.
import assert from "node:assert/strict";
import { hostname } from "node:os";
import process from "node:process";
import type { Cluster } from "../../../lib/core/cluster.ts";
import type { DeployError } from "../../../lib/core/error.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { lock } from "../../../lib/kube/lock.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { type Call, fakeKubectl, FREE, type Reply } from "../../support/fake_kubectl.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });

/** As the guard has read it; `age` and `duration` in seconds. */
function heldBy(
  holderIdentity: string,
  { age = 10, duration = 900, version = "7" }: {
    age?: number;
    duration?: number;
    version?: string;
  } = {},
): Manifest {
  const time = new Date(Date.now() - age * 1000).toISOString().replace("Z", "000Z");
  const times = { leaseDurationSeconds: duration, acquireTime: time, renewTime: time };
  const metadata = { name: "thanos-multi-cluster", resourceVersion: version };
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata,
    spec: { holderIdentity, ...times },
  };
}

/** What is there each time that somebody looks; the last of them for ever. */
function looks(...leases: Manifest[]): Reply[] {
  return leases.map((lease, index) => ({
    on: "get lease ",
    stdout: JSON.stringify(lease),
    ...(index < leases.length - 1 ? { times: 1 } : {}),
  }));
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
  assert.match(
    spec.holderIdentity,
    new RegExp(`@${hostname()}/${process.pid}/[1-9]\\d*/\\w{12}/\\w{8}$`),
  );
  assert.equal(spec.leaseDurationSeconds, 90);
  assert.match(release!.args, new RegExp(`"op":"test".*${hostname()}/${process.pid}/.*"value":""`));
});

Deno.test("A47: lock() refuses (10) while another run holds the cluster, with its name and the way out", async () => {
  const calls = await fakeKubectl([]);
  const holder = await identity(process.pid);
  await assert.rejects(lock(cluster, heldBy(holder)), (error: DeployError) => {
    assert.equal(error.exitCode, 10);
    assert.match(
      error.where.join(),
      new RegExp(`held by \\S+@${hostname()}/${process.pid} since 2`),
    );
    assert.match(error.fix!, /--steal-lock/);
    return true;
  });
  assert.deepEqual(await calls(), [], "nothing is asked, nothing is written");
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

/** A name as a run on this machine writes it, of another process or another run. */
async function identity(pid: number, start?: string): Promise<string> {
  const calls = await fakeKubectl(FREE);
  {
    await using _held = await lock(cluster, undefined);
  }
  const { spec } = JSON.parse((await calls())[0]!.stdin);
  const [user, , began, where] = spec.holderIdentity.split("/");
  return [user, pid, start ?? began, where, "00000000"].join("/");
}

const DEAD: [what: string, holder: string][] = [
  ["whose process is gone from this machine", await identity(999999999)],
  ["whose number another process has by now", await identity(process.pid, "1")],
];

for (const [what, holder] of DEAD) {
  Deno.test(`A46: lock() goes on at once after a run ${what}`, async () => {
    // The revision before wrote no number of the run.
    for (const name of [holder, holder.replace(/\/\w+$/, "")]) {
      const calls = await fakeKubectl(REST);
      const said: string[] = [];
      await using _held = await lock(cluster, heldBy(name), { say: (text) => said.push(text) });
      assert.match(
        said.join(),
        /^the run of \S+@[^/]+\/\d+ since .* did not finish; this one goes on$/,
      );
      assert.equal((await calls()).length, 1);
    }
  });
}

Deno.test("E13: lock() knows a process that has ended and that its parent has not asked about as gone", async () => {
  // Its parent, which was a shell before, never asks.
  const parent = new Deno.Command("sh", {
    args: ["-c", "sleep 0.1 & echo $!; exec sleep 60"],
    stdout: "piped",
  }).spawn();
  const { value } = await parent.stdout.getReader().read();
  const pid = Number(new TextDecoder().decode(value));
  let stat = "";
  while (!stat.includes(") Z ")) stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  await fakeKubectl(REST);
  const holder = await identity(pid, stat.split(") ")[1]!.split(" ")[19]);
  await fakeKubectl(REST);
  {
    await using _held = await lock(cluster, heldBy(holder));
  }
  parent.kill();
  await parent.status;
});

/** Of a run that cannot be seen from here, whatever the name of its machine. */
const ELSEWHERE = [
  (await identity(999999999)).replace(/\w{12}\/\w+$/, "0123456789ab/00000000"),
  `kim@${hostname()}/999999999`,
  `kim@${hostname()}/999999999/88//00000000`,
];

for (const holder of ELSEWHERE) {
  Deno.test(`E13: lock() watches the Lease of ${holder} for the time that it was made for, and no clock of others counts`, async () => {
    for (const age of [86_400, -86_400]) {
      const lease = heldBy(holder, { age, duration: 1 });
      const calls = await fakeKubectl([...REST, ...looks(lease)]);
      const said: string[] = [];
      const begun = Date.now();
      await using _held = await lock(cluster, lease, { say: (text) => said.push(text) });
      const seconds = (Date.now() - begun) / 1000;
      assert.ok(seconds >= 1, `after ${seconds} s`);
      assert.match(said[0]!, /^the run of kim@\S+|\S+ since .* has the lock; .* life for 1 s \(/);
      assert.match(said[1]!, /did not finish; this one goes on/);
      // Of that very state: a renewal in this moment would win.
      const written = (await calls()).find(({ args }) => args.includes("replace"))!;
      assert.equal(JSON.parse(written.stdin).metadata.resourceVersion, "7");
    }
  });

  Deno.test(`E13: lock() refuses (10) at the first renewal of ${holder}`, async () => {
    // A clock that is a day late, or early.
    for (const age of [86_400, -86_400]) {
      const old = heldBy(holder, { age, duration: 2 });
      const calls = await fakeKubectl(looks(old, heldBy(holder, { age, version: "8" })));
      await assert.rejects(lock(cluster, old), { exitCode: 10 });
      assert.ok((await calls()).every(({ args }) => args.includes(" get lease ")));
    }
  });
}

Deno.test("E13: lock() takes at once what another run gives back while it is watched", async () => {
  const old = heldBy("kim@other-host/12", { duration: 90 });
  await fakeKubectl([...looks(old, heldBy("", { version: "8" })), ...REST]);
  const begun = Date.now();
  await using _held = await lock(cluster, old);
  assert.ok(Date.now() - begun < 60_000);
});

Deno.test("E13: lock() with patience waits for a living run, and then refuses all the same", async () => {
  const versions = Array.from({ length: 60 }, (_, n) => String(n + 10));
  const leases = versions.map((version) => heldBy("kim@other-host/12", { duration: 2, version }));
  await fakeKubectl(looks(...leases));
  const begun = Date.now();
  await assert.rejects(lock(cluster, leases[0], { patience: 1.5 }), { exitCode: 10 });
  assert.ok(Date.now() - begun >= 1500);
});

const [one, two] = await Promise.all(
  ["196", "197"].map((id) => fixtureCluster(id, { KUBECONFIG_FILE: "kubeconfig" })),
) as [Cluster, Cluster];
const AWAY: Reply = {
  on: "mkube-197 patch lease .*renewTime",
  stderr: "The connection to the server 10.0.0.1:8443 was refused",
  code: 1,
};

Deno.test("E12: a lock that cannot be renewed ends calls on its own cluster alone, until it can be again", async () => {
  const rest = [{ on: "mkube-197 apply", delay: 60 }, { on: "." }];
  const calls = await fakeKubectl([AWAY, ...rest]);
  await using _one = await lock(one, undefined, { duration: 9 });
  await using _two = await lock(two, undefined, { duration: 9 });
  const begun = Date.now();
  // After two thirds of the time: in the last third it is over for sure.
  const late = { exitCode: 5, transient: true, stderr: /no answer .* to the renewal of its lock/ };
  await assert.rejects(kubectl(["apply"], { cluster: two }), late);
  const seconds = (Date.now() - begun) / 1000;
  assert.ok(seconds > 3 && seconds < 9, `after ${seconds} s`);
  await kubectl(["apply"], { cluster: one });
  // Nothing begins before a renewal.
  const refused = { exitCode: 5, transient: true, stderr: AWAY.stderr };
  await assert.rejects(kubectl(["apply"], { cluster: two }), refused);
  const ofTwo = (all: Call[]) =>
    all.filter(({ args }) => args.includes("mkube-197")).map(({ args }) => args.split(" ")[2]);
  assert.equal(ofTwo(await calls()).filter((verb) => verb === "apply").length, 1);
  const after = await fakeKubectl([{ on: "." }]);
  await kubectl(["apply"], { cluster: two });
  assert.ok(ofTwo(await after()).join().startsWith("patch"), "the renewal comes first");
});

Deno.test("E12: a lock that went to another run ends what is under way on its own cluster, and no other", async () => {
  const stderr = "The request is invalid: the server rejected our request due to an error in it";
  const calls = await fakeKubectl([
    { ...AWAY, stderr },
    ...looks(heldBy("kim@other-host/12")).map((reply) => ({ ...reply, on: "mkube-197 get lease" })),
    { on: "mkube-197 apply", delay: 30 },
    { on: "apply" },
    ...FREE,
  ]);
  const lost = { message: "Interrupted: its lock went to another run", exitCode: 10 };
  {
    await using _one = await lock(one, undefined, { duration: 30 });
    await using _two = await lock(two, undefined, { duration: 30 });
    const begun = Date.now();
    await assert.rejects(kubectl(["apply"], { cluster: two }), lost);
    assert.ok(Date.now() - begun < 20_000, "not after its own end");
    await assert.rejects(kubectl(["apply"], { cluster: two }), lost);
    await kubectl(["apply"], { cluster: one });
  }
  // It is not ours to give back.
  const released = (await calls()).filter(({ args }) => args.includes('"value":""'));
  assert.deepEqual(released.map(({ args }) => args.match(/mkube-\d+/)![0]), ["mkube-196"]);
});

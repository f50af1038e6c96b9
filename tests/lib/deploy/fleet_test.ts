// lib/deploy/fleet.ts: central catches up with edges that are deployed without it.
import assert from "node:assert/strict";
import process from "node:process";
import type { Inventory } from "../../../lib/apply/inventory.ts";
import { deployFleet } from "../../../lib/deploy/fleet.ts";
import { type ClusterResult, exitCodeOfFleet, summary } from "../../../lib/deploy/results.ts";
import { planFleet } from "../../../lib/deploy/plan_fleet.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { useKubectl } from "../../../lib/kube/kubectl.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { HASH_LABEL, withHash } from "../../../lib/apply/diff.ts";
import { configMap, OWNER, signed, STEP_LABEL } from "../../../lib/core/object.ts";
import { applied } from "../../support/applied.ts";
import { runWaves } from "../../../lib/deploy/waves.ts";
import { step, type StepContext } from "../../../lib/deploy/step.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  FREE,
  identityReply,
  listOf,
  type Reply,
} from "../../support/fake_kubectl.ts";

const [central, edge] = await fixtureFleet({ KUBECONFIG_FILE: "kubeconfig" }) as [Cluster, Cluster];

const UID = "11111111-2222-3333-4444-555555555555";

function marker(id: string, name: string, role: string): Reply {
  const reply = identityReply(UID, { id, name, role, uid: UID }, ["configmap.v1."]);
  return { ...reply, on: `mkube-${id} ${reply.on}` };
}

const TARGETS: Reply[] = [
  { on: "config view", stdout: FLEET_CONFIG },
  marker("197", "cluster-197-edge", "edge"),
  { on: "mkube-197 (get configmap|apply)", stdout: listOf() },
  ...FREE,
];
const CENTRAL = marker("196", "cluster-196-central", "central");

const OWN_LABELS = { "app.kubernetes.io/managed-by": OWNER };

/** The list of the fleet as it is in the cluster, by its version. */
function listed(...versions: number[]): Reply[] {
  const line = (version: number) => {
    const { metadata, ...rest } = configMap("list", "monitoring", { edges: "197" });
    // As of an apply of another time, or of this one.
    const labels = { [STEP_LABEL]: "99-example", [HASH_LABEL]: String(version) };
    const full = { ...metadata, labels: { ...OWN_LABELS, ...labels } };
    return listOf(applied({ ...rest, metadata: full }));
  };
  return [
    { on: "mkube-196 get configmap", stdout: line(versions[0]!) },
    { on: "mkube-196 apply", stdout: line(versions.at(-1)!) },
  ];
}

/** A step of edges that central has to hear of; `ran` takes the clusters and who was told of whom. */
function example(ran: string[], run: (context: StepContext) => Promise<void> = async () => {}) {
  return step({
    name: "99-example",
    objects: () => Promise.resolve([]),
    async run(context) {
      ran.push(context.cluster.id);
      await run(context);
    },
    centralPart: (edges) =>
      step({
        name: "99-example",
        objects: () => Promise.resolve([configMap("list", "monitoring", { edges: edges.join() })]),
        async run({ cluster, objects, apply }) {
          ran.push(`${cluster.id} hears of ${edges}`);
          await apply(objects);
        },
      }),
  });
}

const verify = (ran: string[]) =>
  step({
    name: "99-verify",
    afterFleet: true,
    objects: () => Promise.resolve([]),
    run: ({ cluster }) => Promise.resolve(void ran.push(`verify ${cluster.id}`)),
  });

Deno.test("deployFleet() tells central of an edge before anything looks at the fleet", async () => {
  const calls = await fakeKubectl([...TARGETS, CENTRAL, ...listed(1, 2)]);
  const ran: string[] = [];
  const results = await deployFleet([example(ran), verify(ran)], [edge], { central });
  assert.deepEqual(ran, ["197", "196 hears of 197", "verify 197"]);
  assert.equal(exitCodeOfFleet(results), 0);
  const table = summary(results, 1);
  assert.match(table, /^196 +99-example +1 +1 .* ok$/m);
  assert.match(table, /^1 change in 1s$/m);
  const applied = (await calls()).filter(({ args }) => args.includes(" apply ")).at(-1);
  const { metadata, data } = JSON.parse(applied!.stdin).items[0];
  assert.deepEqual(data, { edges: "197" });
  // As in a whole run of the step: two labels that take turns would be a change each time.
  assert.equal(metadata.labels["deploy.miribit.lab/step"], "99-example");
});

Deno.test("deployFleet(): a run is idle where all is as wanted and ready and nothing was changed, and verification follows", async () => {
  const shop = (key: string) => configMap("shop", "monitoring", { key });
  const metadata = { name: "till", namespace: "monitoring" };
  const till = { apiVersion: "apps/v1", kind: "StatefulSet", metadata, spec: {} };
  const isIdle = async ({ key = "1", readyReplicas = 1, isVerified = true } = {}) => {
    const live = signed([shop(key), till], "99-example").map((one) => applied(withHash(one)));
    live[1]!.metadata.generation = 1;
    const data = { id: "197", name: "cluster-197-edge", role: "edge", uid: UID };
    live[1]!.status = { observedGeneration: 1, readyReplicas };
    await fakeKubectl([
      { on: "mkube-197 get configmap", stdout: listOf(...live) },
      { on: "config view", stdout: FLEET_CONFIG },
      identityReply(UID, data, ["configmap.v1.", "statefulset.v1.apps"]),
      ...TARGETS,
    ]);
    const seen: boolean[] = [];
    const one = step({
      name: "99-example",
      objects: () => Promise.resolve([shop("1"), till]),
      run({ isIdle, changed }) {
        seen.push(isIdle());
        changed("something else");
        return Promise.resolve(void seen.push(isIdle()));
      },
    });
    const next = step({ ...one, name: "99-next", objects: () => Promise.resolve([]) });
    await deployFleet(isVerified ? [one, next, verify([])] : [one], [edge]);
    return seen;
  };
  // The second step is not, where the first has changed something.
  assert.deepEqual(await isIdle(), [true, false, false, false]);
  assert.deepEqual(await isIdle({ isVerified: false }), [false, false]);
  assert.deepEqual(await isIdle({ key: "2" }), [false, false, false, false]);
  assert.deepEqual(await isIdle({ readyReplicas: 0 }), [false, false, false, false]);
});

Deno.test("deployFleet() leaves central alone where an edge changes nothing there", async () => {
  const calls = await fakeKubectl(TARGETS);
  const ran: string[] = [];
  const nothing = step({
    name: "99-example",
    skips: () => "it has nothing to do",
    objects: () => Promise.resolve([configMap("list", "monitoring", {})]),
    run: () => Promise.reject(new Error("it has nothing to do")),
  });
  const steps = [{ ...example(ran), centralPart: () => nothing }];
  const results = await deployFleet(steps, [edge], { central });
  assert.deepEqual(results.map(({ cluster }) => cluster.id), ["197"]);
  assert.equal(exitCodeOfFleet(results), 0);
  assert.ok((await calls()).every(({ args }) => !args.includes("mkube-196")));
});

Deno.test("E3: deployFleet() gives the lock back when what goes on beside the steps has ended", async () => {
  const calls = await fakeKubectl(TARGETS);
  const isFree = async () => (await calls()).some(({ args }) => args.includes('"value":""'));
  const proofs: boolean[] = [];
  const proving = example([], ({ beside }) =>
    beside("Proof", async () => {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      proofs.push(await isFree());
      throw new DeployError("Cannot prove it", { exitCode: 8 });
    }));
  const results = await deployFleet([proving, verify([])], [edge]);
  assert.deepEqual([proofs, await isFree()], [[false], true]);
  assert.deepEqual(results[0]!.steps.map(({ state }) => state), ["failed", "not run"]);
});

Deno.test("MAX_FAILURES: when so many have failed the others begin no further step", async () => {
  for (const [maxFailures, left] of [[1, "not run"], [2, "ok"]] as const) {
    await fakeKubectl([CENTRAL, ...listed(1), ...TARGETS]);
    const [begun, failed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const first = step({
      name: "98-first",
      objects: () => Promise.resolve([]),
      async run({ cluster }) {
        if (cluster !== central) {
          begun.resolve();
          return await failed.promise;
        }
        // The edge is in the middle of its first step by then, and ends it.
        await begun.promise;
        setTimeout(failed.resolve, 300);
        throw new DeployError("Cannot go on", { exitCode: 7 });
      },
    });
    const results = await deployFleet([first, example([])], [central, edge], { maxFailures });
    const states = results[1]!.steps.map(({ state }) => state);
    assert.deepEqual(states, ["ok", left], `MAX_FAILURES=${maxFailures}`);
    assert.equal(exitCodeOfFleet(results), 7);
  }
});

Deno.test("deployFleet() changes nothing at a centre that knows the edge already", async () => {
  await fakeKubectl([...TARGETS, CENTRAL, ...listed(1)]);
  const results = await deployFleet([example([])], [edge], { central });
  assert.match(summary(results, 1), /^0 changes in 1s$/m);
});

const AWAY: [why: string, replies: Reply[]][] = [
  ["does not answer", [{ on: "mkube-196", stderr: "error: Unauthorized", code: 1 }]],
  ["is another cluster", [{
    ...identityReply(UID, { id: "200", name: "cluster-200", role: "central", uid: UID }),
    on: "mkube-196 get namespace/kube-system",
  }]],
  ["was never deployed", [{ ...identityReply(UID), on: "mkube-196 get namespace/kube-system" }]],
  ["never had the step", [CENTRAL, { on: "mkube-196 get configmap", stdout: listOf() }]],
];

for (const [why, replies] of AWAY) {
  Deno.test(`deployFleet() ends well, with a warning, when central ${why}`, async () => {
    const calls = await fakeKubectl([...TARGETS, ...replies]);
    const ran: string[] = [];
    const said = await spoken(async () => {
      const results = await deployFleet([example(ran), verify(ran)], [edge], { central });
      assert.equal(exitCodeOfFleet(results), 0);
      assert.match(summary(results, 1), /^196 +99-example .*not run$/m);
      assert.match(summary(results, 1), /^0 changes in 1s$/m);
    });
    assert.deepEqual(ran, ["197", "verify 197"]);
    assert.match(said, /does not know of 197 yet \(.+\): make 99-example CLUSTER=196/);
    assert.ok((await calls()).every(({ args }) => !/mkube-196 .*apply/.test(args)));
  });
}

/** What is written to the terminal meanwhile. */
async function spoken(work: () => Promise<void>): Promise<string> {
  const { write } = process.stderr;
  let text = "";
  process.stderr.write = (chunk: string | Uint8Array) => {
    text += chunk;
    return true;
  };
  try {
    await work();
  } finally {
    process.stderr.write = write;
  }
  return text;
}

Deno.test("A59: deployFleet() calls nothing surplus that a step wants which did not have its turn", async () => {
  const moved = configMap("moved", "monitoring", {});
  const labels = { ...OWN_LABELS, [STEP_LABEL]: "98-first" };
  const live = applied({ ...moved, metadata: { ...moved.metadata, labels } });
  await fakeKubectl([{ on: "mkube-197 get configmap", stdout: listOf(live) }, ...TARGETS]);
  const failing = () => Promise.reject(new DeployError("Cannot x", { exitCode: 8 }));
  const steps = ["98-first", "98-second", "99-last"].map((name) =>
    step({
      name,
      objects: () => Promise.resolve(name === "99-last" ? [moved] : []),
      run: name === "98-second" ? failing : () => Promise.resolve(),
    })
  );
  const said = await spoken(async () => {
    const [{ steps: ended }] = await deployFleet(steps, [edge]) as [ClusterResult];
    assert.deepEqual(ended.map(({ state }) => state), ["ok", "failed", "not run"]);
  });
  assert.doesNotMatch(said, /no step wants any more/);
});

Deno.test("deployFleet() ends with the code of a centre that refuses what it is told", async () => {
  const [there] = listed(1);
  const refused = { on: "mkube-196 apply", stderr: "error: denied", code: 1 };
  await fakeKubectl([...TARGETS, CENTRAL, there!, refused]);
  const results = await deployFleet([example([])], [edge], { central });
  assert.equal(exitCodeOfFleet(results), 6);
  assert.match(summary(results, 1), /failed on 196$/);
});

Deno.test("deployFleet() tells central nothing of an edge that failed, nor of itself", async () => {
  await fakeKubectl([...TARGETS, CENTRAL, ...listed(1, 2)]);
  const failing = () => Promise.reject(new DeployError("Cannot x", { exitCode: 8 }));
  const ran: string[] = [];
  await deployFleet([example(ran, failing)], [edge], { central });
  await deployFleet([example(ran)], [central, edge], { central });
  assert.deepEqual(ran.sort(), ["196", "197", "197"]);
});

Deno.test("runWaves(): the centre is told of a wave, which is verified, before the next begins", async () => {
  await fakeKubectl([...TARGETS, CENTRAL, ...listed(1, 2)]);
  const ran: string[] = [];
  const waves = [edge, central].map((cluster) => ({ name: cluster.id, clusters: [cluster] }));
  const run = (clusters: Cluster[]) =>
    deployFleet([example(ran), verify(ran)], clusters, { central });
  const { results, held } = await runWaves(waves, run);
  assert.deepEqual(ran, ["197", "196 hears of 197", "verify 197", "196", "verify 196"]);
  assert.deepEqual([exitCodeOfFleet(results), held], [0, []]);
  assert.deepEqual(results.map(({ cluster }) => cluster.id), ["197", "196"]);
});

Deno.test("planFleet() shows what central would be told, and not the rest of its step", async () => {
  const list = (edges: string) => configMap("list", "monitoring", { edges });
  await fakeKubectl([
    ...TARGETS,
    CENTRAL,
    {
      on: "get services --all-namespaces",
      stdout: listOf({ kind: "Service", metadata: { name: "prometheus" } }),
    },
    {
      on: "mkube-196 get configmap",
      stdout: JSON.stringify({ items: [list(""), configMap("other", "monitoring", {})] }),
    },
    { on: "--dry-run=server", stdout: JSON.stringify(list("197")) },
  ]);
  const plans = await planFleet([example([])], [edge], { central });
  assert.deepEqual(plans.map(({ told }) => told), [undefined, [edge.id]]);
  const told = plans.map(({ cluster, entries }) => [
    cluster.id,
    ...entries.map(({ id, action, fields }) => [id, action, ...fields]),
  ]);
  assert.deepEqual(told, [
    ["197"],
    ["196", ["ConfigMap/monitoring/list", "update", 'data.edges: "" -> "197"']],
  ]);
});

Deno.test("E3: what central is told is a deploy of central: under its lock, and as the approved plan says", async () => {
  const calls = await fakeKubectl([...TARGETS, CENTRAL, ...listed(1, 2)]);
  await deployFleet([example([])], [edge], { central });
  const words = (await calls()).filter(({ args }) => args.includes("--context=mkube-196"))
    .map(({ args }) => / (create|patch lease|apply) /.exec(args)?.[1]).filter(Boolean);
  assert.deepEqual([words[0], words.at(-1)], ["create", "patch lease"]);
  assert.ok(words.includes("apply"));

  const again = await fakeKubectl([...TARGETS, CENTRAL, ...listed(1, 2)]);
  const said = await spoken(async () => {
    const approve = ({ cluster }: Inventory) =>
      cluster === central
        ? Promise.reject(new DeployError("Refused: 196 is not as it was", { exitCode: 4 }))
        : Promise.resolve();
    const results = await deployFleet([example([])], [edge], { central, approve });
    assert.match(summary(results, 1), /^196 +99-example .*not run$/m);
  });
  assert.match(said, /does not know of 197 yet \(Refused: 196 is not as it was\)/);
  assert.ok((await again()).every(({ args }) => !/mkube-196 .*apply/.test(args)));
});

/** So many edges that were deployed before, and what their kubectl is told: a quick one, for many calls. */
async function edges(
  count: number,
): Promise<{ clusters: Cluster[]; calls: () => Promise<string[]> }> {
  const ids = Array.from({ length: count }, (_, index) => String(300 + index));
  const folder = await Deno.makeTempDir();
  const contexts = ids.map((id) => ({ name: `mkube-${id}`, context: { cluster: "c" } }));
  const servers = [{ name: "c", cluster: { server: `https://${edge.vars.API_HOST}:8443` } }];
  const { stdout } = marker("ID", "cluster-ID-edge", "edge");
  await Deno.writeTextFile(`${folder}/config`, JSON.stringify({ contexts, clusters: servers }));
  await Deno.writeTextFile(`${folder}/seen`, stdout!);
  const script = `#!/bin/bash
echo "$*" >>${folder}/calls
case "$*" in
*"version --client"*) echo '"gitVersion": "v1.36.3"' ;;
*"config view"*) cat ${folder}/config ;;
*"get namespace/"*) sed "s/ID/\${2#*mkube-}/g" ${folder}/seen ;;
*"get configmap"* | *" apply "*) echo '{"items":[]}' ;;
esac
`;
  await Deno.writeTextFile(`${folder}/kubectl`, script, { mode: 0o755 });
  useKubectl(`${folder}/kubectl`);
  const named = (id: string) => ({
    ...edge.vars,
    CLUSTER_NAME: `cluster-${id}-edge`,
    KUBE_CONTEXT: `mkube-${id}`,
  });
  return {
    clusters: ids.map((id) => ({ ...edge, id, vars: named(id) })),
    calls: async () => (await Deno.readTextFile(`${folder}/calls`)).split("\n"),
  };
}

Deno.test("E22: deployFleet() has eight clusters in work, holds no lock of another, and looks at the fleet after all", async () => {
  const { clusters, calls } = await edges(24);
  const ran: string[] = [];
  const work = () => new Promise<void>((resolve) => setTimeout(resolve, 1000));
  const results = await deployFleet([example(ran, work), verify(ran)], clusters);
  const failures = results.flatMap((
    { error, steps },
  ) => [error, ...steps.map(({ error }) => error)]);
  assert.deepEqual(failures.filter(Boolean), []);
  assert.deepEqual(results.map(({ cluster }) => cluster), clusters);
  let held = 0, most = 0;
  for (const args of await calls()) {
    if (args.includes(" create ")) most = Math.max(most, ++held);
    if (args.includes('"value":""')) held -= 1;
  }
  assert.ok(held === 0 && most > 4 && most <= 8, `${most} locks at once`);
  assert.ok(ran.slice(24).every((line) => line.startsWith("verify ")) && ran.length === 48);
});

Deno.test("E22: deployFleet() does not even lock a cluster whose turn comes when too many have failed", async () => {
  const { clusters, calls } = await edges(10);
  const failing = step({
    name: "99-failing",
    objects: () => Promise.resolve([]),
    run: () => Promise.reject(new DeployError("Cannot go on", { exitCode: 7 })),
  });
  const results = await deployFleet([failing], clusters, { maxFailures: 1 });
  assert.deepEqual(results.slice(8).map(({ steps }) => steps[0]!.state), ["not run", "not run"]);
  const locked = (await calls()).filter((args) => args.includes(" create "));
  assert.ok(locked.length <= 8);
});

Deno.test("E22: planFleet() shows all clusters in their order, eight at a time", async () => {
  const { clusters } = await edges(20);
  let now = 0, most = 0;
  const counting = step({
    name: "99-counting",
    async objects() {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 2000));
      now -= 1;
      return [];
    },
    run: () => Promise.resolve(),
  });
  const plans = await planFleet([counting], clusters);
  assert.deepEqual(plans.map(({ error }) => error), clusters.map(() => undefined));
  assert.deepEqual(plans.map(({ cluster }) => cluster), clusters);
  assert.ok(most <= 8, `${most} at once`);
});

Deno.test("E13: deployFleet() looks again at a cluster whose lock it has waited for", async () => {
  const spec = { holderIdentity: "kim@other-host/12", leaseDurationSeconds: 1 };
  const lease = { kind: "Lease", metadata: { name: OWNER, resourceVersion: "7" }, spec };
  const { on, stdout } = marker("197", "cluster-197-edge", "edge");
  const calls = await fakeKubectl([
    { on: "get lease ", stdout: JSON.stringify(lease) },
    { on: "replace --validate=false --filename -" },
    { on: on!, stdout: listOf(...JSON.parse(stdout!).items, lease) },
    ...TARGETS,
  ]);
  const results = await deployFleet([example([])], [edge]);
  assert.equal(exitCodeOfFleet(results), 0);
  const words = (await calls()).map(({ args }) => args);
  const looks = words.flatMap((args, index) => args.includes("get namespace/") ? [index] : []);
  const taken = words.findIndex((args) => args.includes("replace "));
  assert.ok(looks.length === 2 && looks[0]! < taken && taken < looks[1]!);
});

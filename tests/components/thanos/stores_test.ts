// Edges that Query lacks, by what their own API servers tell: nothing, their marker, or a deploy under way.
import assert from "node:assert/strict";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { OWNER, STEP_LABEL } from "../../../lib/core/object.ts";
import { edgesOf, endpointsConfig } from "../../../scripts/components/thanos/fleet.ts";
import {
  absenceOf,
  dialsOtherwise,
  type Stores,
} from "../../../scripts/components/thanos/stores.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import {
  fakeKubectl,
  FLEET_CONFIG,
  identityReply,
  listOf,
  type Reply,
} from "../../support/fake_kubectl.ts";
import { grpcFolder } from "../../support/grpc_fixture.ts";

const fleet = await fixtureFleet({ KUBECONFIG_FILE: "kubeconfig" });
const edges = edgesOf(fleet[0]!);
const UID = "11111111-2222-3333-4444-555555555555";

const SERVICES = `get services --all-namespaces --selector ${STEP_LABEL}=20-prometheus`;

/** The guard's look at an edge that was deployed before. */
function marked(id: string): Reply {
  const marker = { id, name: `cluster-${id}-edge`, role: "edge", uid: UID };
  return { ...identityReply(UID, marker), on: `mkube-${id} get namespace/kube-system` };
}

async function absence(replies: Reply[], stores: Stores = {}) {
  await fakeKubectl([...replies, { on: "config view", stdout: FLEET_CONFIG }]);
  const { lost, excused, notes } = await absenceOf(stores, edges);
  return {
    lost: lost.map(({ edge }) => edge.id),
    excused: excused.map(({ id }) => id),
    notes,
    all: lost,
  };
}

Deno.test("V1: absenceOf() excuses edges without a marker, in one note", async () => {
  const { lost, excused, notes } = await absence([identityReply(UID)]);
  assert.deepEqual([lost, excused, notes], [[], ["197", "198"], ["not deployed yet: 197, 198"]]);
});

Deno.test("V1: absenceOf() excuses an edge that had another step only, and misses a deployed one", async () => {
  const { lost, notes } = await absence([
    marked("197"),
    marked("198"),
    {
      on: `mkube-197 ${SERVICES}`,
      stdout: listOf({ kind: "Service", metadata: { name: "thanos-sidecar" } }),
    },
    { on: `mkube-198 ${SERVICES}` },
  ]);
  assert.deepEqual([lost, notes], [["197"], ["not deployed yet: 198"]]);
});

Deno.test("V1: absenceOf() excuses an edge while a deploy is there, not after one that died", async () => {
  const lease = (renewTime: string) => {
    const reply = marked("197");
    const { items } = JSON.parse(reply.stdout!);
    const spec = { holderIdentity: "kim@elsewhere/1", leaseDurationSeconds: 900, renewTime };
    const held = { kind: "Lease", metadata: { name: OWNER }, spec };
    return { ...reply, stdout: JSON.stringify({ kind: "List", items: [...items, held] }) };
  };
  const rest = [marked("198"), {
    on: SERVICES,
    stdout: listOf({ kind: "Service", metadata: { name: "thanos-sidecar" } }),
  }];
  const during = await absence([lease(new Date().toISOString()), ...rest]);
  assert.deepEqual(during.notes, ["being deployed at this moment: 197"]);
  assert.deepEqual(during.lost, ["198"]);
  const after = await absence([lease("2026-01-01T00:00:00Z"), ...rest]);
  assert.deepEqual([after.lost, after.notes], [["197", "198"], []]);
});

Deno.test("V1: absenceOf() misses an edge that cannot be asked, with the reason", async () => {
  const away: Reply = { on: "mkube-197 get", stderr: "Unable to connect: i/o timeout", code: 1 };
  const { lost, all } = await absence([away, identityReply(UID)]);
  assert.deepEqual(lost, ["197"]);
  assert.match(all[0]!.reason!, /i\/o timeout/);
});

Deno.test("V1: absenceOf() excuses an edge without a context, unless the bucket has blocks of it", async () => {
  const config: Reply = {
    on: "config view",
    stdout: JSON.stringify({ contexts: [], clusters: [] }),
  };
  const name = "cluster-198-edge";
  const store = [{ name: "10.0.0.1:10901", lastError: null, labelSets: [{ cluster: name }] }];
  const { lost, notes, all } = await absence([config], { store });
  assert.deepEqual(lost, ["198"]);
  assert.match(all[0]!.reason!, /no context mkube-198/);
  assert.deepEqual(notes, ["not deployed yet (no context mkube-197 in the kubeconfig): 197"]);
});

Deno.test("absenceOf() asks nobody about edges that Query sees, and misses those it cannot ask about", async () => {
  const sidecar = edges.map(({ sidecar, name }) => (
    { name: sidecar, lastError: null, labelSets: [{ cluster: name }] }
  ));
  const calls = await fakeKubectl([]);
  assert.deepEqual(await absenceOf({ sidecar }, edges), {
    lost: [],
    excused: [],
    notes: [],
  });
  assert.deepEqual(await calls(), []);
  assert.equal((await absenceOf({}, edges)).lost.length, 2);
});

Deno.test("dialsOtherwise() tells of a switch to TLS and back, and of none at the first edge", async () => {
  await using folder = await grpcFolder();
  const settings = { ...folder.environment, KUBECONFIG_FILE: "kubeconfig" };
  const [plain, secure] = [fleet[0]!, (await fixtureFleet(settings))[0]!];
  const alone = (central: Cluster) => ({ ...central, fleet: central.fleet.slice(0, 1) });
  const dials = async (live: Cluster, wanted: Cluster, hasPair: boolean) => {
    await fakeKubectl([
      { on: " get configmap/", stdout: toYaml(endpointsConfig(live)) },
      { on: " get secret/thanos-grpc-tls ", stdout: hasPair ? "secret/thanos-grpc-tls\n" : "" },
    ]);
    return await dialsOtherwise(wanted);
  };
  for (const pair of [true, false]) {
    assert.equal(await dials(plain, plain, pair), false);
    assert.equal(await dials(secure, secure, pair), false);
    assert.equal(await dials(plain, secure, pair), true);
    assert.equal(await dials(secure, plain, pair), true);
    assert.equal(await dials(alone(plain), plain, pair), false);
    assert.equal(await dials(alone(secure), secure, pair), !pair);
  }
});

Deno.test("absenceOf() asks nobody about a paused edge, and says why it is away; one whose pause is over it misses", async () => {
  const calls = await fakeKubectl([]);
  const pause = { reason: "rack move", until: "2026-12-04", end: Date.now() / 1000 + 60 };
  const paused = edges.map((edge) => ({ ...edge, pause }));
  assert.deepEqual(await absenceOf({}, paused), {
    lost: [],
    excused: paused,
    notes: ["paused until 2026-12-04 (rack move): 197, 198"],
  });
  assert.deepEqual(await calls(), []);
  const over = paused.map((edge) => ({ ...edge, pause: { ...pause, end: Date.now() / 1000 } }));
  assert.equal((await absenceOf({}, over)).lost.length, 2);
});

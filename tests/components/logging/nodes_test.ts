// scripts/components/logging/nodes.ts: nothing is lost when nodes go, and nothing is left behind by their going.
import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import type { OpenSearch } from "../../../lib/opensearch/client.ts";
import {
  clearExclusions,
  type Copy,
  leavingNodes,
  moveShards,
  remaining,
  surplus,
  unsaved,
  withdrawVotes,
} from "../../../scripts/components/logging/nodes.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";

const EXCLUDE = "cluster.routing.allocation.exclude._name";
const LEAVING = ["opensearch-1", "opensearch-2"];
const QUICK = { every: 0.001, patience: 0.05 };

function copy(index: string, prirep: string, node: string | null, state = "STARTED"): Copy {
  return { index, shard: "0", prirep, state, node };
}

/** Shards move one copy per look, as on real nodes: away from excluded ones, no two on one node. */
class FakeNodes implements OpenSearch {
  readonly pause = 1;
  readonly writes: string[] = [];
  nodes = ["opensearch-0", ...LEAVING];
  copies: Copy[] = [
    copy("logs-a", "p", "opensearch-1"),
    copy("logs-a", "r", "opensearch-2"),
    copy(".hidden", "p", "opensearch-2"),
    copy(".hidden", "r", "opensearch-0"),
  ];
  excluded: string | null = null;
  voteless: string[] = [];
  /** An index that allocation rules keep where it is. */
  held?: string;
  silent = false;
  /** Looks until the removed nodes are gone. */
  leave = Infinity;

  fetch(path: string, { method = "GET", body }: RequestInit = {}): Promise<Response> {
    if (this.silent) return Promise.resolve(Response.json({}, { status: 503 }));
    const { pathname, searchParams } = new URL(path, "http://opensearch");
    if (method !== "GET" && !pathname.endsWith("/explain")) {
      this.writes.push(`${method} ${path.replace(/\?expand.*/, "")} ${body ?? ""}`.trim());
    }
    const answer = this.#answer(
      `${method} ${pathname}`,
      searchParams,
      body && JSON.parse(`${body}`),
    );
    return Promise.resolve(Response.json(answer));
  }

  #answer(
    call: string,
    query: URLSearchParams,
    body?: { persistent: Record<string, string | null> },
  ): unknown {
    switch (call) {
      case "GET /_cat/nodes":
        if (this.leave-- <= 0) this.nodes = this.nodes.filter((name) => !LEAVING.includes(name));
        return this.nodes.map((name) => ({ name }));
      case "GET /_cat/shards":
        this.#move();
        return this.copies;
      case "GET /_cat/recovery":
        return [];
      case "GET /_cluster/settings":
        return { persistent: this.excluded === null ? {} : { [EXCLUDE]: this.excluded } };
      case "PUT /_cluster/settings":
        this.excluded = body!.persistent[EXCLUDE] ?? null;
        return { acknowledged: true };
      case "GET /_cluster/state/metadata": {
        const voting_config_exclusions = this.voteless.map((node_name) => ({ node_name }));
        return { metadata: { cluster_coordination: { voting_config_exclusions } } };
      }
      case "POST /_cluster/voting_config_exclusions":
        this.voteless = query.get("node_names")!.split(",");
        return {};
      case "DELETE /_cluster/voting_config_exclusions":
        this.voteless = [];
        return {};
      case "POST /_cluster/allocation/explain": {
        const deciders = [{ decision: "NO", explanation: "the node is above the low watermark" }];
        const verdict = (node_name: string) => ({ node_name, deciders });
        return { node_allocation_decisions: this.nodes.map(verdict) };
      }
      case "GET /*/_settings": {
        const settings = { "index.number_of_replicas": `${this.#replicas}` };
        return Object.fromEntries(this.copies.map(({ index }) => [index, { settings }]));
      }
      default:
        assert.match(call, /^PUT \/\S+\/_settings$/);
        this.copies = this.copies.filter(({ prirep }) => prirep === "p");
        return { acknowledged: true };
    }
  }

  get #replicas() {
    return this.copies.filter(({ prirep }) => prirep === "r").length > 0 ? 1 : 0;
  }

  #move() {
    const left = this.excluded?.split(",") ?? [];
    for (const copy of this.copies.filter(({ node }) => left.includes(node!))) {
      const room = this.nodes.find((name) =>
        !left.includes(name) &&
        !this.copies.some(({ index, node }) => index === copy.index && node === name)
      );
      if (!room || copy.index === this.held) continue;
      copy.node = room;
      return;
    }
  }
}

async function refusal(work: Promise<unknown>): Promise<DeployError> {
  const error = await work.then(() => assert.fail("it went through"), (error) => error);
  assert.ok(error instanceof DeployError, error);
  return error;
}

Deno.test("surplus() counts the StatefulSet and pods of one that is away, nothing else", () => {
  const object = (kind: string, name: string, rest: object = {}) =>
    ({ kind, metadata: { name }, ...rest }) as Manifest;
  const set = (replicas: number) => object("StatefulSet", "opensearch", { spec: { replicas } });
  const ending = object("Pod", "opensearch-2");
  ending.metadata.deletionTimestamp = "2026-11-22T10:00:00Z";
  assert.deepEqual(surplus([], 1), []);
  assert.deepEqual(surplus([set(1)], 3), []);
  assert.deepEqual(surplus([set(3)], 1), LEAVING);
  assert.deepEqual(surplus([set(5)], 3), ["opensearch-3", "opensearch-4"]);
  assert.deepEqual(
    surplus([object("Pod", "opensearch-2"), object("Pod", "fluent-bit-7")], 1),
    LEAVING,
  );
  assert.deepEqual(surplus([set(1), ending], 1), []);
});

Deno.test("leavingNodes() asks the cluster once", async () => {
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const items = [{ kind: "StatefulSet", metadata: { name: "opensearch" }, spec: { replicas: 3 } }];
  const calls = await fakeKubectl([
    { on: "get statefulsets.apps,pods -n logging -o json", stdout: JSON.stringify({ items }) },
  ]);
  assert.deepEqual(await leavingNodes(cluster), LEAVING);
  assert.equal((await calls()).length, 1);
});

Deno.test("unsaved() takes only a started copy on another node for a saved shard", () => {
  const lost = (...copies: Copy[]) => unsaved(copies, LEAVING).map(({ index }) => index);
  const primary = copy("a", "p", "opensearch-1");
  assert.deepEqual(lost(primary), ["a"]);
  assert.deepEqual(lost(primary, copy("a", "r", "opensearch-2")), ["a"]);
  assert.deepEqual(lost(primary, copy("a", "r", "opensearch-0", "INITIALIZING")), ["a"]);
  assert.deepEqual(lost(copy("a", "p", "opensearch-1 -> 10.0.0.1 x opensearch-0", "RELOCATING")), [
    "a",
  ]);
  assert.deepEqual(lost(copy("a", "p", null, "UNASSIGNED")), ["a"]);
  assert.deepEqual(lost(primary, copy("b", "r", "opensearch-0")), ["a"]);
  assert.deepEqual(lost(primary, copy("a", "r", "opensearch-0")), []);
  assert.deepEqual(lost(copy("a", "p", "opensearch-0"), copy("a", "r", null, "UNASSIGNED")), []);
});

Deno.test("remaining() finds copies that would go, also those on their way", () => {
  const staying = copy("a", "r", "opensearch-0");
  const left = (node: string | null, state: string) =>
    remaining([copy("a", "p", node, state), staying], LEAVING).length;
  assert.equal(left("opensearch-1", "STARTED"), 1);
  assert.equal(left("opensearch-1 -> 10.0.0.1 x opensearch-0", "RELOCATING"), 1);
  assert.equal(left("opensearch-0", "STARTED"), 0);
});

Deno.test("moveShards() to one node copies everything there before replicas go", async () => {
  const os = new FakeNodes();
  const said: string[] = [];
  await moveShards(os, LEAVING, 1, { ...QUICK, say: (text) => said.push(text) });
  assert.deepEqual(os.writes, [
    `PUT /_cluster/settings {"persistent":{"${EXCLUDE}":"opensearch-1,opensearch-2"}}`,
    'PUT /logs-a,.hidden/_settings {"index":{"number_of_replicas":0}}',
  ]);
  assert.deepEqual(os.copies.map(({ node }) => node), ["opensearch-0", "opensearch-0"]);
});

Deno.test("moveShards() to several nodes keeps the replicas", async () => {
  const os = new FakeNodes();
  os.nodes = ["opensearch-0", "opensearch-1", "opensearch-2", "opensearch-3", "opensearch-4"];
  os.copies = [copy("logs-a", "p", "opensearch-3"), copy("logs-a", "r", "opensearch-4")];
  await moveShards(os, ["opensearch-3", "opensearch-4"], 3, QUICK);
  assert.deepEqual(os.copies.map(({ node }) => node), ["opensearch-0", "opensearch-1"]);
  assert.equal(os.writes.length, 1);
});

Deno.test("moveShards() gives up with the reason, the replicas and the nodes as they were", async () => {
  const os = new FakeNodes();
  os.held = "logs-a";
  const error = await refusal(moveShards(os, LEAVING, 1, QUICK));
  assert.equal(error.exitCode, 7);
  assert.match(error.message, /^Cannot empty opensearch-1, opensearch-2: shards have not moved/);
  assert.deepEqual(error.where, [
    "logs-a shard 0 on opensearch-1",
    "  opensearch-0: the node is above the low watermark",
  ]);
  assert.equal(os.excluded, null);
  assert.equal(os.copies.length, 4);
});

Deno.test("moveShards() changes nothing while OpenSearch or a staying node is silent", async () => {
  const away = new FakeNodes();
  away.nodes = LEAVING;
  const error = await refusal(moveShards(away, LEAVING, 1, QUICK));
  assert.equal(error.exitCode, 8);
  assert.deepEqual(error.where, ["opensearch-0 is not in the cluster"]);
  const silent = new FakeNodes();
  silent.silent = true;
  assert.match((await refusal(moveShards(silent, LEAVING, 1, QUICK))).where[0]!, /answers 503/);
  assert.deepEqual([...away.writes, ...silent.writes], []);
});

Deno.test("clearExclusions() waits until the removed nodes are gone, then clears once", async () => {
  const os = new FakeNodes();
  await moveShards(os, LEAVING, 1, QUICK);
  await withdrawVotes(os, LEAVING);
  os.leave = 3;
  os.writes.length = 0;
  assert.equal(await clearExclusions(os, 1, QUICK), true);
  assert.deepEqual(os.nodes, ["opensearch-0"]);
  assert.deepEqual(os.writes, [
    "DELETE /_cluster/voting_config_exclusions?wait_for_removal=false",
    `PUT /_cluster/settings {"persistent":{"${EXCLUDE}":null}}`,
  ]);
  assert.equal(await clearExclusions(os, 1, QUICK), false);
  assert.equal(os.writes.length, 2);
});

Deno.test("clearExclusions() gives nodes that are wanted again their votes and shards", async () => {
  const os = new FakeNodes();
  await moveShards(os, LEAVING, 1, QUICK);
  await withdrawVotes(os, LEAVING);
  assert.equal(await clearExclusions(os, 3, QUICK), true);
  assert.deepEqual([os.voteless, os.excluded], [[], null]);
});

Deno.test("clearExclusions() leaves somebody else's exclusion alone", async () => {
  const os = new FakeNodes();
  os.excluded = "guest-1";
  assert.equal(await clearExclusions(os, 3, QUICK), false);
  assert.equal(os.excluded, "guest-1");
});

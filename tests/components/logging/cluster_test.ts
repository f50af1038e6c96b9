// Real OpenSearch nodes that lose their volumes, come and go:
// LIVE_OPENSEARCH_ROOT=<root file system of the image>, on Linux as root. Without it these are ignored.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { ensure } from "../../../lib/core/resource.ts";
import { document, wantedReplicas } from "../../../lib/opensearch/documents.ts";
import { logging } from "../../../scripts/40-logging.ts";
import { documentSpec } from "../../../scripts/components/logging/objects.ts";
import {
  clearExclusions,
  moveShards,
  withdrawVotes,
} from "../../../scripts/components/logging/nodes.ts";
import { FOUNDED } from "../../../scripts/components/logging/objects.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { type LiveNode, LiveSite } from "../../support/opensearch_nodes.ts";

const root = Deno.env.get("LIVE_OPENSEARCH_ROOT");
const DAY = "2001.02.03";
const INDEX = `logs-k8s-${DAY}`;
const NAMES = ["opensearch-1", "opensearch-2"];

/** The rendered site with so many nodes. */
async function wanted(OPENSEARCH_NODES: number) {
  const cluster = await fixtureCluster("197", {
    OPENSEARCH_HEAP: "512m",
    OPENSEARCH_NODES: String(OPENSEARCH_NODES),
  });
  const objects = await logging.objects(cluster);
  const founded = objects.find(({ metadata }) => metadata.name === FOUNDED)!;
  return {
    objects,
    founded,
    template: document("IndexTemplate", "logs", documentSpec("index-template", cluster)),
  };
}

/** What was seen, for who reads along. */
function saw(text: string): void {
  Deno.stderr.writeSync(
    new TextEncoder().encode(`  ${new Date().toISOString().slice(11, 19)}  ${text}\n`),
  );
}

/** Seconds until it is true; at most ten minutes, for machines are slow at times. */
async function until(what: string, judge: () => Promise<boolean>): Promise<number> {
  const since = Date.now();
  while (Date.now() - since < 600_000) {
    if (await judge().catch(() => false)) return Math.round((Date.now() - since) / 1000);
    await sleep(500);
  }
  throw new Error(`${what}: not within ten minutes`);
}

/** The id of the cluster that a node is in, as it knows it itself; `_na_` without one. */
async function clusterOf(node: LiveNode): Promise<string> {
  return (await node.call("GET", "/")).cluster_uuid;
}

/** Waits until a node sees so many nodes and nothing missing. */
function whole(node: LiveNode, nodes: number): Promise<number> {
  return until(`${node.name} sees ${nodes} nodes, green`, async () => {
    const { status, number_of_nodes } = await node.call("GET", "/_cluster/health");
    return status === "green" && number_of_nodes === nodes;
  });
}

/** Numbered lines, all of which must be found in the end. */
class Lines {
  count = 0;

  async write(node: LiveNode, count: number): Promise<void> {
    const action = JSON.stringify({ create: { _index: INDEX } });
    const line = () =>
      JSON.stringify({ "@timestamp": new Date().toISOString(), log: `line ${this.count++}` });
    const body = Array.from({ length: count }, () => `${action}\n${line()}\n`).join("");
    const { errors } = await node.call("POST", "/_bulk?refresh=true", body);
    assert.equal(errors, false);
  }

  /** Every one of the nodes is in this cluster and finds each line. */
  async check(nodes: LiveNode[], uuid: string): Promise<void> {
    await whole(nodes[0]!, nodes.length);
    await nodes[0]!.call("POST", `/${INDEX}/_refresh`);
    for (const node of nodes) {
      assert.equal(await clusterOf(node), uuid, `${node.name} is in another cluster`);
      assert.equal((await node.call("GET", `/${INDEX}/_count`)).count, this.count, node.name);
    }
    saw(`${nodes.length} in the one cluster ${uuid}, ${this.count} of ${this.count} lines found`);
  }
}

Deno.test({
  name: "P1: of three nodes any one may lose its volume, and no second cluster comes of it",
  ignore: !root,
  async fn() {
    const { objects, founded, template } = await wanted(3);
    await using site = await LiveSite.of({ root: root!, objects });
    const { nodes } = site, [first, second, third] = nodes as [LiveNode, LiveNode, LiveNode];
    const lines = new Lines();
    await Promise.all(nodes.map((node) => node.up()));
    await whole(first, 3);
    const uuid = await clusterOf(first);
    await ensure(template, first);
    await site.note(founded);
    await lines.write(first, 1000);
    await lines.check(nodes, uuid);

    for (const lost of [first, third]) {
      saw(`${lost.name} crashes, and its volume is lost`);
      await lost.down("SIGKILL");
      await lines.write(second, 500);
      await lost.loseVolume();
      await lost.up();
      await lines.check(nodes, uuid);
      await lines.write(lost, 500);
      await lines.check(nodes, uuid);
    }

    saw("all go down, and opensearch-0 comes first, with an empty volume");
    await Promise.all(nodes.map((node) => node.down()));
    await first.loseVolume();
    await first.up();
    for (let looks = 0; looks < 20; looks++) {
      assert.equal(await clusterOf(first), "_na_");
      await sleep(1000);
    }
    saw("alone it founds none, 20 s long");
    await Promise.all([second.up(), third.up()]);
    await lines.check(nodes, uuid);
  },
});

Deno.test({
  name: "P1: one node becomes three, one of them loses its volume, and three become one again",
  ignore: !root,
  async fn() {
    const one = await wanted(1), three = await wanted(3);
    await using site = await LiveSite.of({ root: root!, objects: one.objects });
    const { nodes } = site, [first, second, third] = nodes as [LiveNode, LiveNode, LiveNode];
    const lines = new Lines();
    await first.up();
    await whole(first, 1);
    const uuid = await clusterOf(first);
    await ensure(one.template, first);
    await site.note(one.founded);
    await lines.write(first, 1000);

    // As Kubernetes has it: the new ones at once, the old one in the end.
    await site.use(three.objects);
    await Promise.all([second.up(), third.up(), first.down().then(() => first.up())]);
    await whole(first, 3);
    await ensure(three.template, first);
    await ensure(wantedReplicas(INDEX, 1), first);
    await lines.write(second, 500);
    await lines.check(nodes, uuid);

    saw("the first, which was alone once, loses its volume");
    await first.down("SIGKILL");
    await first.loseVolume();
    await first.up();
    await lines.check(nodes, uuid);

    await moveShards(first, NAMES, 1);
    await withdrawVotes(first, NAMES);
    saw("the shards and votes of the others are gone");
    await site.use(one.objects);
    await Promise.all([second.down(), third.down(), first.down()]);
    await first.up();
    assert.equal(await clearExclusions(first, 1), true);
    await lines.check([first], uuid);
    await lines.write(first, 500);
    await lines.check([first], uuid);
  },
});

// A real OpenSearch node on a disk of its own that fills: LIVE_OPENSEARCH_ROOT=<root file system of the image>, on
// Linux as root. Without it this is ignored.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensure } from "../../../lib/core/resource.ts";
import { document } from "../../../lib/opensearch/documents.ts";
import { logging } from "../../../scripts/40-logging.ts";
import { documentSpec } from "../../../scripts/components/logging/objects.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { type LiveNode, LiveSite } from "../../support/opensearch_nodes.ts";

const root = Deno.env.get("LIVE_OPENSEARCH_ROOT");
const OLD = "logs-k8s-2001.02.02",
  EVENING = "logs-k8s-2001.02.03",
  MIDNIGHT = "logs-k8s-2001.02.04";

/** Writes one line, of which so many bytes do not compress; its status as Fluent Bit sees it. */
async function write(node: LiveNode, index: string, bytes = 40): Promise<number> {
  const log = randomBytes(bytes / 2).toString("hex");
  const line = { "@timestamp": "2001-02-03T23:59:59Z", log };
  const body = `${JSON.stringify({ create: { _index: index } })}\n${JSON.stringify(line)}\n`;
  // A block ends the whole request, or the one line in it.
  const { status, items } = await node.call("POST", "/_bulk?refresh=true", body);
  return status ?? items[0].create.status;
}

/** Fills what is left of the node's disk up to this share of it. */
async function fill(node: LiveNode, share: number): Promise<void> {
  const filler = join(node.data, "filler");
  await rm(filler, { force: true });
  const { blocks, bavail, bsize } = await statfs(node.data);
  await writeFile(filler, new Uint8Array((blocks * share - (blocks - bavail)) * bsize));
}

/** Waits until a line is answered so: OpenSearch looks at its disk every 30 s. */
async function answered(node: LiveNode, index: string, status: number): Promise<void> {
  let last = 0;
  for (let tries = 0; tries < 90; tries++) {
    if ((last = await write(node, index)) === status) return;
    await sleep(2000);
  }
  assert.fail(`a line for ${index} is answered ${last}, not ${status}, after three minutes`);
}

Deno.test({
  name: "P4: a new day begins on a disk nearly full; on a full one lines wait until a day is gone",
  ignore: !root,
  async fn() {
    const cluster = await fixtureCluster("197", { OPENSEARCH_HEAP: "512m" });
    const objects = await logging.objects(cluster);
    await using site = await LiveSite.of({ root: root!, objects, disk: "256m" });
    const node = site.nodes[0]!;
    await node.up();
    await ensure(document("IndexTemplate", "logs", documentSpec("index-template", cluster)), node);
    // An old day of some 20 MB: what its deletion gives back is more than the last watermark needs.
    for (let lines = 0; lines < 640; lines++) assert.equal(await write(node, OLD, 32_000), 201);
    await node.call("POST", `/${OLD}/_flush`);
    assert.equal(await write(node, EVENING), 201);

    await fill(node, 0.94);
    await sleep(35_000);
    assert.equal(await write(node, EVENING), 201);
    assert.equal(await write(node, MIDNIGHT), 201);
    const { status } = await node.call("GET", "/_cluster/health");
    assert.equal(status, "green", "the index of the new day has no place");

    await fill(node, 0.97);
    await answered(node, MIDNIGHT, 429); // Fluent Bit sends such a line again
    await node.call("DELETE", `/${OLD}`);
    await answered(node, MIDNIGHT, 201);
  },
});

// The life of a log index on the site under test: with the policies of 40-logging but for ages of a
// minute, and indices of their own, so that the site's logs stay.
import assert from "node:assert/strict";
import type { Cluster } from "../../lib/core/cluster.ts";
import { ensure } from "../../lib/core/resource.ts";
import type { Json } from "../../lib/opensearch/client.ts";
import { document } from "../../lib/opensearch/documents.ts";
import { documentSpec, REPOSITORY } from "../../scripts/components/logging/objects.ts";
import { bulks, call, load, openSearch } from "./logs.ts";

/** Matches logs-*, what the keeper looks at, but no pattern of the site's own policy. */
const INDICES = "logs-e2e-*";
const POLICY = "e2e-logs";

/** The site's documents with ages of a minute. */
function short(cluster: Cluster): { policy: Json; snapshots: Json } {
  const vars = { ...cluster.vars, LOG_RETENTION: "1m", LOG_SNAPSHOT_RETENTION: "1m" };
  const snapshots = documentSpec("snapshot-policy", { ...cluster, vars });
  const deletion = snapshots.deletion as Json;
  return {
    policy: {
      ...documentSpec("index-policy", { ...cluster, vars }),
      ism_template: [{ index_patterns: [INDICES], priority: 200 }],
    },
    snapshots: {
      ...snapshots,
      deletion: {
        ...deletion,
        schedule: { cron: { expression: "* * * * *", timezone: "UTC" } },
        snapshot_pattern: INDICES,
      },
    },
  };
}

/** ISM at its quickest: one run in a minute, at once. `null` puts the defaults back. */
function quicken(cluster: Cluster, quick: boolean): Promise<unknown> {
  const persistent = {
    "plugins.index_state_management.job_interval": quick ? 1 : null,
    "plugins.index_state_management.jitter": quick ? 0 : null,
  };
  return call(cluster, "PUT", "/_cluster/settings", { persistent });
}

/** Takes policies, indices and snapshots of the suite away. */
export async function tidy(cluster: Cluster): Promise<void> {
  const os = openSearch(cluster);
  await os.fetch(`/_plugins/_sm/policies/${POLICY}`, { method: "DELETE" });
  await call(cluster, "DELETE", `/${INDICES}?ignore_unavailable=true`);
  await os.fetch(`/_plugins/_ism/policies/${POLICY}`, { method: "DELETE" });
  const names = (await snapshotsOf(cluster)).map(({ snapshot }) => encodeURIComponent(snapshot));
  for (const name of names) await call(cluster, "DELETE", `/_snapshot/${REPOSITORY}/${name}`);
  await quicken(cluster, false);
}

/** Snapshots of the suite's indices. */
export async function snapshotsOf(
  cluster: Cluster,
): Promise<{ snapshot: string; state: string; indices: string[] }[]> {
  const path = `/_snapshot/${REPOSITORY}/${INDICES}?ignore_unavailable=true`;
  return (await call(cluster, "GET", path)).snapshots;
}

/** Puts the short policies in force, and an index with so many documents under them. */
export async function begin(cluster: Cluster, index: string, documents: number): Promise<void> {
  const os = openSearch(cluster);
  await quicken(cluster, true);
  await ensure(document("IndexPolicy", POLICY, short(cluster).policy), os);
  const time = new Date().toISOString();
  await load(cluster, bulks(index, { documents, size: 1000, time }));
}

/** Puts the short policy of snapshots in force. */
export async function expire(cluster: Cluster): Promise<void> {
  await ensure(document("SnapshotPolicy", POLICY, short(cluster).snapshots), openSearch(cluster));
}

/** Fails while the index is there; and at once when it is gone without a whole snapshot. */
export async function gone(cluster: Cluster, index: string): Promise<void> {
  const there = await openSearch(cluster).fetch(`/${index}`, { method: "HEAD" });
  if (there.status !== 404) {
    const explain = await call(cluster, "GET", `/_plugins/_ism/explain/${index}`);
    assert.fail(`${index} is still there: ${JSON.stringify(explain)}`);
  }
  const taken = (await snapshotsOf(cluster)).filter(({ indices }) => indices.includes(index));
  assert.ok(taken.some(({ state }) => state === "SUCCESS"), `${index} is lost: no snapshot of it`);
}

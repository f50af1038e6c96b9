import assert from "node:assert/strict";
import { backupAlerts, backupJobs } from "../../../scripts/components/longhorn/objects.ts";
import { prometheus } from "../../../scripts/20-prometheus.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

async function alertAt(LONGHORN_BACKUP_CRON: string): Promise<string | undefined> {
  const cluster = await fixtureCluster("197", { LONGHORN_BACKUP_CRON });
  return backupAlerts(cluster)[0]?.spec.groups[0].rules[0].expr;
}

Deno.test("R5: a backup is too old a day after the longest pause of its schedule", async () => {
  const wanted: [cron: string, days: number][] = [
    ["0 3 * * *", 2],
    ["*/30 1,13 * * *", 2],
    ["0 3 * * 0", 8],
    ["0 3 1 * *", 32],
    ["0 3 1 1 *", 367],
  ];
  for (const [cron, days] of wanted) {
    assert.match((await alertAt(cron))!, new RegExp(`> ${days * 86400} and `), cron);
  }
});

Deno.test("R5: without a job no backup is missed, nor without Longhorn", async () => {
  assert.equal(await alertAt("never"), undefined);
  assert.deepEqual(backupJobs(await fixtureCluster("197", { LONGHORN_BACKUP_CRON: "never" })), []);
  const existing = await fixtureCluster("197", { STORAGE: "existing", STORAGE_CLASS: "fast" });
  const names = (await prometheus.objects(existing)).map(({ metadata }) => metadata.name);
  assert.ok(!names.includes("longhorn-backup-age"));
});

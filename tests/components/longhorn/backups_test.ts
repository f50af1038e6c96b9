import assert from "node:assert/strict";
import { ensure } from "../../../lib/core/resource.ts";
import {
  backupAlerts,
  backupGroup,
  backupJobs,
} from "../../../scripts/components/longhorn/backups.ts";
import { claimsOf } from "../../../scripts/checks/room.ts";
import { prometheus } from "../../../scripts/20-prometheus.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf } from "../../support/fake_kubectl.ts";
import { renderedFleet } from "../../support/rendered_fixture.ts";
import { volumeOf } from "../../support/world.ts";

type Rule = { alert?: string; expr: string };

async function alertAt(LONGHORN_BACKUP_CRON: string): Promise<string | undefined> {
  const cluster = await fixtureCluster("197", { LONGHORN_BACKUP_CRON });
  const rules: Rule[] = backupAlerts(cluster)[0]?.spec.groups[0].rules ?? [];
  return rules.find(({ alert }) => alert === "LonghornBackupTooOld")?.expr;
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

// Before kubectl, which renders, is a fake.
const rendered = await renderedFleet();
const KUBECONFIG = { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" };
const DEFAULT = "recurring-job-group.longhorn.io/default";
const BACKUP = "recurring-job-group.longhorn.io/thanos-multi-cluster";

/** Volumes with labels of their own, as Longhorn has them. */
function labelled(volumes: Record<string, string[]>) {
  return Object.entries(volumes).map(([id, labels]) => {
    const [namespace, name] = id.split("/") as [string, string];
    const { metadata, ...rest } = volumeOf(name, 8, namespace);
    const all = Object.fromEntries(labels.map((label) => [label, "enabled"]));
    return { ...rest, metadata: { ...metadata, labels: all } };
  });
}

async function grouped(volumes: Record<string, string[]>, settings: Record<string, string> = {}) {
  const cluster = await fixtureCluster("197", { ...KUBECONFIG, ...settings });
  const calls = await fakeKubectl([
    { on: "get volumes.longhorn.io", stdout: listOf(...labelled(volumes)) },
    { on: "label" },
  ]);
  const [resource] = backupGroup.of(cluster);
  if (!resource) return { outcome: "none", fields: [], written: [] };
  const { outcome, look } = await ensure(resource, cluster);
  const written = (await calls()).map(({ args }) => args.replace(/^.*?(label|get) /, "$1 "))
    .filter((args) => !args.startsWith("get"));
  return { outcome, fields: look.fields, written };
}

Deno.test("P8: volumes of a site that backs up every one leave the job, and nothing is deleted", async () => {
  const { outcome, fields, written } = await grouped({
    "monitoring/kube-prometheus-stack-grafana": [DEFAULT],
    "monitoring/alertmanager-x-db-0": [DEFAULT],
    "monitoring/data-thanos-compactor-0": [DEFAULT],
    "shop/kube-prometheus-stack-grafana": [DEFAULT],
  });
  const words = (name: string) =>
    `label --overwrite volumes.longhorn.io ${name} ${BACKUP}=enabled -n longhorn-system`;
  assert.deepEqual(written, [words("kube-prometheus-stack-grafana"), words("alertmanager-x-db-0")]);
  assert.equal(outcome, "configured");
  assert.deepEqual(fields, [
    'monitoring/kube-prometheus-stack-grafana: "left out" -> "backed up"',
    'monitoring/alertmanager-x-db-0: "left out" -> "backed up"',
  ]);
  const [job] = backupJobs(await fixtureCluster("197"));
  assert.deepEqual(
    job!.spec.groups.map((group: string) => `recurring-job-group.longhorn.io/${group}`),
    [
      BACKUP,
    ],
  );
});

Deno.test("P8: a claim that is chosen no more leaves the job; without one, or a job, nothing is written", async () => {
  const volumes = {
    "monitoring/kube-prometheus-stack-grafana": [DEFAULT, BACKUP],
    "monitoring/alertmanager-x-db-0": [BACKUP],
  };
  assert.deepEqual((await grouped(volumes)).outcome, "unchanged");
  const { written } = await grouped(volumes, { LONGHORN_BACKUP_CLAIMS: "shop/*,*/alertmanager-*" });
  assert.deepEqual(written, [
    `label --overwrite volumes.longhorn.io kube-prometheus-stack-grafana ${BACKUP}- -n longhorn-system`,
  ]);
  assert.equal((await grouped(volumes, { LONGHORN_BACKUP_CRON: "never" })).outcome, "none");
});

Deno.test("P8: the default chooses Grafana's database and Alertmanager's silences of all that the steps claim", async () => {
  for (const id of ["196", "197", "198"]) {
    const own = rendered.filter(({ cluster }) => cluster.id === id);
    const claims = [...claimsOf(own.flatMap(({ objects }) => objects)).keys()];
    assert.ok(claims.length > 3, claims.join());
    const { fields } = await grouped(Object.fromEntries(claims.map((claim) => [claim, [DEFAULT]])));
    const program = /^monitoring\/(kube-prometheus-stack-grafana|alertmanager-\S+-0): /;
    assert.deepEqual(fields?.map((field) => program.test(field)), [true, true], id);
  }
});

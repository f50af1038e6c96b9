// make restore-volume, against Longhorn's objects as its manager writes them.
import assert from "node:assert/strict";
import { PersistentVolume, PersistentVolumeClaim } from "kubernetes-models/v1";
import { DeployError } from "../../../lib/core/error.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import {
  type Backup,
  backupsOf,
  restoredObjects,
  restoreVolume,
} from "../../../scripts/components/longhorn/backups.ts";
import { backupFor, backupTable } from "../../../scripts/operate/restore_volume.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";
import { inventoryOf } from "../../support/inventory.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
const target = {
  namespace: "monitoring",
  name: "data",
  storageClass: "longhorn",
  replicas: 1,
};

function backup(name: string, at: string, claim = "monitoring/data"): Backup {
  return { name, claim, at, bytes: 2 ** 30, url: `s3://b@us-east-1/?backup=${name}&volume=pvc-1` };
}

/** As Longhorn 1.12 shows one. */
function live(name: string, at: string, status: Record<string, unknown> = {}): Manifest {
  const claim = { pvName: "pvc-1", namespace: "monitoring", pvcName: "data" };
  return {
    apiVersion: "longhorn.io/v1beta2",
    kind: "Backup",
    metadata: { name, namespace: "longhorn-system" },
    status: {
      state: "Completed",
      snapshotCreatedAt: at,
      volumeSize: "1073741824",
      url: `s3://b@us-east-1/?backup=${name}&volume=pvc-1`,
      labels: { KubernetesStatus: JSON.stringify(claim) },
      ...status,
    },
  };
}

Deno.test("backupsOf() gives whole backups of claims, newest first", async () => {
  const items = [
    live("backup-1", "2026-11-20T02:00:00Z"),
    live("backup-3", "2026-11-22T02:00:00Z", { state: "InProgress" }),
    live("backup-4", "2026-11-22T02:00:00Z", { labels: null }),
    live("backup-5", "2026-11-22T02:00:00Z", { state: "Error", labels: undefined }),
    live("backup-2", "2026-11-21T02:00:00Z"),
  ];
  await fakeKubectl([{ on: "get backups.longhorn.io", stdout: JSON.stringify({ items }) }]);
  assert.deepEqual(await backupsOf(cluster), [
    backup("backup-2", "2026-11-21T02:00:00Z"),
    backup("backup-1", "2026-11-20T02:00:00Z"),
  ]);
});

const BACKUPS = [
  backup("backup-2", "2026-11-21T02:00:00Z"),
  backup("backup-9", "2026-11-20T03:00:00Z", "logging/data-opensearch-0"),
  backup("backup-1", "2026-11-20T02:00:00Z"),
];

Deno.test("backupTable() shows one line per claim", () => {
  const [, ...lines] = backupTable(BACKUPS, "UTC").trimEnd().split("\n");
  assert.deepEqual(lines.map((line) => line.trim().split(/ {2,}/)), [
    ["logging/data-opensearch-0", "backup-9", "2026-11-20 03:00", "1.0Gi", "-"],
    ["monitoring/data", "backup-2", "2026-11-21 02:00", "1.0Gi", "backup-1"],
  ]);
});

Deno.test("backupTable() says when they were taken where the people are", () => {
  const [head, first] = backupTable(BACKUPS.slice(1), "America/St_Johns").split("\n");
  assert.match(head!, /TAKEN \(America\/St_Johns\)/);
  assert.match(first!, /2026-11-19 23:30/);
});

Deno.test("backupFor() takes the newest or the named one, and says what there is instead", () => {
  assert.equal(backupFor(BACKUPS, "monitoring/data").name, "backup-2");
  assert.equal(backupFor(BACKUPS, "monitoring/data", "backup-1").name, "backup-1");
  const refused = (claim: string, name?: string) => {
    try {
      backupFor(BACKUPS, claim, name);
    } catch (error) {
      assert.ok(error instanceof DeployError);
      return [error.exitCode, error.where];
    }
  };
  assert.deepEqual(refused("monitoring/data", "backup-9"), [2, ["there are: backup-2, backup-1"]]);
  assert.deepEqual(refused("data"), [2, ["there are: logging/data-opensearch-0, monitoring/data"]]);
});

Deno.test("restoredObjects() ties claim and volume to each other, under names that a second run gives again", () => {
  const [first, again] = [1, 2].map(() => restoredObjects(cluster, BACKUPS[0]!, target));
  assert.deepEqual(first, again);
  const other = restoredObjects(cluster, BACKUPS[0]!, { ...target, name: "data-old" });
  const { volume, claimed: [persistent, claim] } = first!;
  assert.notEqual(volume.metadata.name, other.volume.metadata.name);
  assert.ok(volume.metadata.name.length <= 40, "Longhorn cuts longer names");
  assert.equal(volume.spec.fromBackup, BACKUPS[0]!.url);
  // deno-lint-ignore no-explicit-any
  new PersistentVolume(persistent as any).validate();
  // deno-lint-ignore no-explicit-any
  new PersistentVolumeClaim(claim as any).validate();
  assert.equal(persistent!.spec.csi.volumeHandle, volume.metadata.name);
  assert.equal(claim!.spec.volumeName, persistent!.metadata.name);
  assert.equal(persistent!.spec.claimRef.name, claim!.metadata.name);
  assert.equal(persistent!.spec.persistentVolumeReclaimPolicy, "Retain");
});

const { volume } = restoredObjects(cluster, BACKUPS[0]!, target);
const labels = { "app.kubernetes.io/managed-by": "thanos-multi-cluster" };

/** The claims of the namespace, and what Longhorn says of the volume at one look after the other. */
async function during(claims: unknown[], statuses: Record<string, unknown>[]) {
  const bound = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace: "monitoring", labels },
    status: { phase: "Bound" },
  };
  return await fakeKubectl([
    { on: "get persistentvolumeclaims", stdout: JSON.stringify({ items: claims }) },
    // Nothing is there when it is applied; each later look is at the volume.
    {
      on: "get volume.v1beta2.longhorn.io",
      stdout: JSON.stringify({ items: [] }),
      times: 1,
    },
    { on: "apply", stdout: JSON.stringify({ items: [], kind: "List" }) },
    ...statuses.map((status, index) => ({
      on: "get volume.v1beta2.longhorn.io",
      stdout: JSON.stringify({ items: [{ ...volume, status }] }),
      times: index < statuses.length - 1 ? 1 : 1e6,
    })),
    { on: "get persistentvolume", stdout: JSON.stringify({ items: [bound] }) },
  ]);
}

Deno.test("restoreVolume() gives the claim its volume only when Longhorn has restored it", async () => {
  const calls = await during([], [
    { state: "attached", restoreInitiated: true, restoreRequired: true },
    { state: "detached", restoreInitiated: true, restoreRequired: false },
  ]);
  await restoreVolume(inventoryOf(cluster, []), BACKUPS[0]!, target, () => {});
  const applied = (await calls()).filter(({ args }) => args.includes("apply"));
  const kinds = applied.map(({ stdin }) =>
    JSON.parse(stdin).items.map(({ kind }: Manifest) => kind).join()
  );
  assert.deepEqual(kinds, ["Volume", "PersistentVolumeClaim,PersistentVolume"]);
});

Deno.test("restoreVolume() never touches a claim that is there", async () => {
  const calls = await during([{ metadata: { name: "data" }, spec: { volumeName: "pvc-1" } }], []);
  await assert.rejects(restoreVolume(inventoryOf(cluster, []), BACKUPS[0]!, target, () => {}), {
    exitCode: 4,
    message: "Cannot restore: claim monitoring/data is there",
  });
  assert.equal((await calls()).filter(({ args }) => args.includes("apply")).length, 0);
});

Deno.test("restoreVolume() ends when Longhorn has given the volume up", async () => {
  const message = "All replica restore failed and the volume became Faulted";
  const failed = { type: "Restore", status: "False", reason: "RestoreFailure", message };
  await during([], [{ state: "detached", restoreRequired: true, conditions: [failed] }]);
  await assert.rejects(restoreVolume(inventoryOf(cluster, []), BACKUPS[0]!, target, () => {}), {
    exitCode: 7,
    where: [message],
  });
});

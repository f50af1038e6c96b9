// Backups of Longhorn's volumes: a list of them, or with CLAIM the newest of one as a volume again, under its old claim
// or another name (AS). Needs 10-longhorn. Safe to run again: a restore goes on, and no volume is ever written over.
import "../needs.ts";
import process from "node:process";
import { basePathOf, type Cluster, text } from "../../lib/core/cluster.ts";
import { command, onlyOf, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { configError } from "../../lib/core/error.ts";
import { clockOf } from "../../lib/core/time.ts";
import { counted } from "../../lib/core/short_list.ts";
import { Inventory } from "../../lib/apply/inventory.ts";
import { connect } from "../../lib/kube/target.ts";
import { print, Report, table } from "../../lib/io/report.ts";
import { replicasOf } from "../components/longhorn/state.ts";
import { type Backup, backupsOf, restoreVolume } from "../components/longhorn/backups.ts";
import { inGi } from "../checks/room.ts";

const USAGE =
  "[CLAIM=monitoring/data] [BACKUP=backup-1a2b] [AS=data-old] restore-volume.ts CLUSTER";

const report = new Report(), started = performance.now();

await command(USAGE, {}, async (ids) => {
  const { CLAIM, BACKUP, AS } = process.env;
  const cluster = await onlyOf(ids, "make restore-volume CLUSTER=", WITHOUT_SECRETS);
  if (text(cluster, "STORAGE") === "existing") {
    const what = "STORAGE=existing: the volumes are not Longhorn's";
    const fix = "restore them the way that their own storage offers";
    throw configError(what, { fix });
  }
  const inventory = new Inventory(await connect(cluster));
  const backups = await backupsOf(cluster);
  if (CLAIM) await restores(inventory, backupFor(backups, CLAIM, BACKUP), AS);
  else list(cluster, backups);
}, import.meta.main);

function list(cluster: Cluster, backups: Backup[]): void {
  if (backups.length === 0) {
    const where = `${text(cluster, "LONGHORN_BUCKET")}, ${basePathOf(cluster.id)}/`;
    return report.say(`Longhorn knows no backup of a claim yet (${where})`);
  }
  print(backupTable(backups, text(cluster, "TIMEZONE")));
  const words = `CLUSTER=${cluster.id} CLAIM=${backups[0]!.claim} AS=name`;
  report.say(`restore the newest: make restore-volume ${words}`);
}

/** One line per claim, its newest backup first, with times of that zone. */
export function backupTable(backups: Backup[], zone: string): string {
  const clock = clockOf(zone);
  const claims = [...Map.groupBy(backups, ({ claim }) => claim)] as [string, [Backup]][];
  const rows = claims.sort(([a], [b]) => a.localeCompare(b)).map(([claim, [newest, ...older]]) => {
    const { name, at, bytes } = newest;
    const taken = at && clock(new Date(at)).slice(0, 16).replace("T", " ");
    const others = older.map(({ name }) => name).join(", ");
    return [claim, name, taken, inGi(bytes), others || "-"];
  });
  return table([["CLAIM", "NEWEST BACKUP", `TAKEN (${zone})`, "SIZE", "OLDER ONES"], ...rows]);
}

/** The backup of that name, or the newest one, of a claim (`namespace/name`). @throws {DeployError} exit 2: none. */
export function backupFor(backups: Backup[], claim: string, name?: string): Backup {
  const own = backups.filter((backup) => backup.claim === claim);
  const found = own.find((backup) => !name || backup.name === name);
  if (found) return found;
  const names = own.map(({ name }) => name), claims = new Set(backups.map(({ claim }) => claim));
  const there = own.length > 0 ? names : [...claims].sort();
  const where = `there are: ${there.join(", ") || "none at all"}`;
  const fix = "CLAIM=namespace/name and BACKUP as make restore-volume without them lists them";
  const what = `No backup ${name ? `${name} ` : ""}of claim ${claim}`;
  throw configError(what, { where, fix });
}

async function restores(inventory: Inventory, backup: Backup, as?: string): Promise<void> {
  const { cluster } = inventory;
  const [namespace, own] = backup.claim.split("/") as [string, string];
  const name = as || own, storageClass = text(cluster, "STORAGE_CLASS");
  report.heading(`${backup.claim} of ${backup.at} to ${namespace}/${name}`);
  const target = { namespace, name, storageClass, replicas: await replicasOf(cluster) };
  const changes = await restoreVolume(inventory, backup, target, report.waiting);
  report.changes(changes);
  const { length } = changes.filter(({ action }) => action !== "unchanged");
  const seconds = (performance.now() - started) / 1000;
  report.say(`${counted(length, "change")} in ${seconds.toFixed(1)}s`);
}

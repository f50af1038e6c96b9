// The S3 keys that the Secrets of a cluster hold, those that the settings want there, and what becomes of the others.
import { Buffer } from "node:buffer";
import { apply } from "../../../lib/apply/apply.ts";
import type { Inventory } from "../../../lib/apply/inventory.ts";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { configError } from "../../../lib/core/error.ts";
import { OWNED_LABELS, secret } from "../../../lib/core/object.ts";
import type { Report } from "../../../lib/io/report.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { keyOf, type S3Key, s3Of } from "../../../lib/s3/client.ts";
import { administration, disableUser, userInfo } from "../../components/minio/admin.ts";
import { STEPS } from "../../steps.ts";

const HOLDERS = STEPS.flatMap(({ s3Key }) => s3Key ?? []);

/** The key in every Secret (`where`: `namespace/name`) of a cluster, and the one `wanted` there by the settings. */
export async function holdingsOf(cluster: Cluster) {
  const found = await Promise.all(HOLDERS.map(async ({ program, keeps, namespace, name, read }) => {
    const values = await valuesOf(cluster, namespace, name);
    if (!values) return [];
    const { accessKey = "", secretKey = "" } = read(values);
    const key: S3Key = { accessKey: String(accessKey), secretKey: String(secretKey) };
    const where = `${namespace}/${name}`;
    return [{ cluster, program, keeps, where, key, wanted: keyOf(cluster, program) }];
  }));
  return found.flat();
}

/** The key that the Secret of a program holds. */
export type Holding = Awaited<ReturnType<typeof holdingsOf>>[number];

async function valuesOf(cluster: Cluster, namespace: string, name: string) {
  const words = ["get", "secret", name, "--namespace", namespace, "--ignore-not-found"];
  const answer = await kubectl([...words, "--output", "json"], { cluster });
  if (!answer.trim()) return undefined;
  const data: Record<string, string> = JSON.parse(answer).data ?? {};
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
  );
}

/** Those whose key is not the one of the settings. */
export function outdated(holdings: Holding[]): Holding[] {
  return holdings.filter(({ key, wanted }) =>
    key.accessKey !== wanted.accessKey || key.secretKey !== wanted.secretKey
  );
}

/** Refuses (exit 2) a new secret for a key id in use: as soon as the server has it, who holds the old one is shut out. */
export function refuseSameId(holdings: Holding[]): void {
  const same = outdated(holdings).filter(({ key, wanted }) => key.accessKey === wanted.accessKey);
  if (same.length === 0) return;
  throw configError("Cannot rotate: a key has a new secret, but not a new id", {
    where: same.map((one) => `${one.wanted.setting} is in use on ${one.cluster.id} (${one.where})`),
    fix: "give the new secret a new *_S3_ACCESS_KEY, so that both are valid for a while; " +
      "if the old secret is refused already: make all",
  });
}

/** Key ids of `seen` that no program of the fleet shall have any longer, each once. */
export function oldKeys(fleet: Cluster[], seen: string[]): string[] {
  const wanted = fleet.flatMap((one) => HOLDERS.map(({ program }) => keyOf(one, program)));
  const current = new Set(["", ...wanted.map(({ accessKey }) => accessKey)]);
  return [...new Set(seen).difference(current)];
}

/** `ids` that a cluster has held, and those that paused ones may hold by S3_KEY_PER_CLUSTER (`KEY-197`). */
export function andOfPaused(ids: string[], { id }: Cluster, paused: string[]): string[] {
  // After the pause any deploy writes over them, unseen.
  const stems = ids.filter((key) => key.endsWith(`-${id}`)).map((key) => key.slice(0, -id.length));
  return [...ids, ...stems.flatMap((stem) => paused.map((other) => stem + other))];
}

/** A key id as it may be shown. */
export function lastFour(accessKey: string): string {
  return `…${accessKey.slice(-4)}`;
}

/** Disables the users of old keys where S3_ACCESS_KEY may administrate the MinIO, but its own; nothing is removed. */
export async function retire(old: string[], fleet: Cluster[], report: Report): Promise<void> {
  const site = new Set(fleet.map((cluster) => keyOf(cluster).accessKey));
  const left = new Set(old).difference(site);
  const servers = Map.groupBy(fleet, (cluster) => text(cluster, "S3_ENDPOINT"));
  for (const [server] of servers.values()) {
    using s3 = s3Of(server!);
    if (await administration(s3) !== "yes") continue;
    for (const id of left) {
      if (!(await userInfo(s3, id, "an old key"))?.enabled) continue;
      await disableUser(s3, id);
      left.delete(id);
      const how = "is disabled (mc admin user enable brings it back)";
      report.say(`    changed    the user of the old key ${lastFour(id)} ${how}`);
    }
  }
  for (const id of site.intersection(new Set(old))) {
    report.note(`the old key ${lastFour(id)} stays valid: it is S3_ACCESS_KEY of this machine`);
  }
  const why = "it is no enabled user that S3_ACCESS_KEY could disable";
  for (const id of left) {
    const what = `no cluster uses the old key ${lastFour(id)} any longer`;
    report.note(`${what}: take it away on the S3 server (${why})`);
  }
}

// A run that is cut off after the Secrets are new would not know any more which key was the old one.
const MEMORY = { namespace: "default", name: "s3-keys-before-rotation" };

/** Key ids that an earlier run has replaced on a cluster, and not retired. */
export async function remembered(cluster: Cluster): Promise<string[]> {
  const values = await valuesOf(cluster, MEMORY.namespace, MEMORY.name);
  return values?.ids?.split("\n").filter(Boolean) ?? [];
}

/** Keeps the ids (no secrets) on a cluster until {@link forget}. */
export async function remember(inventory: Inventory, ids: string[]): Promise<void> {
  const values = { ids: [...new Set(ids)].sort().join("\n") };
  const { namespace, name } = MEMORY;
  await apply(inventory, [secret(name, namespace, values, { labels: OWNED_LABELS })]);
}

/** Removes what {@link remember} has left. */
export async function forget(cluster: Cluster): Promise<void> {
  const words = ["delete", "secret", MEMORY.name, "--namespace", MEMORY.namespace];
  await kubectl([...words, "--ignore-not-found"], { cluster });
}

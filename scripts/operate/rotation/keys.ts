// The S3 keys that the Secrets of a cluster hold, and those that the settings want there.
import { Buffer } from "node:buffer";
import { apply } from "../../../lib/apply/apply.ts";
import type { Inventory } from "../../../lib/apply/inventory.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { OWNER, secret } from "../../../lib/core/object.ts";
import { STEPS } from "../../steps.ts";
import { keyOf, type S3Key } from "../../../lib/s3/client.ts";

/** The key that the Secret of a program holds. */
export interface Holding {
  cluster: Cluster;
  program: string;
  /** What is in its bucket, in a word. */
  keeps: string;
  /** The Secret, as `namespace/name`. */
  where: string;
  key: S3Key;
}

const HOLDERS = STEPS.flatMap(({ s3Key }) => s3Key ?? []);

/** Every key that the Secrets of a cluster hold; none of a program that it does not have. */
export async function holdingsOf(cluster: Cluster): Promise<Holding[]> {
  const found = await Promise.all(HOLDERS.map(async ({ program, keeps, namespace, name, read }) => {
    const values = await valuesOf(cluster, namespace, name);
    if (!values) return [];
    const { accessKey = "", secretKey = "" } = read(values);
    const key = { accessKey: String(accessKey), secretKey: String(secretKey) };
    return [{ cluster, program, keeps, where: `${namespace}/${name}`, key }];
  }));
  return found.flat();
}

async function valuesOf(
  cluster: Cluster,
  namespace: string,
  name: string,
): Promise<Record<string, string> | undefined> {
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
  return holdings.filter(({ cluster, program, key }) => {
    const wanted = keyOf(cluster, program);
    return key.accessKey !== wanted.accessKey || key.secretKey !== wanted.secretKey;
  });
}

/**
 * Refuses (exit 2) a new secret for a key id that is in use: from the moment the server has it, every
 * program that holds the old one is shut out, so there is no rotation without a gap.
 */
export function refuseSameId(holdings: Holding[]): void {
  const same = outdated(holdings).filter(({ cluster, program, key }) =>
    key.accessKey === keyOf(cluster, program).accessKey
  );
  if (same.length === 0) return;
  throw new DeployError("Cannot rotate: a key has a new secret, but not a new id", {
    exitCode: ExitCode.config,
    where: same.map(({ cluster, program, where }) =>
      `${keyOf(cluster, program).setting} is in use on ${cluster.id} (${where})`
    ),
    fix: "give the new secret a new *_S3_ACCESS_KEY, so that both are valid for a while; " +
      "if the old secret is refused already: make all",
  });
}

/** Key ids of `seen` that no program of the fleet shall have any longer, each once. */
export function oldKeys(fleet: Cluster[], seen: string[]): string[] {
  const wanted = new Set(
    fleet.flatMap((cluster) => HOLDERS.map(({ program }) => keyOf(cluster, program).accessKey)),
  );
  return [...new Set(seen)].filter((id) => id !== "" && !wanted.has(id));
}

/** A key id as it may be shown. */
export function lastFour(accessKey: string): string {
  return `…${accessKey.slice(-4)}`;
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
  const labels = { "app.kubernetes.io/managed-by": OWNER };
  await apply(inventory, [secret(MEMORY.name, MEMORY.namespace, values, { labels })]);
}

/** Removes what {@link remember} has left. */
export async function forget(cluster: Cluster): Promise<void> {
  const words = ["delete", "secret", MEMORY.name, "--namespace", MEMORY.namespace];
  await kubectl([...words, "--ignore-not-found"], { cluster });
}

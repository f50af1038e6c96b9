// Room for restored indices on the disks of OpenSearch.
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import type { OpenSearch } from "../../../lib/opensearch/documents.ts";
import { read } from "../../../lib/opensearch/client.ts";

/** A data node's disk, in bytes. */
export interface Disk {
  name: string;
  total: number;
  available: number;
}

/** OpenSearch gives a node above the first no shard, and fills none beyond the second. */
const LOW = 0.85, HIGH = 0.9;

/** Refuses a restore of so many bytes that OpenSearch's disks should not take. @throws {DeployError} exit 3. */
export async function refuseWithoutRoom(os: OpenSearch, day: string, bytes: number): Promise<void> {
  const { nodes } = await read(os, "/_nodes/stats/fs");
  const disks = Object.values<NodeStats>(nodes).filter(({ roles }) => roles.includes("data"))
    .map(({ name, fs: { total } }) => ({
      name,
      total: total.total_in_bytes,
      available: total.available_in_bytes,
    }));
  if (roomOf(disks) >= bytes) return;
  throw new DeployError(
    `Cannot restore ${day}: it takes ${sizeText(bytes)}, and there is room for ` +
      sizeText(roomOf(disks)),
    {
      exitCode: ExitCode.prerequisite,
      where: [
        ...disks.map(({ name, total, available }) =>
          `${name}: ${sizeText(total - available)} of ${sizeText(total)} are used`
        ),
        "OpenSearch puts nothing on a disk that is 85 % full, and fills none beyond 90 %; at 95 % " +
        "it would refuse new lines",
      ],
      fix: "drop days that were restored before, or raise OPENSEARCH_STORAGE",
    },
  );
}

interface NodeStats {
  name: string;
  roles: string[];
  fs: { total: { total_in_bytes: number; available_in_bytes: number } };
}

/** Bytes that OpenSearch would take for restored indices: far from where it refuses new lines. */
export function roomOf(disks: Disk[]): number {
  return disks.filter(({ total, available }) => available > (1 - LOW) * total)
    .reduce((sum, { total, available }) => sum + available - (1 - HIGH) * total, 0);
}

/** `411 kB`, `1.2 GB`. */
export function sizeText(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

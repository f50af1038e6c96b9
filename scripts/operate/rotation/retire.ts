// What becomes of keys that no cluster holds any longer.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { administration, disableUser, userInfo } from "../../components/minio/admin.ts";
import { s3Of, siteKey } from "../../../lib/s3/client.ts";
import { lastFour } from "./keys.ts";

/** What was done with the old keys, and what is left to the operator, as sentences. */
export interface Retired {
  changes: string[];
  notes: string[];
}

/**
 * Disables the users of old keys where S3_ACCESS_KEY may administrate the MinIO; nothing is removed.
 * The key that is S3_ACCESS_KEY stays, and so does what is no user of MinIO's own, such as its root.
 */
export async function retire(old: string[], fleet: Cluster[]): Promise<Retired> {
  const done: Retired = { changes: [], notes: [] };
  const site = new Set(fleet.map((cluster) => siteKey(cluster).accessKey));
  for (const id of old.filter((id) => site.has(id))) {
    done.notes.push(`the old key ${lastFour(id)} stays valid: it is S3_ACCESS_KEY of this machine`);
  }
  const others = old.filter((id) => !site.has(id));
  const left = new Set(others);
  for (const server of servers(fleet)) {
    using s3 = s3Of(server);
    if (await administration(s3) !== "yes") continue;
    for (const id of others) {
      if (!(await userInfo(s3, id, "an old key"))?.enabled) continue;
      await disableUser(s3, id);
      left.delete(id);
      done.changes.push(
        `the user of the old key ${lastFour(id)} is disabled (mc admin user enable brings it back)`,
      );
    }
  }
  for (const id of left) {
    done.notes.push(
      `no cluster uses the old key ${lastFour(id)} any longer: take it away on the S3 server ` +
        "(it is no enabled user that S3_ACCESS_KEY could disable)",
    );
  }
  return done;
}

/** One cluster of each S3 server. */
function servers(fleet: Cluster[]): Cluster[] {
  return [...Map.groupBy(fleet, (cluster) => text(cluster, "S3_ENDPOINT")).values()]
    .map(([first]) => first!);
}

// Checks of the buckets: the key of each program may do what it does with its bucket.
import { probeBucket } from "../../lib/s3/bucket.ts";
import type { Problem } from "../../lib/core/check.ts";
import { text } from "../../lib/core/cluster.ts";
import { keyOf, type Program, s3Of } from "../../lib/s3/client.ts";
import type { Subject } from "../../lib/core/check.ts";

/** The bucket of that setting takes, gives back, lists and deletes an object; a refusal is thrown. */
export function bucket(setting: `${Program}_BUCKET`) {
  return async ({ cluster }: Subject): Promise<Problem[]> => {
    const program = setting.replace("_BUCKET", "") as Program;
    using s3 = s3Of(cluster, { key: keyOf(cluster, program) });
    await probeBucket(s3, text(cluster, setting));
    return [];
  };
}

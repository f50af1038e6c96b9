// Checks of the buckets: the key of the settings may do what the programs do with it.
import type { Problem } from "../../lib/check.ts";
import { text } from "../../lib/cluster.ts";
import { probeBucket, s3Of } from "../../lib/s3.ts";
import type { Subject } from "./subject.ts";

/** The bucket of that setting takes, gives back, lists and deletes an object; a refusal is thrown. */
export function bucket(setting: string) {
  return async ({ cluster }: Subject): Promise<Problem[]> => {
    using s3 = s3Of(cluster);
    await probeBucket(s3, text(cluster, setting));
    return [];
  };
}

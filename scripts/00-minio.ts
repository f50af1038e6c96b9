// 00-minio: the three buckets on the external S3, and proof that the key may use them.
// Needs no cluster: works before one exists. Safe to run again, and for all clusters at once.
import { type Cluster, text } from "../lib/cluster.ts";
import { main } from "../lib/command.ts";
import { assertUnversioned, ensureBucket, probeBucket, s3Of } from "../lib/s3.ts";
import { step } from "../lib/step.ts";

export const minio = step({
  name: "00-minio",
  needsCluster: false,
  objects: () => Promise.resolve([]),
  async run({ cluster, phase, changed, report }) {
    using s3 = s3Of(cluster);
    const buckets = bucketsOf(cluster);
    await phase("Buckets", async () => {
      for (const bucket of buckets) {
        if (await ensureBucket(s3, bucket) === "created") changed(`bucket ${bucket} created`);
      }
    });
    await phase("Access", async () => {
      for (const bucket of buckets) await probeBucket(s3, bucket);
    });
    await phase("Versioning", async () => {
      for (const bucket of buckets) {
        const problem = await assertUnversioned(s3, bucket);
        if (problem) report.warn(problem);
      }
    });
  },
});

function bucketsOf(cluster: Cluster): string[] {
  const names = ["THANOS_BUCKET", "OPENSEARCH_BUCKET", "LONGHORN_BUCKET"];
  return [...new Set(names.map((name) => text(cluster, name)))];
}

if (import.meta.main) await main(minio);

// 00-minio: the three buckets on the external S3, who may use them and how much of it, and proof that
// every program's key works, from here and from inside the cluster. Safe to run again, and for all
// clusters at once.
import "./needs.ts";
import { s3Certificate } from "./checks/certificates.ts";
import { s3Clock, s3FromHere, s3FromInside } from "./checks/s3.ts";
import { BEFORE } from "../lib/core/check.ts";
import { ensureBucket, probeBucket } from "../lib/s3/bucket.ts";
import { ensureVersions } from "../lib/s3/lifecycle.ts";
import { number } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import { administration } from "./components/minio/admin.ts";
import { s3Of } from "../lib/s3/client.ts";
import { step } from "../lib/deploy/step.ts";
import { type Done, ensureQuotas, ensureUsers, leftToOperator } from "./components/minio/users.ts";
import { bucketsOf } from "./components/minio/buckets.ts";
import { reachFromInside } from "./components/minio/inside.ts";

export const minio = step({
  name: "00-minio",
  checks: [
    { ...BEFORE, name: "S3 from here", hop: "keys -> S3", run: s3FromHere },
    { ...BEFORE, name: "Clock of the S3", hop: "S3 -> this machine", run: s3Clock },
    { ...BEFORE, needs: "pods", name: "S3 from inside", hop: "pods -> S3", run: s3FromInside },
    { when: "both", name: "S3 certificates", hop: "clients -> S3", run: s3Certificate },
  ],
  objects: () => Promise.resolve([]),
  async run({ cluster, phase, live, changed, report }) {
    using s3 = s3Of(cluster);
    const buckets = bucketsOf(cluster);
    const tell = ({ changes, notes, warnings }: Done) => {
      for (const change of changes) changed(change);
      for (const note of notes) report.note(note);
      for (const warning of warnings) report.warn(warning);
    };

    await phase("Buckets", async () => {
      for (const { name } of buckets) {
        if (await ensureBucket(s3, name) === "created") changed(`bucket ${name} created`);
      }
    });
    const may = await administration(s3);
    if (may === "yes") {
      await phase("Quotas", async () => tell(await ensureQuotas(s3, cluster)));
      await phase("Users", async () => tell(await ensureUsers(s3, cluster)));
    } else {
      tell(leftToOperator(cluster, may));
    }
    await phase("Deleted objects", async () => {
      const days = number(cluster, "S3_KEEP_DELETED_DAYS");
      for (const { name } of buckets) {
        const isMinio = may !== "no MinIO";
        const { changes, problems } = await ensureVersions(s3, name, { days, isMinio });
        tell({ changes, notes: [], warnings: problems });
      }
      if (may !== "no MinIO") report.note("aborted uploads: MinIO removes them itself after 24 h");
    });
    await phase("Access", async () => {
      for (const { name, key } of buckets) {
        using user = s3Of(cluster, { key });
        await probeBucket(user, name);
      }
    });
    await live("Access from the cluster", () => {
      return reachFromInside(cluster, (missing) => report.waiting(missing));
    });
  },
});

if (import.meta.main) await main(minio);

// 00-minio: the three buckets on the external S3, who may use them and how much of it, and proof that every program's
// key works, from here and from inside the cluster. Safe to run again, and for all clusters at once.
import "./needs.ts";
import { s3Certificate } from "./checks/access.ts";
import { s3Clock, s3FromHere, s3FromInside } from "./checks/s3.ts";
import { BEFORE, BY_POD, hiddenBy } from "../lib/core/check.ts";
import { probeBucket } from "../lib/s3/bucket.ts";
import { main } from "../lib/cli/deploy.ts";
import { s3Of } from "../lib/s3/client.ts";
import { step } from "../lib/deploy/step.ts";
import { hasRun } from "../lib/kube/target.ts";
import { bucketsOf, reachFromInside } from "./components/minio/buckets.ts";
import { storage } from "./components/minio/resources.ts";

export const minio = step({
  name: "00-minio",
  checks: [
    { ...BEFORE, name: "S3 from here", hop: "keys -> S3", run: s3FromHere },
    { ...BEFORE, name: "Clock of the S3", hop: "S3 -> this machine", run: s3Clock },
    { ...BY_POD, slow: true, name: "S3 from inside", hop: "pods -> S3", run: s3FromInside },
    { when: "both", name: "S3 certificates", hop: "clients -> S3", run: s3Certificate },
  ],
  objects: () => Promise.resolve([]),
  resources: [storage],
  async run({ cluster, phase, live, beside, put, isIdle, report }) {
    await put(storage);
    await phase("Access", async () => {
      for (const { name, key, folder } of bucketsOf(cluster)) {
        using user = s3Of(cluster, { key });
        await probeBucket(user, name, folder);
      }
    });
    const isShown = hiddenBy(cluster) === undefined;
    // Programs that go on as they are show it in 50-verify, which comes next.
    if (isShown && isIdle()) return;
    // Where the programs run already, the next steps need not wait for it.
    const prove = isShown && await hasRun("20-prometheus", cluster) ? beside : live;
    await prove("Access from the cluster", () => reachFromInside(cluster, report.waiting));
  },
});

if (import.meta.main) await main(minio);

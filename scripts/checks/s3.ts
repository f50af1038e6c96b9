// The S3 server: its clock, keys and buckets from here, with nothing made there, and from inside; then by writing.
import type { Cluster } from "../../lib/core/cluster.ts";
import { type Check, type Finding, hidden, ok, type Subject, warn } from "../../lib/core/check.ts";
import type { S3KeyHolder } from "../../lib/deploy/step.ts";
import { listing, probeBucket } from "../../lib/s3/bucket.ts";
import { keyOf, s3Of } from "../../lib/s3/client.ts";
import { must } from "../../lib/s3/call.ts";
import { type Bucket, bucketsOf, reachFromInside } from "../components/minio/buckets.ts";
import { aheadOf, clock } from "./node_facts.ts";

/** Buckets and keys, as they are seen from this machine. */
export async function s3FromHere(subject: Subject): Promise<Finding> {
  const answers = await asked(subject);
  const [made, missing] = [true, false].map((wanted) =>
    answers.filter(({ there }) => there === wanted).map(({ bucket }) => bucket).join(", ")
  );
  const later = missing && `${missing} not yet (00-minio makes them)`;
  const seen = [made, later].filter(Boolean).join("; ");
  const refused = answers.flatMap((one) => "refused" in one ? one.refused : []).join(", ");
  const fix = "00-minio makes these users where S3_ACCESS_KEY administrates MinIO; else make them";
  return refused ? warn(`${seen}; refused: ${refused}`, fix) : ok(seen);
}

/** The clock of the server, as its answers tell it. */
export async function s3Clock(subject: Subject): Promise<Finding> {
  const [ahead] = (await asked(subject).catch(() => [])).map(({ ahead }) => ahead)
    .sort((a, b) => Math.abs(b) - Math.abs(a));
  if (ahead === undefined) return hidden("the S3 did not answer");
  return clock("S3", ahead, "set the clock of this machine and of the S3 server (chrony, NTP)");
}

/** A pod lists the buckets, once they are there. */
export async function s3FromInside(subject: Subject): Promise<Finding> {
  const buckets = await asked(subject).catch(() => []);
  if (buckets.length === 0) return hidden("not looked at: see S3 from here");
  if (!buckets.every(({ there }) => there)) return hidden("00-minio has not run yet");
  await reachFromInside(subject.cluster, subject.say);
  return ok("pods list every bucket");
}

/** A key that is refused though the site's own is good may be one that 00-minio has yet to make. */
function asked({ cluster, once }: Subject) {
  const site = keyOf(cluster);
  const askAgain = (bucket: Bucket) =>
    ask(cluster, bucket, bucket.key).catch(async (error) => {
      if (bucket.key.setting === site.setting) throw error;
      const answer = await ask(cluster, bucket, site).catch(() => Promise.reject(error));
      return { ...answer, refused: bucket.key.setting };
    });
  return once("buckets", () => Promise.all(bucketsOf(cluster).map(askAgain)));
}

/** @throws {S3Error} exit 8 for every answer that says neither yes nor "no such bucket". */
async function ask(cluster: Cluster, { name: bucket, folder }: Bucket, key: Bucket["key"]) {
  using s3 = s3Of(cluster, { key });
  const look = listing(bucket, `look at bucket "${bucket}"`, `max-keys=1&prefix=${folder}`);
  const answer = await must(s3, look, 404), there = answer.status !== 404;
  const date = Date.parse(answer.headers.get("date") ?? "") / 1000;
  return { bucket, there, ahead: aheadOf(date, answer.sentAt.getTime(), Date.now()) };
}

/** The check that its bucket takes, gives back, lists and deletes an object; a refusal is thrown. */
export function bucketOf({ program, keeps }: S3KeyHolder): Check {
  return {
    name: `Bucket of ${keeps}`,
    hop: "key -> S3",
    when: "after",
    s3: true,
    async run({ cluster }) {
      const { key, name, folder } = bucketsOf(cluster).find((one) => one.program === program)!;
      using s3 = s3Of(cluster, { key });
      await probeBucket(s3, name, folder);
      return [];
    },
  };
}

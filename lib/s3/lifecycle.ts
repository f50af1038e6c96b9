// Deleted objects of a bucket: kept for some days as old versions, or not at all. No rule ends a current object.
import { createHash } from "node:crypto";
import { differing, type Lack, type Resource } from "../core/resource.ts";
import { element, must, type S3, type S3Call, S3Error, s3Xml } from "./call.ts";

type Server = { s3: S3; isMinio: boolean };

/** Old versions go after so many days (0: there are none), aborted uploads after a week; a refusal is only told. */
export function bucketVersions(bucket: string, days: number): Resource<Server> {
  return {
    id: `BucketVersions/${bucket}`,
    async look(server) {
      try {
        const { steps, warnings } = await judge(server, bucket, days);
        return { ...differing(steps.flatMap(({ lacks }) => lacks)), warnings };
      } catch (error) {
        return { state: "not looked at", fields: [refusalOf(error)] };
      }
    },
    async put(server, warn) {
      const { steps } = await judge(server, bucket, days);
      for (const [done, { put }] of steps.entries()) {
        const refusal = await must(server.s3, put).then(() => undefined, refusalOf);
        if (refusal === undefined) continue;
        warn(refusal);
        return done > 0;
      }
      return steps.length > 0;
    },
  };
}

/** A refusal that may be done without, as a sentence; any other error is thrown on. */
function refusalOf(error: unknown): string {
  if (!(error instanceof S3Error && error.isRefusal && error.status !== 507)) throw error;
  return `${error.message} (${error.fix})`;
}

const ABORTED_DAYS = 7;
const OWN_ID = "thanos-multi-cluster";

async function judge({ s3, isMinio }: Server, bucket: string, days: number) {
  // A bucket that is not there has neither versions nor rules.
  const none = ["NoSuchBucket", "NoSuchLifecycleConfiguration"];
  const versioning = await must(s3, call("read", bucket, "versioning"), ...none);
  const lifecycle = await must(s3, call("read", bucket, "lifecycle"), ...none);
  const state = element(versioning.body, "Status");
  const rules = lifecycle.body.match(/<Rule>.*?<\/Rule>/gs) ?? [];
  const foreign = rules.filter((rule) => idOf(rule) !== OWN_ID);
  const own = rules.find((rule) => idOf(rule) === OWN_ID && isOn(rule)) ?? "";
  const daysIn = (name: string) => Number(element(own, name)) || undefined;
  // Where there are versions, the rule that ends them stays.
  const kept = days || (state ? daysIn("NoncurrentDays") ?? 0 : 0);
  // MinIO has no rule for those: it ends them by itself.
  const aborted = isMinio ? 0 : ABORTED_DAYS;
  const isRuled = kept + aborted > 0;

  // Ours is not written where it is not alone, or not wanted, whatever somebody has put into it.
  const warnings = (isRuled && foreign.length === 0 ? [] : rules).filter(endsObjects)
    .map((rule) =>
      `lifecycle rule ${idOf(rule)} of bucket "${bucket}" deletes objects that are in use`
    );
  if (days === 0 && state === "Enabled") {
    warnings.push(
      `bucket "${bucket}" is versioned: what is deleted stays and fills the disk ` +
        `(set S3_KEEP_DELETED_DAYS, or mc version suspend ALIAS/${bucket})`,
    );
  }
  const ofRule: Lack[] = [
    { path: "days until old versions go", old: daysIn("NoncurrentDays"), now: kept },
    { path: "days until aborted uploads go", old: daysIn("DaysAfterInitiation"), now: aborted },
    ...more(own).map((old) => ({ path: "our rule", old, now: undefined })),
  ].filter(({ old = 0, now }) => isRuled && old !== now);
  if (ofRule.length > 0 && foreign.length > 0) {
    // Rules are written together, and theirs would be lost.
    const ids = foreign.map(idOf).join(", ");
    warnings.push(
      `bucket "${bucket}" has lifecycle rules of somebody else (${ids}), so ours is not changed`,
    );
    return { steps: [], warnings };
  }
  const ofVersions: Lack[] = days > 0 && state !== "Enabled"
    ? [{ path: "versioning", old: state || undefined, now: "Enabled" }]
    : [];
  // The rule first, so that no version is made that nothing would end.
  const steps = [
    { lacks: ofRule, put: call("set", bucket, "lifecycle", ruleOf(kept, aborted)) },
    { lacks: ofVersions, put: call("turn on", bucket, "versioning", VERSIONED) },
  ].filter(({ lacks }) => lacks.length > 0);
  return { steps, warnings };
}

const idOf = (rule: string) => element(rule, "ID");
const isOn = (rule: string) => element(rule, "Status") === "Enabled";

// Blocks, snapshots and backups of which a rule takes parts cannot be read any more.
const endsObjects = (rule: string) => isOn(rule) && /<Expiration>\s*<(Days|Date)>/.test(rule);

/** What somebody has added to our rule, as `<Days>1`: it may end objects that are in use. */
function more(rule: string): string[] {
  const ours = /<(?:ID|Status|NoncurrentDays|DaysAfterInitiation|ExpiredObjectDeleteMarker)>/;
  return (rule.match(/<\w+>[^<\s]+/g) ?? []).filter((text) => !ours.test(text));
}

function ruleOf(keptDays: number, abortedDays: number): string {
  const parts = [
    `<ID>${OWN_ID}</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>`,
    // The first is about what is left of a deleted object when its old versions are gone.
    keptDays &&
    "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>" +
      `<NoncurrentVersionExpiration><NoncurrentDays>${keptDays}</NoncurrentDays>` +
      "</NoncurrentVersionExpiration>",
    abortedDays &&
    `<AbortIncompleteMultipartUpload><DaysAfterInitiation>${abortedDays}</DaysAfterInitiation>` +
      "</AbortIncompleteMultipartUpload>",
  ];
  return s3Xml("LifecycleConfiguration", `<Rule>${parts.filter(Boolean).join("")}</Rule>`);
}

const VERSIONED = s3Xml("VersioningConfiguration", "<Status>Enabled</Status>");
const RIGHTS = { versioning: "BucketVersioning", lifecycle: "LifecycleConfiguration" };

function call(verb: string, bucket: string, query: keyof typeof RIGHTS, body?: string): S3Call {
  const what = `${verb} the ${query} of bucket "${bucket}"`;
  const right = RIGHTS[query];
  if (body === undefined) return { method: "GET", bucket, query, what, action: `s3:Get${right}` };
  const headers = { "content-md5": createHash("md5").update(body).digest("base64") };
  return { method: "PUT", bucket, query, body, headers, what, action: `s3:Put${right}` };
}

// Deleted objects of a bucket: kept for some days as old versions, or not at all. What the programs
// have written is theirs to delete: no rule of ours ever ends a current object.
import { createHash } from "node:crypto";
import { differing, type Lack, type Resource } from "../core/resource.ts";
import { must, S3Error } from "./errors.ts";
import { element, type S3, type S3Call } from "./types.ts";

/**
 * Old versions of a bucket go after so many days, and there are any; 0: what is deleted is gone. Aborted uploads go
 * after a week, of which MinIO has no rule: it ends them by itself. The rule is put first, so that no version is made
 * that nothing would end. What a server or a key does not allow is told, and never an error.
 */
export function bucketVersions(
  bucket: string,
  days: number,
): Resource<{ s3: S3; isMinio: boolean }> {
  return {
    id: `BucketVersions/${bucket}`,
    async look({ s3, isMinio }) {
      try {
        const { differences, warnings } = await judge(s3, bucket, days, isMinio);
        return { ...differing(differences), warnings };
      } catch (error) {
        return { state: "not looked at", fields: [refusalOf(error)] };
      }
    },
    async put({ s3, isMinio }, warn) {
      const { differences, wanted } = await judge(s3, bucket, days, isMinio);
      const isOff = ({ path }: Lack) => path === "versioning";
      let changed = false;
      try {
        if (!differences.every(isOff)) {
          await putRule(s3, bucket, wanted);
          changed = true;
        }
        if (differences.some(isOff)) {
          await must(s3, call("turn on", bucket, "versioning", ENABLED));
          changed = true;
        }
      } catch (error) {
        warn(refusalOf(error));
      }
      return changed;
    },
  };
}

/** A refusal that may be done without, as a sentence; any other error is thrown on. */
function refusalOf(error: unknown): string {
  if (!(error instanceof S3Error) || error.status === 0) throw error;
  if (error.status >= 500 && error.status !== 501) throw error;
  return `${error.message} (${error.fix})`;
}

async function judge(s3: S3, bucket: string, days: number, isMinio: boolean) {
  // A bucket that is not there has neither versions nor rules.
  const none = ["NoSuchBucket", "NoSuchLifecycleConfiguration"];
  const versioning = await must(s3, call("read", bucket, "versioning"), ...none);
  const lifecycle = await must(s3, call("read", bucket, "lifecycle"), ...none);
  const state = element(versioning.body, "Status");
  const { own, foreign, all } = rulesOf(lifecycle.body);
  // Where there are versions, the rule that ends them stays.
  const kept = days || (state === "" ? 0 : own?.keptDays ?? 0);
  const wanted = { keptDays: kept, abortedDays: isMinio ? 0 : ABORTED_DAYS };
  const isNone = kept + wanted.abortedDays === 0;
  // Ours is not written then, whatever somebody has put into it.
  const left = isNone || foreign.length > 0 ? all : foreign;
  const warnings = left.flatMap((rule) => dangerOf(bucket, rule));
  if (days === 0 && state === "Enabled") {
    warnings.push(
      `bucket "${bucket}" is versioned: what is deleted stays and fills the disk ` +
        `(set S3_KEEP_DELETED_DAYS, or mc version suspend ALIAS/${bucket})`,
    );
  }
  const differences: Lack[] = isNone ? [] : [
    ...[
      { path: "days until old versions go", old: own?.keptDays, now: wanted.keptDays },
      { path: "days until aborted uploads go", old: own?.abortedDays, now: wanted.abortedDays },
    ].filter(({ old = 0, now }) => old !== now),
    ...(own?.more ?? []).map((old) => ({ path: "our rule", old, now: undefined })),
  ];
  if (differences.length > 0 && foreign.length > 0) {
    // Rules are written together, and theirs would be lost.
    const ids = foreign.map(idOf).join(", ");
    warnings.push(
      `bucket "${bucket}" has lifecycle rules of somebody else (${ids}), so ours is not changed`,
    );
    return { differences: [], warnings, wanted };
  }
  if (days > 0 && state !== "Enabled") {
    differences.push({ path: "versioning", old: state || undefined, now: "Enabled" });
  }
  return { differences, warnings, wanted };
}

const ABORTED_DAYS = 7;
const OWN_ID = "thanos-multi-cluster";

/** Days after which old versions and aborted uploads go; 0: never. */
interface OwnRule {
  keptDays: number;
  abortedDays: number;
}

/** What we have put into our rule; somebody may have added what ends objects that are in use. */
const OURS = /<(?:ID|Status|NoncurrentDays|DaysAfterInitiation|ExpiredObjectDeleteMarker)>/;

/** `more`: what our rule says beyond that, as `<Days>1`. */
function rulesOf(xml: string) {
  const all = [...xml.matchAll(/<Rule>.*?<\/Rule>/gs)].map(([rule]) => rule);
  const own = all.find((rule) => idOf(rule) === OWN_ID && element(rule, "Status") === "Enabled");
  return {
    own: own === undefined ? undefined : {
      keptDays: Number(element(own, "NoncurrentDays")),
      abortedDays: Number(element(own, "DaysAfterInitiation")),
      more: (own.match(/<\w+>[^<\s]+/g) ?? []).filter((text) => !OURS.test(text)),
    },
    foreign: all.filter((rule) => idOf(rule) !== OWN_ID),
    all,
  };
}

function idOf(rule: string): string {
  return element(rule, "ID");
}

/** Blocks, snapshots and backups of which a rule takes parts cannot be read any more. */
function dangerOf(bucket: string, rule: string): string[] {
  if (element(rule, "Status") !== "Enabled") return [];
  if (!/<Expiration>\s*<(Days|Date)>/.test(rule)) return [];
  return [`lifecycle rule ${idOf(rule)} of bucket "${bucket}" deletes objects that are in use`];
}

async function putRule(s3: S3, bucket: string, { keptDays, abortedDays }: OwnRule): Promise<void> {
  const ends = (rule: string, element: string, days: number) =>
    days ? `<${rule}><${element}>${days}</${element}></${rule}>` : "";
  const body = [
    `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>`,
    `<ID>${OWN_ID}</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>`,
    // What is left of a deleted object when its old versions are gone.
    keptDays &&
    "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
    ends("NoncurrentVersionExpiration", "NoncurrentDays", keptDays),
    ends("AbortIncompleteMultipartUpload", "DaysAfterInitiation", abortedDays),
    `</Rule></LifecycleConfiguration>`,
  ].filter(Boolean).join("");
  await must(s3, call("set", bucket, "lifecycle", body));
}

const ENABLED = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
  `<Status>Enabled</Status></VersioningConfiguration>`;

const RIGHTS = { versioning: "BucketVersioning", lifecycle: "LifecycleConfiguration" };

/** Reads what a bucket has of this, or with a body writes it. */
function call(verb: string, bucket: string, query: keyof typeof RIGHTS, body?: string): S3Call {
  const what = `${verb} the ${query} of bucket "${bucket}"`;
  const right = RIGHTS[query];
  if (body === undefined) return { method: "GET", bucket, query, what, action: `s3:Get${right}` };
  const headers = { "content-md5": createHash("md5").update(body).digest("base64") };
  return { method: "PUT", bucket, query, body, headers, what, action: `s3:Put${right}` };
}

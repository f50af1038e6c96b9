// Deleted objects of a bucket: kept for some days as old versions, or not at all. What the programs
// have written is theirs to delete: no rule of ours ever ends a current object.
import { createHash } from "node:crypto";
import { s3Refusal } from "./errors.ts";
import { element, type S3, type S3Answer, type S3Call } from "./types.ts";

/** What was done to a bucket, and what could not be or is not as it should, all as sentences. */
export interface VersionOutcome {
  changes: string[];
  problems: string[];
}

export interface VersionOptions {
  /** For how long deleted and overwritten objects can be brought back; 0: not at all. */
  days: number;
  /** MinIO ends aborted uploads by itself, and does not know a rule for it. */
  isMinio: boolean;
}

/**
 * Sees to it that old versions go after so many days, then that there are any; and that uploads
 * which were aborted go after a week. A server or a key that does not allow it is a problem told.
 */
export async function ensureVersions(
  s3: S3,
  bucket: string,
  { days, isMinio }: VersionOptions,
): Promise<VersionOutcome> {
  const outcome: VersionOutcome = { changes: [], problems: [] };
  const versions = await ask(s3, outcome, {
    ...{ method: "GET", bucket, query: "versioning", action: "s3:GetBucketVersioning" },
    what: `read the versioning of bucket "${bucket}"`,
  });
  const lifecycle = versions && await ask(s3, outcome, {
    ...{ method: "GET", bucket, query: "lifecycle", action: "s3:GetLifecycleConfiguration" },
    what: `read the lifecycle of bucket "${bucket}"`,
  });
  if (!lifecycle) return outcome;

  const state = element(versions.body, "Status");
  const { own, foreign } = rulesOf(lifecycle.body);
  outcome.problems.push(...foreign.flatMap((rule) => dangerOf(bucket, rule)));
  if (days === 0 && state === "Enabled") {
    outcome.problems.push(
      `bucket "${bucket}" is versioned: what is deleted stays and fills the disk ` +
        `(set S3_KEEP_DELETED_DAYS, or mc version suspend ALIAS/${bucket})`,
    );
  }
  // Where there are versions, the rule that ends them stays.
  const kept = days || (state === "" ? 0 : own?.keptDays ?? 0);
  const wanted = { keptDays: kept, abortedDays: isMinio ? 0 : ABORTED_DAYS };
  if (wanted.keptDays + wanted.abortedDays > 0 && !isSame(own, wanted)) {
    if (foreign.length > 0) {
      const ids = foreign.map(idOf).join(", ");
      outcome.problems.push(
        `bucket "${bucket}" has lifecycle rules of somebody else (${ids}), so it gets none of ours`,
      );
      return outcome;
    }
    if (!await putRule(s3, outcome, bucket, wanted)) return outcome;
  }
  if (days > 0 && state !== "Enabled") await putVersioning(s3, outcome, bucket);
  return outcome;
}

const ABORTED_DAYS = 7;
const OWN_ID = "thanos-multi-cluster";

/** Days after which old versions and aborted uploads go; 0: never. */
interface OwnRule {
  keptDays: number;
  abortedDays: number;
}

function rulesOf(xml: string): { own?: OwnRule; foreign: string[] } {
  const rules = [...xml.matchAll(/<Rule>.*?<\/Rule>/gs)].map(([rule]) => rule);
  const own = rules.find((rule) => idOf(rule) === OWN_ID && element(rule, "Status") === "Enabled");
  return {
    own: own === undefined ? undefined : {
      keptDays: Number(element(own, "NoncurrentDays")),
      abortedDays: Number(element(own, "DaysAfterInitiation")),
    },
    foreign: rules.filter((rule) => idOf(rule) !== OWN_ID),
  };
}

function idOf(rule: string): string {
  return element(rule, "ID");
}

function isSame(found: OwnRule | undefined, wanted: OwnRule): boolean {
  return found?.keptDays === wanted.keptDays && found.abortedDays === wanted.abortedDays;
}

/** Blocks, snapshots and backups of which a rule takes parts cannot be read any more. */
function dangerOf(bucket: string, rule: string): string[] {
  if (element(rule, "Status") !== "Enabled") return [];
  if (!/<Expiration>\s*<(Days|Date)>/.test(rule)) return [];
  return [`lifecycle rule ${idOf(rule)} of bucket "${bucket}" deletes objects that are in use`];
}

async function putRule(
  s3: S3,
  outcome: VersionOutcome,
  bucket: string,
  { keptDays, abortedDays }: OwnRule,
): Promise<boolean> {
  const body = [
    `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>`,
    `<ID>${OWN_ID}</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>`,
    ...keptDays
      ? [ENDS_MARKERS, days("NoncurrentVersionExpiration", "NoncurrentDays", keptDays)]
      : [],
    ...abortedDays
      ? [days("AbortIncompleteMultipartUpload", "DaysAfterInitiation", abortedDays)]
      : [],
    `</Rule></LifecycleConfiguration>`,
  ].join("");
  const md5 = createHash("md5").update(body).digest("base64");
  const done = await ask(s3, outcome, {
    ...{ method: "PUT", bucket, query: "lifecycle", action: "s3:PutLifecycleConfiguration" },
    ...{ body, headers: { "content-md5": md5 } },
    what: `set the lifecycle of bucket "${bucket}"`,
  });
  if (!done) return false;
  const ends = [
    ...keptDays ? [`old versions go after ${keptDays} days`] : [],
    ...abortedDays ? [`aborted uploads go after ${abortedDays} days`] : [],
  ];
  outcome.changes.push(`bucket ${bucket}: ${ends.join(", ")}`);
  return true;
}

// What is left of a deleted object when its old versions are gone.
const ENDS_MARKERS =
  "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";

function days(rule: string, element: string, days: number): string {
  return `<${rule}><${element}>${days}</${element}></${rule}>`;
}

async function putVersioning(s3: S3, outcome: VersionOutcome, bucket: string): Promise<void> {
  const body = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<Status>Enabled</Status></VersioningConfiguration>`;
  const done = await ask(s3, outcome, {
    ...{ method: "PUT", bucket, query: "versioning", body, action: "s3:PutBucketVersioning" },
    what: `turn on the versioning of bucket "${bucket}"`,
  });
  if (done) outcome.changes.push(`bucket ${bucket}: deleted objects are kept as old versions`);
}

/** The answer; undefined, and a problem more, when the server refuses what may be done without. */
async function ask(s3: S3, outcome: VersionOutcome, call: S3Call): Promise<S3Answer | undefined> {
  const answer = await s3.send(call);
  if (answer.status < 300) return answer;
  if (element(answer.body, "Code") === "NoSuchLifecycleConfiguration") return answer;
  const error = s3Refusal(s3, call, answer);
  if (answer.status >= 500 && answer.status !== 501) throw error;
  outcome.problems.push(`${error.message} (${error.fix})`);
}

// make rotate-s3: from the keys of the settings to one user per program, and back, while data flows.
// Needs an S3_ACCESS_KEY that may administrate a MinIO.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { loadFleet } from "../../lib/config/cluster.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { probeBucket } from "../../lib/s3/bucket.ts";
import { administration, userInfo } from "../../scripts/components/minio/admin.ts";
import { keyOf, s3Of } from "../../lib/s3/client.ts";
import { bucketsOf } from "../../scripts/components/minio/buckets.ts";
import { holdingsOf } from "../../scripts/operate/rotation/keys.ts";
import type { Typed } from "../support/make.ts";
import { removeUser } from "../support/s3.ts";
import { central, check, figure, fleet, make } from "./site.ts";

const PROGRAMS = ["THANOS", "OPENSEARCH", "LONGHORN"] as const;

/** A new user for each program. */
const own = Object.fromEntries(PROGRAMS.flatMap((program) => [
  [`${program}_S3_ACCESS_KEY`, `e2e-${program.toLowerCase()}-${randomUUID().slice(0, 8)}`],
  [`${program}_S3_SECRET_KEY`, randomUUID()],
]));

const unable = !await administrates();
if (unable) figure("rotation of S3 keys", "not shown: S3_ACCESS_KEY may not administrate a MinIO");

check("make rotate-s3 gives every program a user of its own, without a gap", async () => {
  const renewed = await loadFleet({ environment: { ...Deno.env.toObject(), ...own } });
  tell(await make(["rotate-s3"], own), "to one user per program");
  await assertKeys(renewed);
  using root = s3Of(central);
  for (const { name, key, folder } of bucketsOf(renewed[0]!)) {
    assert.equal((await userInfo(root, key.accessKey, "it"))?.enabled, true);
    using user = s3Of(central, { key });
    await probeBucket(user, name, folder);
    for (const other of bucketsOf(central).filter((bucket) => bucket.name !== name)) {
      await assert.rejects(probeBucket(user, other.name), / lacks /);
    }
  }
  // With these keys a deploy has nothing left to do.
  const again = await make(["rotate-s3"], own);
  assert.match(again.output, /nothing to rotate/);
}, unable);

check("make rotate-s3 takes the keys of the settings back, and shuts those users out", async () => {
  using root = s3Of(central);
  const users = PROGRAMS.map((program) => own[`${program}_S3_ACCESS_KEY`]!);
  try {
    tell(await make(["rotate-s3"]), "back to the settings");
    await assertKeys(fleet);
    const held = new Set(bucketsOf(central).map(({ key }) => key.accessKey));
    // Of the program that a site does without, no cluster had the key.
    const used = new Set((await Promise.all(fleet.map(holdingsOf))).flat().map((h) => h.program));
    for (const program of PROGRAMS.filter((name) => used.has(name))) {
      const id = own[`${program}_S3_ACCESS_KEY`]!;
      assert.ok(!held.has(id));
      assert.equal(
        (await userInfo(root, id, "it"))?.enabled,
        false,
        `the user of ${program} is still enabled`,
      );
    }
  } finally {
    for (const user of users) await removeUser(root, user).catch(() => {});
  }
}, unable);

async function administrates(): Promise<boolean> {
  using s3 = s3Of(central);
  return await administration(s3) === "yes";
}

/** Every Secret of every cluster holds the key that these settings want there. */
async function assertKeys(clusters: Cluster[]): Promise<void> {
  for (const cluster of clusters) {
    const holdings = await holdingsOf(cluster);
    assert.ok(holdings.length >= 2, `${cluster.id} holds ${holdings.length} keys`);
    for (const { program, key } of holdings) {
      const { accessKey, secretKey } = keyOf(cluster, program);
      assert.ok(key.accessKey === accessKey && key.secretKey === secretKey, `${program} differs`);
    }
  }
}

/** Keeps what the command measured on each cluster; a gap that graphs would show fails. */
function tell({ output }: Typed, what: string): void {
  for (const { id } of fleet) {
    const said = (name: string) =>
      new RegExp(`^${id} \\| +(?:ok|-) +${name} +(.*)$`, "m").exec(output)?.[1] ??
        assert.fail(output);
    const gap = said("Samples without a gap");
    assert.ok(parseInt(gap) <= 300, gap);
    const lines = said("Log lines meanwhile"), uploads = said("Uploads meanwhile");
    figure(`${id}: S3 keys rotated ${what}`, `${gap}; uploads: ${uploads}; log lines: ${lines}`);
  }
}

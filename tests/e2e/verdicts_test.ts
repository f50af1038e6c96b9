// What fails when programs are broken that go on looking well: exactly the checks that are there for it.
import assert from "node:assert/strict";
import { parse, stringify } from "yaml";
import { text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { must } from "../../lib/s3/call.ts";
import { groupsOf, growthOf } from "../../scripts/checks/metrics.ts";
import { RULER } from "../../scripts/checks/thanos.ts";
import { deleteObject } from "../support/s3.ts";
import { typeMake } from "../support/make.ts";
import { ALERTMANAGER, central, check, eventually, figure, kube, make, way } from "./site.ts";
import { address, refuse } from "./webhook.ts";

/** A block of now: an old one that is not whole the Compactor deletes. */
const BLOCK = `${ulidTime(Date.now())}E2E0VERD1CT00000`;
const META = `${BLOCK}/meta.json`;
const bucket = text(central, "THANOS_BUCKET");
const verify = [`verify-${central.id}`];

check(
  "V3: the Ruler lacks a group, Store a block, nobody is told: verify names these three",
  async () => {
    await make(["20-prometheus", `CLUSTER=${central.id}`], { ALERT_WEBHOOK_URL: address });
    assert.deepEqual(failed((await typeMake(verify)).output), []);
    const seconds = 1000 * (durationSeconds(text(central, "STORE_SYNC_INTERVAL")) + 130);
    const old = Date.now() + seconds;
    try {
      await putBlock("{"); // cut short
      const lost = await dropGroup();
      await eventually(5, async () => {
        const groups = await groupsOf(await way(central), RULER);
        assert.ok(!groups.some(({ name }) => name === lost), `the Ruler still has ${lost}`);
      });
      await new Promise((done) => setTimeout(done, Math.max(0, old - Date.now())));
      refuse(true);
      await raise("E2eVerdict");
      // Verify asks Prometheus, which knows of it with its next scrape of Alertmanager.
      await eventually(5, async () => {
        const counter = "alertmanager_notifications_failed_total";
        const growth = await growthOf(await way(central), counter, "15m");
        assert.ok(growth! > 0, "Prometheus knows of no notification that has failed");
      });
      const { code, output } = await typeMake(verify, { ALERT_WEBHOOK_URL: address });
      assert.notEqual(code, 0);
      assert.deepEqual(
        failed(output),
        ["Blocks in Store", "Global rules", "Notifications"],
        output,
      );
      assert.match(output, new RegExp(`Store lacks 1 of \\d+ blocks of the bucket: ${BLOCK}`));
      assert.ok(output.includes(lost), output);
      figure("three programs broken, verify says", failed(output).join(", "));
    } finally {
      refuse(false);
      await dropBlock();
      await make(["30-thanos", `CLUSTER=${central.id}`]);
    }
  },
);

/** The first part of a ULID: a time (ms) in Crockford's digits. */
function ulidTime(ms: number): string {
  const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  return ms.toString(32).padStart(10, "0").replace(/./g, (digit) => digits[parseInt(digit, 32)]!);
}

/** Names of the checks that failed, as the table has them, sorted. */
function failed(output: string): string[] {
  return [...output.matchAll(/\sfail {2,}(\S.*?) {2,}/g)].map(([, name]) => name!).sort();
}

/** Takes a group of rules out of the Ruler's ConfigMap, as a person would; gives its name. */
async function dropGroup(): Promise<string> {
  const name = ["configmap", "thanos-ruler-rules", "--namespace", "monitoring"];
  const { data } = await kube(central, ...name);
  const [[file, yaml]] = Object.entries<string>(data) as [[string, string]];
  const [group, ...groups] = parse(yaml).groups;
  const patch = JSON.stringify({ data: { [file]: stringify({ groups }) } });
  await kubectl(["patch", ...name, "--type=merge", `--patch=${patch}`], { cluster: central });
  return group.name;
}

async function putBlock(meta: string): Promise<void> {
  using s3 = s3Of(central);
  const what = `put ${META}`;
  await must(s3, { method: "PUT", bucket, key: META, body: meta, what, action: "s3:PutObject" });
}

async function dropBlock(): Promise<void> {
  using s3 = s3Of(central);
  await deleteObject(s3, bucket, META);
}

/** An alert that Alertmanager has to tell somebody now. */
async function raise(alertname: string): Promise<void> {
  const proxy = await way(central);
  const answer = await proxy.fetch(ALERTMANAGER, "/api/v2/alerts", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify([{ labels: { alertname, severity: "warning" } }]),
  });
  assert.ok(answer.ok, await answer.text());
  await answer.body?.cancel();
}

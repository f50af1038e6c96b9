// The lock as a real API server keeps it.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { OWNER } from "../../lib/core/object.ts";
import { lock } from "../../lib/kube/lock.ts";
import { cluster, live, typed } from "./server.ts";

const NAME = ["lease", OWNER, "--namespace", "kube-system"];

/** Another run writes this into the Lease. */
async function written(spec: object): Promise<void> {
  await typed(["patch", ...NAME, "--type=merge", "--patch", JSON.stringify({ spec })]);
}

const there = () => live("lease", OWNER, "kube-system");

Deno.test("E13: a run elsewhere is waited out, and refused at its first renewal", async () => {
  await (await lock(cluster, undefined))[Symbol.asyncDispose]();
  await written({ holderIdentity: "kim@other-host/12", leaseDurationSeconds: 3 });
  const renewals = (async () => {
    await sleep(500);
    await written({ renewTime: "2020-01-01T00:00:00.000000Z" });
  })();
  await assert.rejects(lock(cluster, await there()), { exitCode: 10 });
  await renewals;
  const begun = Date.now();
  await using _held = await lock(cluster, await there());
  assert.ok(Date.now() - begun >= 3000);
});

Deno.test("E12: a run whose lock was taken from it does no more on that cluster", async () => {
  await using _held = await lock(cluster, await there(), { duration: 6 });
  const { spec: { renewTime } } = await there();
  while ((await there()).spec.renewTime === renewTime) await sleep(200);
  await written({ holderIdentity: "kim@other-host/12" });
  const error = await (async () => {
    for (;;) await typed(["get", ...NAME]);
  })().catch((error) => error);
  assert.equal(error.message, "Interrupted: its lock went to another run");
  assert.equal(error.exitCode, 10);
});

// The ordinary commands deploy the whole site; run again they change nothing.
import assert from "node:assert/strict";
import { changesOf } from "../support/make.ts";
import { check, eventually, figure, labelValues, make, names, seconds } from "./site.ts";
import { address } from "./webhook.ts";

/** Given to every deploy of the suite. */
Deno.env.set("ALERT_WEBHOOK_URL", address);

check("make all deploys every cluster, and its verification passes", async () => {
  const started = performance.now();
  const deploy = make(["all"]);
  const first = eventually(30, async () => {
    assert.deepEqual(await labelValues("count by (cluster) (up)", "cluster"), names);
    return (performance.now() - started) / 1000;
  });
  const typed = await deploy;
  figure(
    "make all",
    `${((performance.now() - started) / 1000).toFixed(0)} s, ${changesOf(typed)} changes`,
  );
  figure("make all until a query answers for every cluster", `${(await first).toFixed(0)} s`);
});

check("make all again changes nothing", async () => {
  const took = await seconds(async () => {
    const typed = await make(["all"]);
    assert.equal(changesOf(typed), 0, typed.output);
  });
  figure("make all again, 0 changes", `${took.toFixed(0)} s`);
});

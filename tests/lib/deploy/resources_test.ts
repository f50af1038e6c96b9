import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import {
  differing,
  ensure,
  type Look,
  putResources,
  type Resources,
} from "../../../lib/core/resource.ts";
import type { Planned } from "../../../lib/deploy/plan.ts";
import { driftCode, pending, planResources } from "../../../lib/deploy/plan_fleet.ts";
import { plansJson } from "../../../lib/deploy/plan_file.ts";

import { fixtureCluster } from "../../support/cluster_fixture.ts";

const cluster = await fixtureCluster("197");
const away = new DeployError("Cannot ask", { exitCode: 8, where: "10.0.0.9: refused" });

/** Things that are there with a value, and wanted with another; a look may throw what is given in its place. */
function things(wanted: Record<string, Look | Error>, open?: () => Promise<never>) {
  const log: string[] = [];
  const resources: Resources<object> = {
    title: "Things",
    open: open ?? ((_, once) => {
      log.push(once ? "open once" : "open");
      return Promise.resolve({
        [Symbol.asyncDispose]: () => Promise.resolve(void log.push("close")),
      });
    }),
    of: () =>
      Object.entries(wanted).map(([id, look]) => ({
        id,
        look: () => look instanceof Error ? Promise.reject(look) : Promise.resolve(look),
        put: () => Promise.resolve(log.push(`put ${id}`) > 0),
      })),
  };
  return { resources, log };
}

const WANTED: Look = { state: "as wanted" };
const OTHER = differing([{ path: "size", old: 1, now: 2 }]);

Deno.test("E25: planResources() tells what a deploy would put, without putting it", async () => {
  const { resources, log } = things({ "A/a": WANTED, "A/b": { state: "missing" }, "A/c": OTHER });
  const entries = await planResources(resources, cluster);
  assert.deepEqual(entries.map(({ id, action, fields }) => [id, action, fields]), [
    ["A/a", "unchanged", []],
    ["A/b", "create", []],
    ["A/c", "update", ["size: 1 -> 2"]],
  ]);
  assert.deepEqual(log, ["open once", "close"]);
  assert.equal(driftCode([{ cluster, entries }]), 12);
});

Deno.test("E25: what cannot be looked at is no drift and not as wanted, and its reason is told", async () => {
  const left: Look = { state: "not looked at", fields: ["no right"] };
  const { resources: some } = things({ "A/a": WANTED, "A/b": away, "A/c": left });
  const { resources: none } = things({ "B/a": WANTED, "B/b": WANTED }, () => Promise.reject(away));
  const simulated = { ...cluster, vars: { ...cluster.vars, SIMULATED_NODES: true } };
  const { resources: pods } = things({ "C/a": OTHER }, () => assert.fail("opened"));
  const entries = [
    ...await planResources(some, cluster),
    ...await planResources(none, cluster),
    ...await planResources({ ...pods, live: true }, simulated),
  ];
  const why = "Cannot ask; 10.0.0.9: refused";
  assert.deepEqual(entries.map(({ id, action, fields }) => [id, action, ...fields]), [
    ["A/a", "unchanged"],
    ["A/b", "unseen", why],
    ["A/c", "unseen", "no right"],
    ["B/a", "unseen", why],
    ["B/b", "unseen", why],
    ["C/a", "unseen", "not shown here (simulated nodes)"],
  ]);
  assert.deepEqual(pending(entries), []);
  const plans = [{ cluster, entries }];
  assert.equal(driftCode(plans), 0);
  const [told] = JSON.parse(plansJson(plans)).clusters;
  assert.equal(told.unchanged, 1);
  assert.deepEqual(told.unseen[1], { id: "A/c", reason: "no right" });
});

Deno.test("planResources() gives up on what does not answer, and keeps what was seen till then", async () => {
  const { resources } = things({ "A/a": WANTED });
  const hanging: Resources<object> = {
    ...resources,
    of: (cluster) => [
      ...resources.of(cluster),
      { id: "A/b", look: () => new Promise(() => {}), put: () => assert.fail() },
    ],
  };
  const started = Date.now();
  const entries: Planned[] = await planResources(hanging, cluster);
  assert.ok(Date.now() - started < 15_000);
  assert.deepEqual(entries.map(({ id, action, fields }) => [id, action, ...fields]), [
    ["A/a", "unchanged"],
    ["A/b", "unseen", "no answer within 10 s"],
  ]);
});

Deno.test("planResources() hides no bug of a look", async () => {
  const { resources } = things({ "A/a": new TypeError("undefined is no function") });
  await assert.rejects(planResources(resources, cluster), TypeError);
});

Deno.test("putResources() puts in order what is not as wanted, and stops at what cannot be looked at", async () => {
  const { resources, log } = things({ "A/a": OTHER, "A/b": WANTED, "A/c": { state: "missing" } });
  const changes: string[] = [], warnings: string[] = [];
  const tell = {
    changed: (what: string) => void changes.push(what),
    warn: (text: string) => void warnings.push(text),
  };
  await putResources(resources, cluster, tell);
  assert.deepEqual(changes, ["A/a configured: size: 1 -> 2", "A/c created"]);
  assert.deepEqual(log, ["open", "put A/a", "put A/c", "close"]);

  const broken = things({ "A/a": away, "A/b": OTHER });
  await assert.rejects(putResources(broken.resources, cluster, tell), /Cannot ask/);
  assert.deepEqual(broken.log, ["open", "close"]);

  const left: Look = { state: "not looked at", fields: ["no right"] };
  await putResources(things({ "A/a": left, "A/b": left }).resources, cluster, tell);
  assert.deepEqual(warnings, ["no right (A/a, A/b)"]);
});

Deno.test("ensure() counts no change where somebody else was faster", async () => {
  const slow = { id: "A/a", look: () => Promise.resolve(OTHER), put: () => Promise.resolve(false) };
  assert.equal((await ensure(slow, undefined)).outcome, "unchanged");
});

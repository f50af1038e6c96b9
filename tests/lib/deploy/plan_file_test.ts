// lib/deploy/plan_file.ts: a plan that was approved binds the deploy.
import assert from "node:assert/strict";
import { lstat, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DeployError } from "../../../lib/core/error.ts";
import { hashOf, keyedHash } from "../../../lib/core/hash.ts";
import { secret } from "../../../lib/core/object.ts";
import type { Planned } from "../../../lib/deploy/plan.ts";
import { driftCode } from "../../../lib/deploy/plan_fleet.ts";
import {
  plansJson,
  readPlan,
  refuseMoved,
  refuseOtherFile,
  writePlan,
} from "../../../lib/deploy/plan_file.ts";
import { resultsJson } from "../../../lib/deploy/results.ts";
import { maskSecrets } from "../../../lib/io/report.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

const cluster = await fixtureCluster("197");
const path = join(await mkdtemp(join(tmpdir(), "plan-")), "plan.json");

function planned(id: string, mark: string, action: Planned["action"] = "update"): Planned {
  return { id, action, fields: [], mark };
}

const entries = [planned("Deployment/n/a", "1"), planned("Service/n/b", "", "unchanged")];
await writePlan(path, [{ cluster, entries }], []);
const file = await readPlan(path);

Deno.test("writePlan() keeps what is to be changed, for readPlan()", async () => {
  const [{ mark }] = file.clusters[0]!.changes as [Planned];
  const changes = [{ ...entries[0], mark }];
  assert.deepEqual(file.clusters, [
    { id: "197", name: "cluster-197-edge", changes, unchanged: 1, unseen: [] },
  ]);
  assert.equal(JSON.parse(await readFile(path, "utf8")).schema, "thanos-multi-cluster/plan/v4");
});

Deno.test("P13: a plan tells no hash of a Secret to who has not the site's S3 key", async () => {
  const object = secret("grafana", "monitoring", { "admin-password": "dummy-grafana-password" });
  const mark = hashOf([object]);
  const markFor = async (environment: Record<string, string>) => {
    const cluster = await fixtureCluster("197", environment);
    const entries = [planned("Secret/monitoring/grafana", mark, "create")];
    return JSON.parse(plansJson([{ cluster, entries }])).clusters[0].changes[0].mark;
  };
  const [now, again] = [await markFor({}), await markFor({})];
  assert.match(now, /^[0-9a-f]{32}$/);
  assert.equal(now, again, "another seat of the site would refuse it");
  assert.notEqual(await markFor({ S3_SECRET_KEY: "another-secret-key" }), now);
  const guessed = [mark, hashOf(mark), keyedHash("", mark), keyedHash("197", mark)];
  assert.ok(!guessed.includes(now));
});

Deno.test("X6: writePlan() and refuseOtherFile() leave alone what is no plan", async () => {
  const folder = await mkdtemp(join(tmpdir(), "plan-"));
  const texts = ["S3_SECRET_KEY=hush\n", "{}", '{"schema":"other/v1"}', "null", "\u0000", "["];
  for (const [index, text] of texts.entries()) {
    const other = join(folder, `other-${index}`), link = join(folder, `link-${index}`);
    await writeFile(other, text);
    await symlink(other, link);
    for (const one of [other, link]) {
      const refusal = await writePlan(one, [], []).catch((error) => error) as DeployError;
      assert.deepEqual([refusal.exitCode, await readFile(other, "utf8")], [4, text]);
      assert.match(refusal.fix!, /PLAN=change\.json/);
    }
  }
  for (const one of [folder, "/dev/null"]) {
    await assert.rejects(refuseOtherFile(one), { exitCode: 4, where: ["it is no file"] });
  }
});

Deno.test("X6: refuseOtherFile() tells (3) before the planning that no plan can be kept there", async () => {
  const folder = await mkdtemp(join(tmpdir(), "plan-"));
  const file = join(folder, "file");
  await writeFile(file, "something else");
  for (const one of [join(file, "plan.json"), join(file, "new", "plan.json")]) {
    const where = [`"${file}" is no folder that can be written`];
    await assert.rejects(refuseOtherFile(one), { exitCode: 3, where, fix: /PLAN=change\.json/ });
  }
  await refuseOtherFile(join(folder, "new", "plan.json"));
  assert.deepEqual(await readdir(folder), ["file"]);
});

Deno.test("writePlan() makes a new file, and replaces an empty one and a plan of any version", async () => {
  const folder = await mkdtemp(join(tmpdir(), "plan-"));
  const [fresh, empty, old, link] = ["new/a", "empty", "old", "link"].map((x) => join(folder, x));
  await writeFile(empty!, "");
  await writeFile(old!, '{"schema":"thanos-multi-cluster/plan/v1"}');
  await symlink(old!, link!);
  for (const one of [fresh!, empty!, link!]) {
    await writePlan(one, [{ cluster, entries }], []);
    assert.equal((await readPlan(one)).clusters.length, 1);
  }
  assert.ok((await lstat(link!)).isSymbolicLink());
});

Deno.test("refuseMoved() lets a cluster pass that is as it was, and one that has nothing left to do", () => {
  refuseMoved(file, cluster, entries);
  refuseMoved(file, cluster, entries.map(({ id }) => planned(id, "", "unchanged")));
});

Deno.test("refuseMoved() lets a cluster pass on which a part is done: of a run before, or by another cluster", () => {
  const bucket = planned("Bucket/thanos", "", "create"), own = planned("Deployment/n/own", "2");
  const binding = JSON.parse(plansJson([{ cluster, entries: [bucket, ...entries, own] }]));
  for (const now of [[...entries, own], [bucket, own]]) refuseMoved(binding, cluster, now);
  const moved = [...entries, { ...own, mark: "3" }];
  assert.throws(() => refuseMoved(binding, cluster, moved), ({ exitCode, where }: DeployError) => {
    assert.deepEqual([exitCode, where.slice(1)], [4, [own.id]]);
    return true;
  });
});

const MOVES: [what: string, now: Planned[]][] = [
  ["whose object has changed", [planned("Deployment/n/a", "2")]],
  ["that has one more thing to do", [...entries, planned("Service/n/b", "3")]],
  ["with something else to do in its place", [planned("Service/n/b", "3")]],
];

for (const [what, now] of MOVES) {
  Deno.test(`refuseMoved() refuses (4) a cluster ${what}, and names the object`, () => {
    assert.throws(() => refuseMoved(file, cluster, now), (error: DeployError) => {
      assert.equal(error.exitCode, 4);
      assert.match(error.where.at(-1)!, /^(Deployment\/n\/a|Service\/n\/b)$/);
      return true;
    });
  });
}

Deno.test("refuseMoved() lets a cluster pass where a secret was rotated that is in nothing of the plan", async () => {
  const grafana = planned("Secret/monitoring/grafana", "1");
  const binding = JSON.parse(plansJson([{ cluster, entries: [...entries, grafana] }]));
  for (const name of ["GRAFANA_ADMIN_PASSWORD", "ALERT_WEBHOOK_URL"]) {
    const now = await fixtureCluster("197", { [name]: "http://another.example.org/" });
    refuseMoved(binding, now, [...entries, grafana]);
    const moved = [...entries, { ...grafana, mark: "2" }];
    assert.throws(
      () => refuseMoved(binding, now, moved),
      ({ where }: DeployError) => where.slice(1).join() === grafana.id,
    );
  }
  const rotated = await fixtureCluster("197", { S3_SECRET_KEY: "another-secret-key" });
  refuseMoved(file, rotated, entries);
});

Deno.test("refuseMoved() refuses a cluster that the plan does not speak of", async () => {
  const other = await fixtureCluster("198");
  assert.throws(() => refuseMoved(file, other, []), { exitCode: 4 });
});

Deno.test("readPlan() refuses (2) what is no plan", async () => {
  await assert.rejects(readPlan(`${path}.missing`), { exitCode: 2 });
  for (const text of ["", "{}", "null", '{"schema":"thanos-multi-cluster/deploy/v1"}']) {
    await writeFile(`${path}.other`, text);
    const where = ["it is no plan; this one reads thanos-multi-cluster/plan/v4"];
    await assert.rejects(readPlan(`${path}.other`), { exitCode: 2, where });
  }
});

Deno.test("readPlan() refuses (2) the plan of another revision, and says so: its marks are others", async () => {
  for (const version of ["v3", "v9"]) {
    const schema = `thanos-multi-cluster/plan/${version}`;
    await writeFile(`${path}.other`, JSON.stringify({ ...file, schema }));
    const where = [
      `another revision made it, as ${schema}; this one reads thanos-multi-cluster/plan/v4`,
    ];
    const fix = `make plan PLAN=${path}.other makes one`;
    await assert.rejects(readPlan(`${path}.other`), { exitCode: 2, where, fix });
  }
});

Deno.test("driftCode() tells as wanted (0), not as wanted (12) and a failure apart", async () => {
  const { DeployError } = await import("../../../lib/core/error.ts");
  const away = { cluster, entries: [], error: new DeployError("Cannot x", { exitCode: 5 }) };
  assert.equal(driftCode([{ cluster, entries: [entries[1]!] }]), 0);
  assert.equal(driftCode([{ cluster, entries }]), 12);
  assert.equal(driftCode([{ cluster, entries }, away]), 5);
});

Deno.test("X1: JSON keeps its names when a secret is one of them, and its texts hide it", () => {
  maskSecrets(["monitoring", "unchanged", "schema"]);
  const change = { ...planned("Service/monitoring/a", "1"), fields: ["spec.x: monitoring -> y"] };
  const error = new Error("the password is monitoring");
  const plans = JSON.parse(
    plansJson([{ cluster, entries: [change] }, { cluster, entries: [], error }]),
  );
  assert.deepEqual([plans.schema, plans.clusters[0].unchanged], [
    "thanos-multi-cluster/plan/v4",
    0,
  ]);
  assert.equal(plans.clusters[0].changes[0].id, "Service/monitoring/a");
  assert.deepEqual(plans.clusters[0].changes[0].fields, ["spec.x: *** -> y"]);
  assert.equal(plans.clusters[1].error, "the password is ***");
  const results = JSON.parse(resultsJson([{ cluster, steps: [], error }], 7));
  assert.deepEqual([results.schema, results.clusters[0].error], [
    "thanos-multi-cluster/deploy/v1",
    "the password is ***",
  ]);
});

Deno.test("writePlan(), plansJson() and resultsJson() name what was left out because it is paused, and why", async () => {
  const pause = { reason: "rack move", until: "2026-12-04", end: 0 };
  const paused = [{ ...cluster, pause }], wanted = [{ id: cluster.id, ...pause, end: undefined }];
  await writePlan(`${path}.paused`, [], paused);
  const kept = await readFile(`${path}.paused`, "utf8");
  const told = [kept, plansJson([], paused), resultsJson([], 0, paused)].map((json) =>
    JSON.parse(json).paused
  );
  assert.deepEqual(told, Array(3).fill(JSON.parse(JSON.stringify(wanted))));
  assert.deepEqual(JSON.parse(plansJson([])).paused, []);
});

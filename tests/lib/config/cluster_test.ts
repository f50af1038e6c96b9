// lib/config/cluster.ts: layers, rules and accessors.
import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import schema from "../../../env/schema.json" with { type: "json" };
import { flag, list, number, text } from "../../../lib/core/cluster.ts";
import { amountOf, bytesOf, durationSeconds } from "../../../lib/core/quantity.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import { cases, FIXTURES, project, wording } from "../../support/project_fixture.ts";

for (const [name, files] of await cases("invalid")) {
  Deno.test(`loadFleet() refuses invalid/${name}`, async () => {
    await using place = await project(files);
    const error = await place.refusal();
    const parts = Object.values(files).flatMap((text) =>
      [...text.matchAll(/^# rejects: (.*)$/gm)].map(([, part]) => part!)
    );
    assert.ok(parts.length > 0, "the fixture says what it rejects");
    for (const part of parts) assert.ok(wording(error).includes(part), wording(error));
    assert.equal(error.exitCode, 2);
    assert.doesNotMatch(wording(error), /hush/i);
  });
}

for (const [name, files] of await cases("valid")) {
  Deno.test(`loadFleet() accepts valid/${name}`, async () => {
    await using place = await project(files);
    assert.ok((await place.load()).length >= 3);
  });
}

Deno.test("loadFleet() gives typed values, computed ones and the fleet", async () => {
  const [central, edge] = await fixtureFleet();
  assert.ok(central && edge);
  assert.deepEqual([central.id, central.role, edge.role], ["196", "central", "edge"]);
  assert.equal(number(edge, "HTTP_NODE_PORT"), 30080);
  assert.equal(flag(edge, "SIMULATED_NODES"), false);
  assert.equal(text(edge, "S3_HOST"), "172.20.40.21:30001");
  assert.equal(text(edge, "S3_BASE_PATH"), "cluster-197");
  assert.equal(text(edge, "API_HOST"), "192.168.101.197");
  assert.deepEqual(edge.fleet.map(({ sidecar }) => sidecar.split(/[.:]/)[3]), [
    "196",
    "197",
    "198",
  ]);
  assert.equal(edge.sources.NODE_IP, "env/cluster-197.env:6");
  assert.throws(() => text(edge, "NO_SUCH_SETTING"), { exitCode: 1 });
  assert.throws(() => number(edge, "DOMAIN"), { exitCode: 1 });
  assert.throws(() => flag(edge, "DOMAIN"), { exitCode: 1 });
});

Deno.test("loadFleet() knows the profile demo", async () => {
  const fleet = await fixtureFleet({ PROFILE: "demo", S3_CA_FILE: "" });
  assert.deepEqual(fleet.map((cluster) => text(cluster, "API_HOST")), Array(3).fill("127.0.0.1"));
  assert.ok(fleet.every((cluster) => flag(cluster, "SIMULATED_NODES")));
});

Deno.test("loadFleet() takes a profile by its path, here the laboratory's, and warns of stand-ins", async () => {
  const fleet = await fixtureFleet({ PROFILE: "tests/lab/site.env" });
  for (const cluster of fleet) {
    assert.deepEqual(list(cluster, "STAND_INS"), ["grafana", "fluent-bit", "index-management"]);
    assert.equal(cluster.warnings.filter((line) => /STAND_INS .*replaced/.test(line)).length, 1);
    for (const name of ["PROMETHEUS_RETENTION", "RETENTION_RAW", "RETENTION_5M", "RETENTION_1H"]) {
      assert.equal(cluster.vars[name], SETTINGS[name]!.default);
    }
    assert.equal(text(cluster, "COMPACTOR_WAIT_INTERVAL"), "3m");
  }
  assert.deepEqual(list((await fixtureFleet())[0]!, "STAND_INS"), []);
});

Deno.test("loadFleet() names the known profiles for an unknown one", async () => {
  await using place = await project({ "profiles/demo.env": "", "profiles/lab.env": "" });
  for (const name of ["prod", "profiles/prod.env", "/no/such.env"]) {
    const error = await place.refusal({ PROFILE: "demo" }, name);
    assert.equal(error.exitCode, 2);
    assert.match(wording(error), new RegExp(`"${name}"[^]*demo, lab`));
  }
});

Deno.test("loadFleet() reads S3_CA_FILE and refuses a private key in it", async () => {
  await using place = await project();
  const pem = await readFile(join(FIXTURES, "ca.crt"), "utf8");
  await writeFile(join(place.root, "ca.crt"), pem);
  assert.equal((await place.load({ S3_CA_FILE: "ca.crt" }))[2]!.s3Ca, pem);
  assert.equal((await place.load())[2]!.s3Ca, undefined);
  await writeFile(join(place.root, "ca.crt"), `${pem}-----BEGIN PRIVATE KEY-----\n`);
  assert.match(wording(await place.refusal({ S3_CA_FILE: "ca.crt" })), /holds a private key/);
});

Deno.test("P11: loadFleet() refuses an S3_CA_FILE that is too large for those who read it", async () => {
  await using place = await project();
  const pem = await readFile(join(FIXTURES, "ca.crt"), "utf8");
  const path = join(place.root, "ca.crt"), settings = { S3_CA_FILE: "ca.crt" };
  await writeFile(path, pem.repeat(Math.ceil(128_000 / pem.length)));
  assert.match(
    wording(await place.refusal(settings)),
    /S3_CA_FILE is "ca.crt": has \d+ bytes, and Longhorn takes 128000/,
  );
  const existing = { ...settings, STORAGE: "existing" };
  assert.equal((await place.load(existing)).length, 3);
  await writeFile(path, pem.repeat(Math.ceil(1_000_000 / pem.length)));
  assert.match(wording(await place.refusal(existing)), /a Secret holds 1000000/);
});

Deno.test("loadFleet() wants a cluster file", async () => {
  await using place = await project();
  await rm(join(place.root, "env"), { recursive: true });
  assert.match(wording(await place.refusal()), /env {2}has no cluster-<number>.env/);
});

Deno.test("env/schema.json is a schema, which no command checks again", () => {
  const ajv = new Ajv2020();
  assert.ok(ajv.validateSchema(schema), ajv.errorsText());
});

Deno.test("env/schema.json describes every setting", () => {
  for (const [name, { description, examples }] of Object.entries(SETTINGS)) {
    assert.ok(description.length > 10 && examples?.length, name);
  }
});

Deno.test("env/secret.env.example names every secret and holds none", async () => {
  const example = await readFile(
    new URL("../../../env/secret.env.example", import.meta.url),
    "utf8",
  );
  for (const [name, { writeOnly }] of Object.entries(SETTINGS)) {
    if (writeOnly) assert.match(example, new RegExp(`^(# )?${name}=('')?$`, "m"));
  }
  await using place = await project({ "secret.env": example });
  assert.match(wording(await place.refusal()), /S3_SECRET_KEY is empty, and empty means missing/);
});

Deno.test("durationSeconds(), bytesOf() and amountOf() measure across units", () => {
  assert.equal(durationSeconds("90m"), 5400);
  assert.equal(durationSeconds("500ms"), 0.5);
  assert.equal(durationSeconds("2w"), durationSeconds("14d"));
  assert.equal(bytesOf("2Gi"), bytesOf("2048Mi"));
  assert.equal(bytesOf("500MB"), 500 * 1024 ** 2);
  assert.equal(bytesOf("1g"), 1024 ** 3);
  assert.equal(amountOf("300m"), 0.3);
  assert.equal(amountOf("1.5"), 1.5);
});

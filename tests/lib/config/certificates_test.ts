import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { secretsOf } from "../../../lib/config/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { masked, maskSecrets } from "../../../lib/io/report.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import { grpcFile, grpcFolder } from "../../support/grpc_fixture.ts";
import { wording } from "../../support/project_fixture.ts";

Deno.test("loadFleet() reads the identity of every cluster, only with THANOS_GRPC_MTLS", async () => {
  await using folder = await grpcFolder();
  const fleet = await fixtureFleet(folder.environment);
  for (const { id, grpcIdentity, warnings } of fleet) {
    assert.deepEqual(grpcIdentity, {
      authority: await grpcFile("ca.crt"),
      certificate: await grpcFile(`${id}.crt`),
      key: await grpcFile(`${id}.key`),
    });
    assert.deepEqual(warnings.filter((line) => /\.(crt|key)/.test(line)), []);
  }
  const { GRPC_TLS_DIR } = folder.environment;
  const plain = await fixtureFleet({ GRPC_TLS_DIR: GRPC_TLS_DIR! });
  assert.ok(plain.every(({ grpcIdentity }) => grpcIdentity === undefined));
});

Deno.test("loadFleet() takes certificates of both CAs while one replaces the other", async () => {
  await using folder = await grpcFolder({
    "ca.crt": await grpcFile("ca.crt") + await grpcFile("foreign-ca.crt"),
    "197.crt": await grpcFile("foreign-197.crt"),
    "197.key": await grpcFile("foreign-197.key"),
  });
  const fleet = await fixtureFleet(folder.environment);
  assert.ok(fleet.every(({ grpcIdentity }) => grpcIdentity));
});

const PROBLEMS: [what: string, changes: Record<string, string | null>, told: RegExp][] = [
  ["a missing CA", { "ca.crt": null }, /ca\.crt {2}cannot be read: THANOS_GRPC_MTLS needs it/],
  ["a missing certificate", { "198.crt": null }, /198\.crt {2}cannot be read/],
  ["a missing key", { "196.key": null }, /196\.key {2}cannot be read/],
  ["a certificate that is no PEM", { "197.crt": "hello" }, /197\.crt {2}is not a PEM certificate/],
  ["a key that is no PEM", { "197.key": "hello" }, /197\.key {2}is not a PEM private key/],
  [
    "a key beside the CA",
    { "ca.crt": await grpcFile("ca.crt") + await grpcFile("197.key") },
    /ca\.crt {2}holds a private key/,
  ],
  [
    "the key of another",
    { "197.key": await grpcFile("198.key") },
    /197\.key {2}is not the key of \S+197\.crt/,
  ],
  ["another CA", {
    "197.crt": await grpcFile("foreign-197.crt"),
    "197.key": await grpcFile("foreign-197.key"),
  }, /197\.crt {2}is not signed by \S+ca\.crt/],
  [
    "a CA that is none",
    { "ca.crt": await grpcFile("198.crt") },
    /ca\.crt {2}is not the certificate of a CA/,
  ],
  ["an edge without its name", {
    "197.crt": await grpcFile("nameless-197.crt"),
    "197.key": await grpcFile("nameless-197.key"),
  }, /197\.crt {2}lacks the DNS name cluster-197-edge \(it has none\)/],
  ["the certificate of another edge", {
    "197.crt": await grpcFile("198.crt"),
    "197.key": await grpcFile("198.key"),
  }, /197\.crt {2}lacks the DNS name cluster-197-edge \(DNS:cluster-198-edge\)/],
];

for (const [what, changes, told] of PROBLEMS) {
  Deno.test(`loadFleet() refuses ${what}`, async () => {
    await using folder = await grpcFolder(changes);
    const error = await fixtureFleet(folder.environment).catch((error) => error);
    assert.ok(error instanceof DeployError, `not refused: ${error}`);
    assert.equal(error.exitCode, 2);
    assert.match(wording(error), told);
    assert.doesNotMatch(wording(error), /PRIVATE KEY/);
  });
}

/** Runs `work` as if it were another day. */
async function at<T>(day: string, work: () => Promise<T>): Promise<T> {
  const { now } = Date;
  Date.now = () => Date.parse(day);
  try {
    return await work();
  } finally {
    Date.now = now;
  }
}

Deno.test("loadFleet() refuses certificates that are over or not yet valid, and warns a month ahead", async () => {
  await using folder = await grpcFolder();
  const load = () => fixtureFleet(folder.environment);
  const over = await at("2127-01-01", load).catch((error) => error);
  assert.match(wording(over), /ca\.crt {2}expired on Oct 30[^]*197\.crt {2}expired on/);
  const early = await at("2020-01-01", load).catch((error) => error);
  assert.match(
    wording(early),
    /197\.crt {2}is valid from Nov 23 .* only: compare this machine's clock/,
  );
  const [, edge] = await at("2126-10-20", load);
  const ends = edge!.warnings.filter((line) => /\.crt {2}ends on Oct 30/.test(line));
  assert.equal(ends.length, 2);
});

Deno.test("loadFleet() warns of a key that others may read", async () => {
  await using folder = await grpcFolder();
  await chmod(join(folder.environment.GRPC_TLS_DIR!, "197.key"), 0o644);
  const [, edge] = await fixtureFleet(folder.environment);
  assert.match(edge!.warnings.join("\n"), /197\.key {2}mode 0644 lets others read secrets/);
});

Deno.test("A12: loadFleet() refuses a key that git tracks", async () => {
  await using folder = await grpcFolder();
  const cwd = folder.environment.GRPC_TLS_DIR!;
  for (const args of [["init", "--quiet"], ["add", "197.key"]]) {
    await new Deno.Command("git", { args, cwd, stdout: "null", stderr: "null" }).output();
  }
  const error = await fixtureFleet(folder.environment).catch((error) => error);
  assert.equal(error.exitCode, 4);
  assert.match(wording(error), /git tracks this file[^]*git rm --cached \S+197\.key/);
});

Deno.test("secretsOf() masks a key whole, line by line and in base64", async () => {
  await using folder = await grpcFolder();
  const [, edge] = await fixtureFleet(folder.environment);
  maskSecrets(secretsOf(edge!));
  const { key } = edge!.grpcIdentity!;
  const body = key.split("\n").filter((line) => line && !line.startsWith("-----"));
  const said = masked(
    `${key}\n  ${key.replaceAll("\n", "\n  ")}\n${new TextEncoder().encode(key).toBase64()}`,
  );
  for (const line of body) assert.ok(!said.includes(line));
  assert.ok(!said.includes(new TextEncoder().encode(key).toBase64()));
});

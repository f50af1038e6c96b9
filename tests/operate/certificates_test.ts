// scripts/operate/certificates.ts and the judgement of INGRESS_TLS_DIR, with the real openssl.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFor } from "../../lib/config/certificates.ts";
import { ensureCertificates, FLEET, SITE } from "../../scripts/operate/certificates.ts";
import { DeployError } from "../../lib/core/error.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "doors-"));
  await run(folder).finally(() => rm(folder, { recursive: true }));
}

const DOMAIN = "mkube-197.miribit.lab";

Deno.test("ensureCertificates() makes a CA once and a certificate per cluster, and then changes nothing", async () => {
  await withFolder(async (folder) => {
    const doors = ["196", "197"].map((id) => ({ id, name: `mkube-${id}.miribit.lab`, folder }));
    assert.equal((await ensureCertificates(SITE, doors)).length, 3);
    const [ca, own] = await Promise.all(
      ["site-ca.crt", "197.crt"].map(async (name) =>
        new X509Certificate(await readFile(join(folder, name)))
      ),
    ) as [X509Certificate, X509Certificate];
    assert.ok(ca.ca && !own.ca && own.verify(ca.publicKey));
    assert.ok(isFor(own, `grafana.${DOMAIN}`) && !isFor(own, "grafana.elsewhere.lab"));
    for (const key of ["site-ca.key", "197.key"]) {
      assert.equal((await stat(join(folder, key))).mode & 0o777, 0o600);
    }
    assert.deepEqual(await ensureCertificates(SITE, doors), []);
    // A cluster that came later, and one that was renamed.
    const later = [{ id: "197", name: "other.lab", folder }, {
      id: "199",
      name: "x.lab",
      folder,
    }];
    const done = await ensureCertificates(SITE, later);
    assert.match(done[0]!, /certificate of 197 made .*the old one had other names/);
    assert.match(done[1]!, /certificate of 199 made .*there was none/);
  });
});

Deno.test("ensureCertificates() never replaces the CA, and asks for its key when that is away", async () => {
  await withFolder(async (folder) => {
    await ensureCertificates(SITE, [{ id: "197", name: DOMAIN, folder }]);
    const before = await readFile(join(folder, "site-ca.crt"), "utf8");
    await rm(join(folder, "site-ca.key"));
    await assert.rejects(
      ensureCertificates(SITE, [{ id: "198", name: "x.lab", folder }]),
      (error: DeployError) => error.exitCode === 3 && /site-ca.key/.test(String(error.where)),
    );
    assert.equal(await readFile(join(folder, "site-ca.crt"), "utf8"), before);
  });
});

Deno.test("P14: ensureCertificates() keeps what another CA has signed, and a copy of what it replaces", async () => {
  await withFolder(async (folder) => {
    const doors = [{ id: "197", name: DOMAIN, folder }];
    const path = (name: string) => join(folder, name);
    const texts = () =>
      Promise.all(["197.key", "197.crt"].map((name) => readFile(path(name), "utf8")));
    await ensureCertificates(SITE, doors);
    const ours = await texts();
    // A key that is another's: the pair is made anew, and both halves of before are still there.
    await copyFile(path("site-ca.key"), path("197.key"));
    assert.match((await ensureCertificates(SITE, doors)).join(), /197 made .*the key does not fit/);
    const kept = (await readdir(folder)).filter((name) => name.includes(".old."));
    assert.equal(kept.length, 2, kept.join());
    const copy = kept.find((name) => name.endsWith(".crt"))!;
    assert.equal(await readFile(path(copy), "utf8"), ours[1]);
    const modes = await Promise.all(
      kept.map(async (name) => (await stat(path(name))).mode & 0o777),
    );
    assert.deepEqual(modes, kept.map((name) => name.endsWith(".key") ? 0o600 : 0o644));
    assert.deepEqual((await readdir(folder)).filter((name) => name.includes(".new.")), []);

    // The operator's own: it ends soon, has other names, or has a foreign key.
    const own = async (days: string, name: string) => {
      const { success } = await new Deno.Command("openssl", {
        args: [
          "req",
          "-x509",
          "-newkey",
          "rsa:2048",
          "-nodes",
          "-days",
          days,
          "-subj",
          "/CN=company",
        ]
          .concat("-keyout", path("197.key"), "-out", path("197.crt"))
          .concat("-addext", `subjectAltName=DNS:${name}`),
        stderr: "null",
      }).output();
      assert.ok(success);
    };
    const untouched = async (reason: RegExp) => {
      const before = await texts();
      const told: string[] = [];
      assert.deepEqual(await ensureCertificates(SITE, doors, (text) => told.push(text)), []);
      assert.match(told.join(), reason);
      assert.match(told.join(), /197: .*none of the site CA, so it is left/);
      assert.deepEqual(await texts(), before);
    };
    await own("20", `*.${DOMAIN}`);
    await untouched(/the old one ends/);
    await own("300", "elsewhere.lab");
    await untouched(/other names/);
    await own("300", `*.${DOMAIN}`);
    assert.deepEqual(await ensureCertificates(SITE, doors), [], "it is well");
    await copyFile(path("site-ca.key"), path("197.key"));
    await untouched(/the key does not fit/);
    await rm(path("197.crt"));
    const key = await readFile(path("197.key"), "utf8");
    assert.deepEqual(await ensureCertificates(SITE, doors), []);
    assert.equal(await readFile(path("197.key"), "utf8"), key, "it waits for its certificate");
  });
});

/** What loading the fleet says of the files of 197. */
async function refusal(folder: string): Promise<string> {
  try {
    await fixtureFleet({ INGRESS_TLS: "true", INGRESS_TLS_DIR: folder });
    return "";
  } catch (error) {
    assert.ok(error instanceof DeployError && error.exitCode === 2, String(error));
    return error.where.filter((line) => /197\.(crt|key)/.test(line)).join("\n");
  }
}

Deno.test("INGRESS_TLS: every unfit file is told before anything is contacted", async () => {
  await withFolder(async (folder) => {
    const doors = ["196", "197", "198"].map((id) => ({
      id,
      name: `mkube-${id}.miribit.lab`,
      folder,
    }));
    assert.match(await refusal(folder), /197.crt +cannot be read: INGRESS_TLS needs it/);
    await ensureCertificates(SITE, doors);
    assert.equal(await refusal(folder), "");
    const swapped = join(folder, "swapped");
    await mkdir(swapped);
    for (const name of ["196.crt", "196.key", "197.crt", "197.key", "198.crt", "198.key"]) {
      await copyFile(join(folder, name), join(swapped, name));
    }
    await copyFile(join(folder, "198.key"), join(swapped, "197.key"));
    assert.match(await refusal(swapped), /197.key +is not the key of/);
    await copyFile(join(folder, "198.crt"), join(swapped, "197.crt"));
    assert.match(await refusal(swapped), /197.crt +is not for hosts of mkube-197.miribit.lab/);
    await writeFile(join(swapped, "197.key"), "nonsense");
    assert.match(await refusal(swapped), /197.key +is not a PEM private key/);
  });
});

/** Runs `work` as if it were so many days later. */
async function later<T>(days: number, work: () => Promise<T>): Promise<T> {
  const { now } = Date;
  Date.now = () => now() + days * 24 * 3600 * 1000;
  return await work().finally(() => Date.now = now);
}

Deno.test("a certificate that ends within a month is warned of and made anew, a dead one is refused", async () => {
  await withFolder(async (folder) => {
    const doors = ["196", "197", "198"].map((id) => ({
      id,
      name: `mkube-${id}.miribit.lab`,
      folder,
    }));
    await ensureCertificates(SITE, doors);
    const warnings = async () => {
      const [, edge] = await fixtureFleet({ INGRESS_TLS: "true", INGRESS_TLS_DIR: folder });
      return edge!.warnings.filter((line) => /197\.crt {2}ends on .* browsers refuse/.test(line));
    };
    assert.equal((await warnings()).length, 0);
    assert.equal((await later(800, warnings)).length, 1);
    assert.match(await later(830, () => refusal(folder)), /197\.crt {2}expired on/);
    assert.deepEqual(await later(790, () => ensureCertificates(SITE, doors)), []);
    const renewed = await later(800, () => ensureCertificates(SITE, doors));
    assert.equal(renewed.length, 3);
    assert.match(renewed[1]!, /certificate of 197 made .*the old one ends/);
  });
});

Deno.test("INGRESS_TLS: a wildcard of another level is for none of the doors", async () => {
  await withFolder(async (folder) => {
    const names = ["mkube-196.miribit.lab", `sub.${DOMAIN}`, "mkube-198.miribit.lab"];
    await ensureCertificates(
      SITE,
      names.map((name, index) => ({ id: String(196 + index), name, folder })),
    );
    // Its second name is the bare sub.DOMAIN, one label below: a host, so it is taken away here.
    const pair = join(folder, "197");
    const wildcard = `subjectAltName=DNS:*.sub.${DOMAIN}`;
    const { success } = await new Deno.Command("openssl", {
      args: ["req", "-x509", "-key", `${pair}.key`, "-out", `${pair}.crt`, "-days", "90"]
        .concat("-subj", "/CN=x", "-addext", wildcard),
      stderr: "null",
    }).output();
    assert.ok(success);
    assert.match(await refusal(folder), /197\.crt {2}is not for hosts of mkube-197/);
  });
});

Deno.test("ensureCertificates() makes what THANOS_GRPC_MTLS needs, and never without the key of the CA", async () => {
  await withFolder(async (folder) => {
    const environment = { THANOS_GRPC_MTLS: "true", GRPC_TLS_DIR: folder };
    await assert.rejects(fixtureFleet(environment), /Cannot load/);
    const holders = ["196-central", "197-edge", "198-edge"].map((name) => (
      { id: name.slice(0, 3), name: `cluster-${name}`, folder }
    ));
    const done = await ensureCertificates(FLEET, holders);
    assert.match(done[0]!, /fleet CA made .*keep its key elsewhere/);
    assert.equal(done.length, 4);
    assert.ok((await fixtureFleet(environment)).every(({ grpcIdentity }) => grpcIdentity));
    assert.deepEqual(await ensureCertificates(FLEET, holders), []);

    await rm(join(folder, "ca.key"));
    const renamed = [{ id: "197", name: "cluster-197-other", folder }];
    await assert.rejects(ensureCertificates(FLEET, renamed), {
      exitCode: 3,
      where: [join(folder, "ca.key")],
    });
    // While the CA is replaced, what the old one has signed stays.
    await rename(join(folder, "ca.crt"), join(folder, "old.crt"));
    await ensureCertificates(FLEET, [{ id: "199", name: "cluster-199-edge", folder }]);
    const both = await Promise.all(
      ["ca.crt", "old.crt"].map((name) => readFile(join(folder, name), "utf8")),
    );
    await writeFile(join(folder, "ca.crt"), both.join(""));
    assert.deepEqual(await ensureCertificates(FLEET, holders), []);
    await ensureCertificates(FLEET, renamed);
    const own = new X509Certificate(await readFile(join(folder, "197.crt")));
    assert.ok(
      own.verify(new X509Certificate(both[0]!).publicKey) && isFor(own, "cluster-197-other"),
    );
  });
});

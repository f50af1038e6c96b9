// certificates: two CAs of the site, each made once, and a certificate of each for every cluster: for the doors, where
// INGRESS_TLS looks for it, and for what clusters say to each other, where THANOS_GRPC_MTLS does. Safe to run again:
// what is valid for another month stays, and so does what another CA has signed. Needs openssl.
import "../needs.ts";
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import * as pairs from "../../lib/config/certificates.ts";
import { loadFleet, secretsOf } from "../../lib/config/cluster.ts";
import { projectPath, text } from "../../lib/core/cluster.ts";
import { command, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { prerequisiteError } from "../../lib/core/error.ts";
import { counted } from "../../lib/core/short_list.ts";
import { maskSecrets, Report } from "../../lib/io/report.ts";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** The CA for people who look in: `file` is its own pair, and `then` what is to be done with that. */
export const SITE = {
  title: "site CA",
  file: "site-ca",
  then: "let browsers trust it",
  folder: "INGRESS_TLS_DIR",
  name: "DOMAIN",
  names: (domain: string) => [`*.${domain}`, domain],
};

/** The CA for the clusters among themselves. */
export const FLEET: typeof SITE = {
  title: "fleet CA",
  file: "ca",
  then: "keep its key elsewhere until the next edge comes",
  folder: "GRPC_TLS_DIR",
  name: "CLUSTER_NAME",
  names: (name) => [name],
};

/** Makes what is missing, or is of the CA and not well; gives a sentence for each. @throws {DeployError} exit 3. */
export async function ensureCertificates(
  by: typeof SITE,
  holders: Record<"id" | "name" | "folder", string>[],
  warn: (text: string) => void = () => {},
): Promise<string[]> {
  const done: string[] = [];
  for (const { id, name, folder } of holders) {
    const names = by.names(name);
    const authority = join(folder, by.file), pair = join(folder, id);
    const { reason, isOurs } = await judged(pair, `${authority}.crt`, names[0]!);
    if (!reason) continue;
    if (!isOurs) {
      const fix = "make a new pair yourself, or take both files away";
      warn(`${pair}: ${reason}; it is none of the ${by.title}, so it is left: ${fix}`);
      continue;
    }
    await mkdir(folder, { recursive: true, mode: 0o700 });
    // One that has ended is never replaced: everybody trusts it.
    if (!existsSync(`${authority}.crt`)) {
      await openssl(authority, ["-days", "3650", "-subj", `/CN=${by.title}`]);
      done.push(`${by.title} made (${authority}.crt): ${by.then}`);
    }
    if (!existsSync(`${authority}.key`)) {
      const what = `Cannot make the certificate of ${id}: the key of the ${by.title} is away`;
      const fix = `bring it back for this run, or put ${id}.crt and ${id}.key into ${folder}`;
      const where = `${authority}.key`;
      throw prerequisiteError(what, { where, fix });
    }
    await openssl(pair, [
      ...["-days", "825", "-subj", `/CN=${names[0]}`],
      ...["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`],
      ...["-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join()}`],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-addext", "extendedKeyUsage=serverAuth,clientAuth"],
    ]);
    done.push(`certificate of ${id} made for ${names[0]} (${reason})`);
  }
  return done;
}

/** Why a pair has to be made (no reason: it is well, whoever signed it), and whether the CA has signed it. */
async function judged(pair: string, authority: string, name: string) {
  const read = async (path: string) => existsSync(path) ? await readFile(path, "utf8") : undefined;
  const [key, own, ca = ""] = await Promise.all(
    [`${pair}.key`, `${pair}.crt`, authority].map(read),
  );
  if (!own) {
    // A key alone may wait for what a CA of the company makes of it.
    const reason = key === undefined ? "there was none" : "a key is there, but no certificate";
    return { reason, isOurs: key === undefined };
  }
  const pem = new X509Certificate(own), secret = pairs.privateKey(key ?? "");
  // While a CA is replaced its file holds the new one and the old one.
  const ours = pairs.certificatesIn(ca).filter(({ subject }) => subject === pem.issuer);
  const reasons = {
    "the key does not fit": !secret || !pem.checkPrivateKey(secret),
    "the old one had other names": !pairs.isFor(pem, name.replace("*", "grafana")),
    [`the old one ends ${pem.validTo}`]: Date.parse(pem.validTo) < Date.now() + pairs.MONTH,
    "the CA is another one now": ours.length > 0 &&
      !ours.some(({ publicKey }) => pem.verify(publicKey)),
  };
  const [reason] = Object.keys(reasons).filter((one) => reasons[one]);
  return { reason, isOurs: ours.length > 0 };
}

/** Makes a pair beside the old one, of which it keeps a copy, and puts it in its place. */
async function openssl(pair: string, more: string[]): Promise<void> {
  const files = ["-keyout", `${pair}.new.key`, "-out", `${pair}.new.crt`];
  const run = $({ quiet: true, nothrow: true, timeout: "60s" });
  const { exitCode, stderr } = await run`umask 077; openssl req -x509 ${CURVE} ${files} ${more}`;
  if (exitCode !== 0) {
    throw prerequisiteError("Cannot make a certificate with openssl", {
      where: stderr.trim().split("\n").slice(-3),
      fix: "install OpenSSL 3, or put your own certificates there",
    });
  }
  await chmod(`${pair}.new.crt`, 0o644);
  const now = new Date().toISOString().replace(/[:.]/g, "-");
  const old = ["key", "crt"].filter((end) => existsSync(`${pair}.${end}`));
  for (const end of old) await copyFile(`${pair}.${end}`, `${pair}.${now}.old.${end}`);
  for (const end of ["key", "crt"]) await rename(`${pair}.new.${end}`, `${pair}.${end}`);
}

await command("certificates.ts", {}, async () => {
  // Without these the certificates that are missing would be the first problem.
  const environment = { ...Deno.env.toObject(), ...pairs.WITHOUT_PAIRS };
  const fleet = await loadFleet({ ...WITHOUT_SECRETS, environment });
  maskSecrets(fleet.flatMap(secretsOf));
  const report = new Report();
  let count = 0;
  for (const by of [SITE, FLEET]) {
    const holders = fleet.map((cluster) => ({
      id: cluster.id,
      name: text(cluster, by.name),
      folder: projectPath(text(cluster, by.folder)),
    }));
    const done = await ensureCertificates(by, holders, report.warn);
    for (const line of done) report.say(`  changed    ${line}`);
    count += done.length;
  }
  report.say(counted(count, "change"));
  if (count === 0) return;
  const settings = Object.keys(pairs.WITHOUT_PAIRS).map((name) => `${name}=true`).join(" or ");
  report.say(`next  ${settings} in env/common.env, then: make all`);
}, import.meta.main);

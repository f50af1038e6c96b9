// certificates: a CA of the site, made once, and a certificate of it for the doors of every cluster, where
// INGRESS_TLS looks for them. Safe to run again: what is valid for another month stays, and so does what another
// CA has signed. Needs openssl.
import "../needs.ts";
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { isFor, MONTH, privateKey } from "../../lib/config/certificates.ts";
import { loadFleet, secretsOf } from "../../lib/config/cluster.ts";
import { projectPath, text } from "../../lib/core/cluster.ts";
import { command, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { changeCount, maskSecrets, Report } from "../../lib/io/report.ts";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Who gets a certificate, and where it is kept. */
export interface Door {
  id: string;
  domain: string;
  folder: string;
}

/**
 * Makes what is missing, and what the site CA has signed and ends within a month or does not fit; gives a sentence
 * for each. Of what it replaces a copy stays. `warn` is told what does not fit and is the operator's own: that is
 * left alone. A CA that has ended is never replaced: every browser trusts the old one.
 * @throws {DeployError} exit 3 without openssl, or when the key of the CA is elsewhere.
 */
export async function ensureCertificates(
  doors: Door[],
  warn: (text: string) => void = () => {},
): Promise<string[]> {
  const done: string[] = [];
  for (const door of doors) {
    const authority = join(door.folder, "site-ca");
    const pair = join(door.folder, door.id);
    const { reason, isOurs } = await judged(pair, door, authority);
    if (!reason) continue;
    if (!isOurs) {
      warn(
        `${pair}: ${reason}; it is none of the site CA, so it is left: make a new pair yourself, ` +
          "or take both files away",
      );
      continue;
    }
    await mkdir(door.folder, { recursive: true, mode: 0o700 });
    if (!existsSync(`${authority}.crt`)) {
      await openssl(authority, ["-days", "3650", "-subj", "/CN=site CA"]);
      done.push(`site CA made: let browsers trust ${authority}.crt`);
    }
    if (!existsSync(`${authority}.key`)) {
      const what = `Cannot make the certificate of ${door.id}: the key of the site CA is away`;
      throw new DeployError(what, {
        exitCode: ExitCode.prerequisite,
        where: `${authority}.key`,
        fix:
          `bring it back for this run, or put ${door.id}.crt and ${door.id}.key into ${door.folder}`,
      });
    }
    await openssl(pair, [
      ...["-days", "825", "-subj", `/CN=*.${door.domain}`],
      ...["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`],
      ...["-addext", `subjectAltName=DNS:*.${door.domain},DNS:${door.domain}`],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-addext", "extendedKeyUsage=serverAuth"],
    ]);
    done.push(`certificate of ${door.id} made for *.${door.domain} (${reason})`);
  }
  return done;
}

/** Why a pair has to be made (no reason: it is well, whoever signed it), and whether the site CA has signed it. */
async function judged(pair: string, { domain }: Door, authority: string) {
  const [pem, ca] = await Promise.all([`${pair}.crt`, `${authority}.crt`].map(certificateIn));
  const key = existsSync(`${pair}.key`) ? await readFile(`${pair}.key`, "utf8") : undefined;
  if (!pem) {
    // A key alone may wait for what a CA of the company makes of it.
    const reason = key === undefined ? "there was none" : "a key is there, but no certificate";
    return { reason, isOurs: key === undefined };
  }
  const isOurs = ca !== undefined && pem.issuer === ca.subject;
  const secret = privateKey(key ?? "");
  const reason = !secret || !pem.checkPrivateKey(secret)
    ? "the key does not fit"
    : !isFor(pem, `grafana.${domain}`)
    ? "the old one had other names"
    : Date.parse(pem.validTo) < Date.now() + MONTH
    ? `the old one ends ${pem.validTo}`
    : isOurs && !pem.verify(ca.publicKey)
    ? "the CA is another one now"
    : undefined;
  return { reason, isOurs };
}

async function certificateIn(file: string): Promise<X509Certificate | undefined> {
  return existsSync(file) ? new X509Certificate(await readFile(file)) : undefined;
}

/** Makes a pair beside the old one, of which it keeps a copy, and puts it in its place. */
async function openssl(pair: string, more: string[]): Promise<void> {
  const files = ["-keyout", `${pair}.new.key`, "-out", `${pair}.new.crt`];
  const run = $({ quiet: true, nothrow: true, timeout: "60s" });
  const { exitCode, stderr } = await run`umask 077; openssl req -x509 ${CURVE} ${files} ${more}`;
  if (exitCode !== 0) {
    throw new DeployError("Cannot make a certificate with openssl", {
      exitCode: ExitCode.prerequisite,
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

async function certificates(): Promise<void> {
  // Without this the certificates that are missing would be the first problem.
  const fleet = await loadFleet({
    ...WITHOUT_SECRETS,
    environment: { ...Deno.env.toObject(), INGRESS_TLS: "false" },
  });
  maskSecrets(fleet.flatMap(secretsOf));
  const report = new Report();
  const doors = fleet.map((cluster) => ({
    id: cluster.id,
    domain: text(cluster, "DOMAIN"),
    folder: projectPath(text(cluster, "INGRESS_TLS_DIR")),
  }));
  const done = await ensureCertificates(doors, (text) => report.warn(text));
  for (const line of done) report.say(`  changed    ${line}`);
  report.say(changeCount(done.length));
  if (done.length > 0) report.say("next  INGRESS_TLS=true in env/common.env, then: make all");
}

if (import.meta.main) await command("certificates.ts", {}, certificates);

// certificates: a CA of the site, made once, and a certificate of it for the doors of every cluster, where
// INGRESS_TLS looks for them. Safe to run again: what is valid for another month stays. Needs openssl.
import "../needs.ts";
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { isFor, MONTH } from "../../lib/config/certificates.ts";
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
 * Makes what is missing, ends within a month, or does not fit, and gives a sentence for each. A CA
 * that has ended is never replaced: every browser trusts the old one.
 * @throws {DeployError} exit 3 without openssl, or when the key of the CA is elsewhere.
 */
export async function ensureCertificates(doors: Door[]): Promise<string[]> {
  const done: string[] = [];
  for (const door of doors) {
    const authority = join(door.folder, "site-ca");
    const pair = join(door.folder, door.id);
    const reason = await outdated(pair, door, authority);
    if (!reason) continue;
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

/** Why a certificate has to be made; undefined when it is well, whoever signed it. */
async function outdated(
  pair: string,
  { domain }: Door,
  authority: string,
): Promise<string | undefined> {
  const [pem, ca] = await Promise.all([`${pair}.crt`, `${authority}.crt`].map(certificateIn));
  if (!pem || !existsSync(`${pair}.key`)) return "there was none";
  if (!isFor(pem, `grafana.${domain}`)) return "the old one had other names";
  if (Date.parse(pem.validTo) < Date.now() + MONTH) return `the old one ends ${pem.validTo}`;
  if (ca && pem.checkIssued(ca) && !pem.verify(ca.publicKey)) return "the CA is another one now";
}

async function certificateIn(file: string): Promise<X509Certificate | undefined> {
  return existsSync(file) ? new X509Certificate(await readFile(file)) : undefined;
}

async function openssl(pair: string, more: string[]): Promise<void> {
  const files = ["-keyout", `${pair}.key`, "-out", `${pair}.crt`];
  const run = $({ quiet: true, nothrow: true, timeout: "60s" });
  const { exitCode, stderr } = await run`umask 077; openssl req -x509 ${CURVE} ${files} ${more}`;
  if (exitCode !== 0) {
    throw new DeployError("Cannot make a certificate with openssl", {
      exitCode: ExitCode.prerequisite,
      where: stderr.trim().split("\n").slice(-3),
      fix: "install OpenSSL 3, or put your own certificates there",
    });
  }
  await chmod(`${pair}.crt`, 0o644);
}

async function certificates(): Promise<number> {
  // Without this the certificates that are missing would be the first problem.
  const fleet = await loadFleet({
    ...WITHOUT_SECRETS,
    environment: { ...Deno.env.toObject(), INGRESS_TLS: "false" },
  });
  maskSecrets(fleet.flatMap(secretsOf));
  const report = new Report();
  const done = await ensureCertificates(fleet.map((cluster) => ({
    id: cluster.id,
    domain: text(cluster, "DOMAIN"),
    folder: projectPath(text(cluster, "INGRESS_TLS_DIR")),
  })));
  for (const line of done) report.say(`  changed    ${line}`);
  report.say(changeCount(done.length));
  if (done.length > 0) report.say("next  INGRESS_TLS=true in env/common.env, then: make all");
  return ExitCode.done;
}

if (import.meta.main) await command("certificates.ts", {}, certificates);

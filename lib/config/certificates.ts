// Certificates that settings name as files: read and judged before anything is contacted.
import type { DoorCertificate, Identity } from "../core/cluster.ts";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Candidate } from "./merge.ts";
import { guardSecretFile, shown } from "./files.ts";
import { caLimit, SECRET_LIMIT } from "./rules.ts";

/** Texts of every S3_CA_FILE, by the path in the setting; what is wrong goes to `problems`. */
export async function readAuthorities(
  root: string,
  drafts: Candidate[],
  problems: string[],
): Promise<Map<string, string | undefined>> {
  const read = new Map<string, string | undefined>();
  for (const { vars, sources, bad } of drafts) {
    const path = String(vars.S3_CA_FILE);
    if (path === "" || bad.has("S3_CA_FILE")) continue;
    if (!read.has(path)) {
      read.set(path, await readFile(resolve(root, path), "utf8").catch(() => undefined));
    }
    const pem = read.get(path);
    const problem = pem === undefined
      ? "cannot be read: copy the CA certificate of the S3 there, or empty S3_CA_FILE"
      : certificateProblem(pem) ?? sizeProblem(pem, caLimit(vars));
    if (problem) problems.push(`${sources.S3_CA_FILE}  S3_CA_FILE is "${path}": ${problem}`);
  }
  return read;
}

function sizeProblem(pem: string, [most, reader] = SECRET_LIMIT): string | undefined {
  const bytes = new TextEncoder().encode(pem).length;
  if (bytes > most) return `has ${bytes} bytes, and ${reader} ${most}: keep only what is needed`;
}

function certificateProblem(pem: string): string | undefined {
  // Its text is copied into the clusters.
  if (pem.includes("PRIVATE KEY")) return "holds a private key: keep only the certificate in it";
  if (!parsed(pem)) return "is not a PEM certificate: expected -----BEGIN CERTIFICATE-----";
}

/** All certificates of a file: while a CA is replaced, ca.crt holds the old and the new one. */
function parsed(pem: string): X509Certificate[] | undefined {
  try {
    const found = certificatesIn(pem);
    return found.length > 0 ? found : undefined;
  } catch {
    return undefined;
  }
}

/** Every certificate of a PEM text, whatever else is in it; throws on one that is broken. */
export function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/**
 * Identities of the clusters with THANOS_GRPC_MTLS, by id. What is wrong goes to `problems`, and what
 * ends within a month to the warnings of its cluster.
 * @throws {DeployError} exit 4 when git tracks a key.
 */
export async function readIdentities(
  root: string,
  drafts: Candidate[],
  problems: string[],
): Promise<Map<string, Identity>> {
  const identities = new Map<string, Identity>();
  for (const draft of drafts.filter(({ vars }) => vars.THANOS_GRPC_MTLS === true)) {
    const folder = resolve(root, String(draft.vars.GRPC_TLS_DIR));
    const [authority, certificate, key] = await Promise.all(
      ["ca.crt", `${draft.id}.crt`, `${draft.id}.key`].map((name) =>
        readText(root, resolve(folder, name))
      ),
    ) as [PemFile, PemFile, PemFile];
    const found = identityProblems(draft, authority, certificate, key);
    problems.push(...found);
    if (found.length > 0) continue;
    await guardSecretFile(key.path, key.file, draft.warnings);
    for (const one of [authority, certificate]) {
      draft.warnings.push(...endsSoon(one, "the centre loses the edges"));
    }
    identities.set(draft.id, {
      authority: authority.pem!,
      certificate: certificate.pem!,
      key: key.pem!,
    });
  }
  return identities;
}

interface PemFile {
  path: string;
  /** As shown to people. */
  file: string;
  pem?: string;
}

async function readText(root: string, path: string): Promise<PemFile> {
  const pem = await readFile(path, "utf8").catch(() => undefined);
  return { path, file: shown(root, path), pem };
}

/**
 * Certificates of the clusters with INGRESS_TLS, by id. What is wrong goes to `problems`, and what
 * ends within a month to the warnings of its cluster.
 * @throws {DeployError} exit 4 when git tracks a key.
 */
export async function readDoorCertificates(
  root: string,
  drafts: Candidate[],
  problems: string[],
): Promise<Map<string, DoorCertificate>> {
  const found = new Map<string, DoorCertificate>();
  for (const draft of drafts.filter(({ vars }) => vars.INGRESS_TLS === true)) {
    const folder = resolve(root, String(draft.vars.INGRESS_TLS_DIR));
    const [certificate, key] = await Promise.all(
      [`${draft.id}.crt`, `${draft.id}.key`].map((name) => readText(root, resolve(folder, name))),
    ) as [PemFile, PemFile];
    const unfit = doorProblems(String(draft.vars.DOMAIN), certificate, key);
    problems.push(...unfit);
    if (unfit.length > 0) continue;
    await guardSecretFile(key.path, key.file, draft.warnings);
    draft.warnings.push(...endsSoon(certificate, "browsers refuse the doors"));
    found.set(draft.id, { certificate: certificate.pem!, key: key.pem! });
  }
  return found;
}

const DOORS_FIX = "make certificates, or put your own there";

/** Lines of `file  what is wrong`; `domain` is the one whose hosts the certificate is for. */
function doorProblems(domain: string, certificate: PemFile, key: PemFile): string[] {
  const absent = [certificate, key].filter(({ pem }) => pem === undefined);
  if (absent.length > 0) {
    return absent.map(({ file }) => `${file}  cannot be read: INGRESS_TLS needs it; ${DOORS_FIX}`);
  }
  const problem = certificateProblem(certificate.pem!) ?? sizeProblem(certificate.pem!);
  if (problem) return [`${certificate.file}  ${problem}`];
  const secret = privateKey(key.pem!);
  if (!secret) return [`${key.file}  is not a PEM private key without a passphrase`];
  const own = parsed(certificate.pem!)![0]!;
  const names = own.subjectAltName?.split(", ") ?? [];
  return [
    ...periodProblems(certificate, own),
    ...(own.checkPrivateKey(secret) ? [] : [`${key.file}  is not the key of ${certificate.file}`]),
    // A wildcard stands for one label: *.sub.DOMAIN is for none of the doors.
    ...(names.some((name) => name.slice(name.indexOf(".") + 1) === domain) ? [] : [
      `${certificate.file}  is not for hosts of ${domain} (${names.join(", ") || "no names"}): ` +
      `it needs subjectAltName=DNS:*.${domain}`,
    ]),
  ];
}

/** Whether a browser takes the certificate for that host. (Deno's `checkHost` knows no wildcards.) */
export function isFor({ subjectAltName = "" }: X509Certificate, host: string): boolean {
  const above = host.slice(host.indexOf("."));
  const names = subjectAltName.split(", ");
  return names.includes(`DNS:${host}`) || names.includes(`DNS:*${above}`);
}

/** Lines of `file  what is wrong`; the first trouble of a file hides what follows from it. */
function identityProblems(
  draft: Candidate,
  authority: PemFile,
  certificate: PemFile,
  key: PemFile,
): string[] {
  const absent = [authority, certificate, key].filter(({ pem }) => pem === undefined);
  if (absent.length > 0) {
    return absent.map(({ file }) =>
      `${file}  cannot be read: THANOS_GRPC_MTLS needs it; README.md shows how to make it`
    );
  }
  const unfit = [authority, certificate].flatMap(({ file, pem }) => {
    const problem = certificateProblem(pem!) ?? sizeProblem(pem!);
    return problem ? [`${file}  ${problem}`] : [];
  });
  const secret = privateKey(key.pem!);
  if (!secret) unfit.push(`${key.file}  is not a PEM private key without a passphrase`);
  if (unfit.length > 0) return unfit;

  const authorities = parsed(authority.pem!)!, own = parsed(certificate.pem!)![0]!;
  const problems = [
    ...authorities.flatMap((ca) => periodProblems(authority, ca)),
    ...periodProblems(certificate, own),
  ];
  const refuse = (file: string, what: string) => problems.push(`${file}  ${what}`);
  if (!authorities.every(({ ca }) => ca)) {
    refuse(authority.file, "is not the certificate of a CA (basicConstraints CA:TRUE)");
  }
  if (!own.checkPrivateKey(secret!)) {
    refuse(key.file, `is not the key of ${certificate.file}: make both again`);
  }
  if (!authorities.some((ca) => own.checkIssued(ca) && own.verify(ca.publicKey))) {
    refuse(certificate.file, `is not signed by ${authority.file}: make it again with that CA`);
  }
  const name = String(draft.vars.CLUSTER_NAME);
  // Go does not look at the common name.
  const names = own.subjectAltName?.split(", ") ?? [];
  if (draft.vars.CLUSTER_ROLE === "edge" && !names.includes(`DNS:${name}`)) {
    const state = names.join(", ") || "it has none";
    refuse(
      certificate.file,
      `lacks the DNS name ${name} (${state}): make it again with subjectAltName=DNS:${name}`,
    );
  }
  return problems;
}

function privateKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

function periodProblems({ file }: PemFile, { validFrom, validTo }: X509Certificate): string[] {
  if (Date.parse(validTo) < Date.now()) return [`${file}  expired on ${validTo}: make a new one`];
  if (Date.parse(validFrom) > Date.now()) {
    return [`${file}  is valid from ${validFrom} only: compare this machine's clock (date)`];
  }
  return [];
}

/** Time before the end of a certificate at which somebody should act. */
export const MONTH = 30 * 24 * 3600 * 1000;

function endsSoon({ file, pem }: PemFile, then: string): string[] {
  return parsed(pem!)!.filter(({ validTo }) => Date.parse(validTo) < Date.now() + MONTH)
    .map(({ validTo }) => `${file}  ends on ${validTo}, and then ${then}: make a new one`);
}

// Certificates that settings name as files: read and judged before anything is contacted.
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Vars } from "../core/cluster.ts";
import { guardSecretFile, shown } from "./files.ts";
import type { Candidate } from "./merge.ts";
import { caLimit } from "./rules.ts";

/** Text of a cluster's S3_CA_FILE; what is wrong with it goes to `problems`. */
export async function readS3Ca(root: string, { vars, sources }: Candidate, problems: string[]) {
  if (!vars.S3_CA_FILE) return undefined;
  const path = String(vars.S3_CA_FILE);
  const pem = await readFile(resolve(root, path), "utf8").catch(() => undefined);
  const problem = pem === undefined
    ? "cannot be read: copy the CA certificate of the S3 there, or empty S3_CA_FILE"
    : certificateProblem(pem, caLimit(vars));
  if (problem) problems.push(`${sources.S3_CA_FILE}  S3_CA_FILE is "${path}": ${problem}`);
  return pem;
}

/** Whoever reads it takes `most` bytes: a Secret holds 1 MiB with all names. */
function certificateProblem(pem: string, { most = 1_000_000, reader = "a Secret holds" } = {}) {
  // Its text is copied into the clusters.
  if (pem.includes("PRIVATE KEY")) return "holds a private key: keep only the certificate in it";
  const bytes = new TextEncoder().encode(pem).length;
  if (bytes > most) return `has ${bytes} bytes, and ${reader} ${most}: keep only what is needed`;
  try {
    if (certificatesIn(pem).length > 0) return undefined;
  } catch {
    // Told as a text without any.
  }
  return "is not a PEM certificate: expected -----BEGIN CERTIFICATE-----";
}

/** Every certificate of a PEM text, whatever else is in it; throws on one that is broken. */
export function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** Certificates by which clusters know each other: each has `<id>.crt` with `<id>.key` in a folder. */
export const MUTUAL = {
  setting: "THANOS_GRPC_MTLS",
  folder: "GRPC_TLS_DIR",
  signed: true, // by a CA that is there as well, as `ca.crt`
  then: "the centre loses the edges", // once one has ended
  misnamed(names: string[], { CLUSTER_NAME: name, CLUSTER_ROLE }: Vars) {
    // Go does not look at the common name.
    if (CLUSTER_ROLE !== "edge" || names.includes(`DNS:${name}`)) return;
    const state = names.join(", ") || "it has none";
    return `lacks the DNS name ${name} (${state}): make it again with subjectAltName=DNS:${name}`;
  },
};

type Kind = typeof MUTUAL;

/** Of the doors, for browsers. */
export const DOORS: Kind = {
  setting: "INGRESS_TLS",
  folder: "INGRESS_TLS_DIR",
  signed: false,
  then: "browsers refuse the doors",
  misnamed(names, { DOMAIN }) {
    // A wildcard stands for one label: *.sub.DOMAIN is for none of the doors.
    if (names.some((name) => name.slice(name.indexOf(".") + 1) === DOMAIN)) return;
    const state = names.join(", ") || "no names";
    return `is not for hosts of ${DOMAIN} (${state}): it needs subjectAltName=DNS:*.${DOMAIN}`;
  },
};

/** Settings under which none of them needs to be there. */
export const WITHOUT_PAIRS = { [DOORS.setting]: "false", [MUTUAL.setting]: "false" };

type PemFile = { path: string; file: string; pem?: string };

/** What a cluster has of a kind; it is warned of what ends within a month. */
export async function readPair(kind: Kind, root: string, draft: Candidate, problems: string[]) {
  const { id, vars, warnings } = draft;
  const needed = [kind.folder, "CLUSTER_NAME", "CLUSTER_ROLE", "DOMAIN"];
  if (!vars[kind.setting] || needed.some((name) => !(name in vars))) return undefined;
  const names = [`${id}.key`, `${id}.crt`, ...kind.signed ? ["ca.crt"] : []];
  const files = names.map(async (name): Promise<PemFile> => {
    const path = resolve(root, String(vars[kind.folder]), name);
    const pem = await readFile(path, "utf8").catch(() => undefined);
    return { path, file: shown(root, path), pem };
  });
  const [key, own, ca] = await Promise.all(files) as [PemFile, PemFile, PemFile?];
  const found = pairProblems(kind, vars, key, own, ca);
  problems.push(...found);
  if (found.length > 0) return undefined;
  await guardSecretFile(key.path, key.file, warnings);
  for (const { file, pem } of ca ? [ca, own] : [own]) {
    for (const { validTo } of certificatesIn(pem!)) {
      if (Date.parse(validTo) >= Date.now() + MONTH) continue;
      warnings.push(`${file}  ends on ${validTo}, and then ${kind.then}: make a new one`);
    }
  }
  return { authority: ca?.pem ?? "", certificate: own.pem!, key: key.pem! };
}

/** Lines of `file  what is wrong`; the first trouble of a file hides what follows from it. */
function pairProblems(kind: Kind, vars: Vars, key: PemFile, own: PemFile, ca?: PemFile): string[] {
  const all = ca ? [ca, own, key] : [own, key];
  const absent = all.filter(({ pem }) => pem === undefined);
  const needed = `${kind.setting} needs it; make certificates, or put your own there`;
  if (absent.length > 0) return absent.map(({ file }) => `${file}  cannot be read: ${needed}`);
  const secret = privateKey(key.pem!);
  const unfit = lines([
    [ca, ca && certificateProblem(ca.pem!)],
    [own, certificateProblem(own.pem!)],
    [key, !secret && "is not a PEM private key without a passphrase"],
  ]);
  if (!secret || unfit.length > 0) return unfit;
  const [certificate] = certificatesIn(own.pem!) as [X509Certificate];
  // While a CA is replaced, ca.crt holds the old and the new one.
  const authorities = certificatesIn(ca?.pem ?? ""), isOfCa = authorities.every(({ ca }) => ca);
  const isSigned = authorities.some((one) =>
    certificate.checkIssued(one) && certificate.verify(one.publicKey)
  );
  return lines([
    ...authorities.map((one): Judged => [ca, periodProblem(one)]),
    [own, periodProblem(certificate)],
    [ca, !isOfCa && "is not the certificate of a CA (basicConstraints CA:TRUE)"],
    [key, !certificate.checkPrivateKey(secret) && `is not the key of ${own.file}: make both again`],
    [own, ca && !isSigned && `is not signed by ${ca.file}: make it again with that CA`],
    [own, kind.misnamed(certificate.subjectAltName?.split(", ") ?? [], vars)],
  ]);
}

type Judged = [file: PemFile | undefined, problem: string | false | undefined];

function lines(judged: Judged[]): string[] {
  return judged.flatMap(([one, problem]) => problem ? [`${one!.file}  ${problem}`] : []);
}

function periodProblem({ validFrom, validTo }: X509Certificate): string | undefined {
  if (Date.parse(validTo) < Date.now()) return `expired on ${validTo}: make a new one`;
  if (Date.parse(validFrom) <= Date.now()) return undefined;
  return `is valid from ${validFrom} only: compare this machine's clock (date)`;
}

/** Whether a browser takes the certificate for that host. (Deno's `checkHost` knows no wildcards.) */
export function isFor({ subjectAltName = "" }: X509Certificate, host: string): boolean {
  const names = subjectAltName.split(", ");
  return names.includes(`DNS:${host}`) || names.includes(`DNS:*${host.slice(host.indexOf("."))}`);
}

/** A private key without a passphrase; undefined where the text is none. */
export function privateKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

/** Time before the end of a certificate at which somebody should act. */
export const MONTH = 30 * 24 * 3600 * 1000;

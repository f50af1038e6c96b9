// Certificates that settings name as files: read and judged before anything is contacted.
import type { Identity, Vars } from "../core/cluster.ts";
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
      : certificateProblem(pem, caLimit(vars));
    if (problem) problems.push(`${sources.S3_CA_FILE}  S3_CA_FILE is "${path}": ${problem}`);
  }
  return read;
}

function certificateProblem(pem: string, [most, reader] = SECRET_LIMIT): string | undefined {
  // Its text is copied into the clusters.
  if (pem.includes("PRIVATE KEY")) return "holds a private key: keep only the certificate in it";
  const bytes = new TextEncoder().encode(pem).length;
  if (bytes > most) return `has ${bytes} bytes, and ${reader} ${most}: keep only what is needed`;
  if (parsed(pem).length === 0) {
    return "is not a PEM certificate: expected -----BEGIN CERTIFICATE-----";
  }
}

/** All certificates of a file (while a CA is replaced, ca.crt holds the old and the new one); none of a broken one. */
function parsed(pem: string): X509Certificate[] {
  try {
    return certificatesIn(pem);
  } catch {
    return [];
  }
}

/** Every certificate of a PEM text, whatever else is in it; throws on one that is broken. */
export function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** Certificates that each cluster with a setting has in a folder, as `<id>.crt` with `<id>.key`. */
interface Kind {
  /** The setting that asks for them, and the one that names the folder. */
  setting: string;
  folder: string;
  /** Whether the CA that has signed them must be there as well, as `ca.crt`. */
  signed: boolean;
  fix: string;
  /** What comes of one that has ended. */
  then: string;
  /** What is wrong with the names in one. */
  misnamed: (names: string[], vars: Vars) => string | undefined;
}

/** By which clusters know each other. */
export const MUTUAL: Kind = {
  setting: "THANOS_GRPC_MTLS",
  folder: "GRPC_TLS_DIR",
  signed: true,
  fix: "make certificates, or put your own there",
  then: "the centre loses the edges",
  misnamed(names, { CLUSTER_NAME: name, CLUSTER_ROLE }) {
    // Go does not look at the common name.
    if (CLUSTER_ROLE !== "edge" || names.includes(`DNS:${name}`)) return;
    const state = names.join(", ") || "it has none";
    return `lacks the DNS name ${name} (${state}): make it again with subjectAltName=DNS:${name}`;
  },
};

/** Of the doors, for browsers. */
export const DOORS: Kind = {
  setting: "INGRESS_TLS",
  folder: "INGRESS_TLS_DIR",
  signed: false,
  fix: "make certificates, or put your own there",
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

interface PemFile {
  path: string;
  /** As shown to people. */
  file: string;
  pem?: string;
}

/**
 * Certificates of this kind by the id of their cluster; `authority` is empty where it need not be there. What is
 * wrong goes to `problems`, and what ends within a month to the warnings of its cluster.
 * @throws {DeployError} exit 4 when git tracks a key.
 */
export async function readPairs(
  kind: Kind,
  root: string,
  drafts: Candidate[],
  problems: string[],
): Promise<Map<string, Identity>> {
  const pairs = new Map<string, Identity>();
  for (const draft of drafts.filter(({ vars }) => vars[kind.setting] === true)) {
    const folder = resolve(root, String(draft.vars[kind.folder]));
    const names = [`${draft.id}.key`, `${draft.id}.crt`, ...kind.signed ? ["ca.crt"] : []];
    const files = names.map(async (name): Promise<PemFile> => {
      const path = resolve(folder, name);
      const pem = await readFile(path, "utf8").catch(() => undefined);
      return { path, file: shown(root, path), pem };
    });
    const [key, own, ca] = await Promise.all(files) as [PemFile, PemFile, PemFile?];
    const found = pairProblems(kind, draft.vars, key, own, ca);
    problems.push(...found);
    if (found.length > 0) continue;
    await guardSecretFile(key.path, key.file, draft.warnings);
    for (const { file, pem } of [...ca ? [ca] : [], own]) {
      const ending = parsed(pem!).filter(({ validTo }) => Date.parse(validTo) < Date.now() + MONTH);
      draft.warnings.push(
        ...ending.map(({ validTo }) =>
          `${file}  ends on ${validTo}, and then ${kind.then}: make a new one`
        ),
      );
    }
    const authority = ca?.pem ?? "";
    pairs.set(draft.id, { authority, certificate: own.pem!, key: key.pem! });
  }
  return pairs;
}

/** Lines of `file  what is wrong`; the first trouble of a file hides what follows from it. */
function pairProblems(kind: Kind, vars: Vars, key: PemFile, own: PemFile, ca?: PemFile): string[] {
  const certificates = [...ca ? [ca] : [], own];
  const absent = [...certificates, key].filter(({ pem }) => pem === undefined);
  if (absent.length > 0) {
    return absent.map(({ file }) =>
      `${file}  cannot be read: ${kind.setting} needs it; ${kind.fix}`
    );
  }
  const unfit = certificates.flatMap(({ file, pem }) => {
    const problem = certificateProblem(pem!);
    return problem ? [`${file}  ${problem}`] : [];
  });
  const secret = privateKey(key.pem!);
  if (!secret) unfit.push(`${key.file}  is not a PEM private key without a passphrase`);
  if (!secret || unfit.length > 0) return unfit;

  const [certificate] = parsed(own.pem!) as [X509Certificate];
  const authorities = parsed(ca?.pem ?? "");
  const problems = [
    ...authorities.flatMap((one) => periodProblems(ca!, one)),
    ...periodProblems(own, certificate),
  ];
  if (!authorities.every(({ ca }) => ca)) {
    problems.push(`${ca!.file}  is not the certificate of a CA (basicConstraints CA:TRUE)`);
  }
  if (!certificate.checkPrivateKey(secret)) {
    problems.push(`${key.file}  is not the key of ${own.file}: make both again`);
  }
  if (ca && !authorities.some((one) => isSignedBy(certificate, one))) {
    problems.push(`${own.file}  is not signed by ${ca.file}: make it again with that CA`);
  }
  const misnamed = kind.misnamed(certificate.subjectAltName?.split(", ") ?? [], vars);
  return misnamed ? [...problems, `${own.file}  ${misnamed}`] : problems;
}

function isSignedBy(certificate: X509Certificate, ca: X509Certificate): boolean {
  return certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
}

/** Whether a browser takes the certificate for that host. (Deno's `checkHost` knows no wildcards.) */
export function isFor({ subjectAltName = "" }: X509Certificate, host: string): boolean {
  const above = host.slice(host.indexOf("."));
  const names = subjectAltName.split(", ");
  return names.includes(`DNS:${host}`) || names.includes(`DNS:*${above}`);
}

/** A private key without a passphrase; undefined where the text is none. */
export function privateKey(pem: string): KeyObject | undefined {
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

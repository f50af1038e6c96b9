// Settings that must fit each other, in a cluster and in the fleet; env/rules.json has what patterns and amounts can say.
import rules from "../../env/rules.json" with { type: "json" };
import { isCase, type Vars } from "../core/cluster.ts";
import type { Candidate } from "./merge.ts";
import { cronInUtc, endOfDay } from "../core/time.ts";
import { isEverywhere } from "../core/network.ts";
import { isOlder } from "../core/version.ts";
import { isSecret, measureOf, SETTINGS } from "./schema.ts";

interface Rule {
  names: string[];
  broken: (values: Record<string, string>) => boolean;
  because: string;
  warns?: boolean;
}

/** A rule of env/rules.json, broken where all of it is so. */
interface Row {
  when?: Record<string, string>; // patterns that settings as a whole match
  /** `A + B >= LIMIT` of durations, sizes or cores: settings, or such as `6h`. What is empty has none, and breaks none. */
  amounts?: string;
  because: string;
}

function named(pattern: RegExp): string[] {
  return Object.keys(SETTINGS).filter((name) => pattern.test(name));
}

const EXPANDED = "[^]*\\$\\(\\w+\\)[^]*";

/** What holds for every setting that is called so. */
const ROWS: Row[] = [
  ...named(/_REQUEST$/).map((name) => [name, name.replace(/REQUEST$/, "LIMIT")] as const)
    .filter(([, limit]) => limit in SETTINGS)
    .map(([name, limit]) => (
      { amounts: `${name} > ${limit}`, because: `${name} must not exceed ${limit}` }
    )),
  ...named(/_S3_ACCESS_KEY$/).map((id) => [id, id.replace("ACCESS", "SECRET")] as const)
    .flatMap(([id, secret]) => [{ [id]: "[^]+", [secret]: "" }, { [id]: "", [secret]: "[^]+" }])
    .map((when) => (
      { when, because: "a key has two parts: set both, or none to use S3_ACCESS_KEY" }
    )),
  ...named(/^S3_(ACCESS|SECRET)_KEY$/).map((name) => [name, `THANOS_${name}`] as const)
    .flatMap(([site, own]) => [{ [own]: EXPANDED }, { [site]: EXPANDED, [own]: "" }])
    .map((when) => (
      { when, because: "Thanos takes $(NAME) for a variable of its environment: make another key" }
    )),
  ...named(/S3_(ACCESS|SECRET)_KEY$/).map((name) => ({
    when: { [name]: "minioadmin" },
    because: "minioadmin is known to everybody: make a user of its own for these buckets",
  })),
];

const RULES: Rule[] = [
  {
    names: ["PAUSED_UNTIL", "TIMEZONE"],
    broken: ({ PAUSED_UNTIL: day, TIMEZONE }) =>
      day !== "" && endOfDay(day!, TIMEZONE!) * 1000 <= Date.now(),
    because: "the pause is over, and the cluster counts again: take out PAUSED and PAUSED_UNTIL",
    warns: true,
  },
  ...allDifferent(/_NODE_PORT$/, "NodePorts must differ"),
  ...allDifferent(/_BUCKET$/, "buckets must differ: each program deletes what it does not know"),
  {
    names: ["NODE_IP", "S3_ENDPOINT"],
    broken: ({ NODE_IP, S3_ENDPOINT }) => new URL(S3_ENDPOINT!).hostname === NODE_IP,
    because: "this is the address of the S3, which must not go down with a cluster",
  },
  {
    names: ["ADMIN_CIDR", "INGRESS", "TRAEFIK_IMAGE"],
    broken: ({ ADMIN_CIDR, INGRESS, TRAEFIK_IMAGE }) =>
      !isEverywhere(ADMIN_CIDR!.split(",")) && INGRESS === "traefik" &&
      isBefore(TRAEFIK_IMAGE!, [3, 7]) !== false,
    because: "Traefik before 3.7 does not know source ranges, and would let everybody in",
  },
  {
    names: ["LONGHORN_BACKUP_CRON", "TIMEZONE"],
    broken: ({ LONGHORN_BACKUP_CRON: cron, TIMEZONE }) =>
      cronInUtc(cron!, TIMEZONE!, new Date()) === undefined,
    because:
      "Longhorn runs it by UTC, where this would be other days: take hours of the same day, or " +
      "every day",
  },
  {
    names: ["INGRESS", "TRAEFIK_IMAGE"],
    broken: ({ INGRESS, TRAEFIK_IMAGE }) =>
      INGRESS === "traefik" && isBefore(TRAEFIK_IMAGE!, [3, 7, 11]) === true,
    because:
      "this Traefik has known holes, and a door whose login it cannot read may stand open: " +
      "env/README.md says from which on they are mended",
    warns: true,
  },
  ...[...ROWS, ...rules.refused as Row[]].map(ruleOf),
  ...(rules.warned as Row[]).map((row) => ({ ...ruleOf(row), warns: true })),
];

function ruleOf({ when, amounts, because }: Row): Rule {
  if (when) return { names: Object.keys(when), broken: (values) => isCase(values, when), because };
  const [, sum, sign, limit] = /^(.+) ([<>]=?) (\w+)$/.exec(amounts!)!;
  const terms = [...sum!.split(" + "), limit!];
  const names = [...new Set(terms)].filter((term) => term in SETTINGS);
  const measure = measureOf(SETTINGS[names.at(-1)!]!);
  const broken = (values: Record<string, string>) => {
    const measured = terms.map((term) => measure(values[term] ?? term));
    const most = measured.pop()!, all = measured.reduce((one, other) => one + other);
    const isSo = { ">": all > most, ">=": all >= most, "<": all < most, "<=": all <= most };
    return isSo[sign as keyof typeof isSo];
  };
  return { names, broken, because };
}

function allDifferent(pattern: RegExp, because: string): Rule[] {
  return named(pattern).flatMap((one, index, all) =>
    all.slice(index + 1).map((other) => (
      { names: [one, other], broken: (values) => values[one] === values[other], because }
    ))
  );
}

/** Rules between the settings of one cluster, which is warned by some; lines of `source  what is wrong`. */
export function clusterProblems({ id, file, vars, sources, warnings }: Candidate): string[] {
  const problems: string[] = [];
  const values = Object.fromEntries(Object.entries(vars).map(([name, one]) => [name, `${one}`]));
  for (const { names, broken, because, warns } of RULES) {
    if (names.some((name) => !(name in vars)) || !broken(values)) continue;
    const where = names.map((name) => sources[name]!).find((source) => source !== "default");
    const subject = names.map((name) => isSecret(name) ? name : `${name} is ${vars[name]}`);
    // A default is every cluster's: told once for all of them.
    const line = `${where ?? (warns ? "default" : file)}  ${subject.join(", ")}: ${because}`;
    (warns ? warnings : problems).push(line);
  }
  if (vars.CLUSTER_ID && vars.CLUSTER_ID !== id) {
    const line = `${sources.CLUSTER_ID}  CLUSTER_ID is ${vars.CLUSTER_ID}`;
    problems.push(`${line}: must be ${id}, as in the name of the file`);
  }
  return problems;
}

/** Most bytes that the readers of S3_CA_FILE take, where that is less than a Secret holds. */
export function caLimit({ STORAGE }: Vars): { most?: number; reader?: string } {
  // Longhorn hands it to its programs as a variable, which Linux limits to 128 KiB.
  return STORAGE === "longhorn" ? { most: 128_000, reader: "Longhorn takes" } : {};
}

/** Whether a tag says an older version; undefined where it says none. `3.7` is the newest of them, not before 3.7.11. */
function isBefore(image: string, version: number[]): boolean | undefined {
  // A registry's port and a digest are no tags.
  const [, own] = /^[^@]*:v?(\d+(?:\.\d+)*)[^/]*$/.exec(image) ?? [];
  return own === undefined ? undefined : isOlder(own, version.join("."), Infinity);
}

/** Rules between the clusters of a fleet; lines of `source  what is wrong`. */
export function fleetProblems(drafts: Candidate[]): string[] {
  const found = [repeated, sharedServers, sharedSidecars, unequalProblems, centralProblem];
  return found.flatMap((problemsOf) => problemsOf(drafts));
}

function repeated(drafts: Candidate[]): string[] {
  return Object.entries(rules.unique).flatMap(([name, because]) => {
    const known = drafts.filter(({ vars }) => name in vars);
    return known.flatMap(({ vars, sources }) => {
      const first = known.find((other) => other.vars[name] === vars[name])!;
      if (first.vars === vars) return [];
      const where = `${sources[name]}  ${name} is "${vars[name]}", as in ${first.sources[name]}`;
      return [`${where}: must be unique, or ${because}`];
    });
  });
}

/** Clusters behind one API_HOST, of which the guard could not tell one from the other. */
function sharedServers(drafts: Candidate[]): string[] {
  const known = drafts.filter(({ vars }) =>
    // The demo makes its own kubeconfig, with ports that are free.
    "API_HOST" in vars && "NODE_IP" in vars && !vars.SIMULATED_NODES
  );
  const serverOf = ({ API_HOST, NODE_IP }: Vars) =>
    String(API_HOST || NODE_IP).toLowerCase().split(":");
  const isSame = (one: Vars, other: Vars) => {
    const [host, port] = serverOf(one), [name, number] = serverOf(other);
    return name === host && (!port || !number || port === number);
  };
  const because = "and FILE leads there too: give each its own HOST:PORT in its own file, or one " +
    "is deployed over the other";
  return shared(known, "API_HOST", isSame, because);
}

/** HOST:PORT at which the centre dials the sidecar of a cluster. */
export function sidecarOf({ SIDECAR_ADDRESS, NODE_IP, SIDECAR_NODE_PORT }: Vars): string {
  const address = String(SIDECAR_ADDRESS || NODE_IP).toLowerCase();
  return address.includes(":") ? address : `${address}:${SIDECAR_NODE_PORT}`;
}

function sharedSidecars(drafts: Candidate[]): string[] {
  const known = drafts.filter(({ vars }) =>
    vars.CLUSTER_ROLE === "edge" && "SIDECAR_ADDRESS" in vars && "SIDECAR_NODE_PORT" in vars
  );
  const isSame = (one: Vars, other: Vars) => sidecarOf(one) === sidecarOf(other);
  const because = "where FILE is dialled too: the centre would leave one of them out";
  return shared(known, "SIDECAR_ADDRESS", isSame, because);
}

/** Clusters whose own `name` leads to another one, of FILE. */
function shared(
  drafts: Candidate[],
  name: string,
  isSame: (one: Vars, other: Vars) => boolean,
  because: string,
): string[] {
  return drafts.filter(({ vars }) => vars[name] !== "").flatMap(({ vars, sources }) => {
    const twin = drafts.find((other) => other.vars !== vars && isSame(vars, other.vars));
    const where = `${sources[name]}  ${name} is "${vars[name]}"`;
    return twin ? [`${where}, ${because.replace("FILE", twin.file)}`] : [];
  });
}

function unequalProblems(drafts: Candidate[]): string[] {
  return Object.entries(rules.equal).flatMap(([name, because]) => {
    const [first, ...others] = drafts.filter(({ vars }) => name in vars);
    const other = others.find(({ vars }) => vars[name] !== first?.vars[name]);
    if (!first || !other) return [];
    const [odd, rest] = other.sources[name] === "default" ? [first, other] : [other, first];
    const state = `${name} is ${odd.vars[name]}, elsewhere ${rest.vars[name]}`;
    return [`${odd.sources[name]}  ${state}: ${because}`];
  });
}

function centralProblem(drafts: Candidate[]): string[] {
  const centrals = drafts.filter(({ vars }) => vars.CLUSTER_ROLE === "central");
  // A role that cannot be read may be the missing one.
  const unsure = drafts.some(({ vars }) => !vars.CLUSTER_ROLE);
  if (centrals.length === 1 || drafts.length === 0 || (centrals.length === 0 && unsure)) return [];
  const found = centrals.map(({ sources }) => sources.CLUSTER_ROLE);
  const state = found.length === 0
    ? "it is in none"
    : `it is in ${found.join(" and ")}, and two Compactors corrupt the bucket`;
  const where = found.at(-1) ?? drafts.at(-1)!.file;
  return [`${where}  CLUSTER_ROLE must be central in exactly one file: ${state}`];
}

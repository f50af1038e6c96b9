// What a schema cannot say: settings of one cluster that must fit each other. What patterns and
// amounts can say of them stands in env/rules.json.
import rules from "../../env/rules.json" with { type: "json" };
import { isCase, type Vars } from "../core/cluster.ts";
import type { Candidate } from "./merge.ts";
import { cronInUtc } from "../core/cron.ts";
import { isEverywhere } from "../core/network.ts";
import { isOlder } from "../core/version.ts";
import { PAUSE_RULES } from "./pause.ts";
import { isSecret, measureOf, SETTINGS } from "./schema.ts";

interface Rule {
  names: string[];
  broken: (...values: string[]) => boolean;
  because: string;
  warns?: boolean;
}

const RULES: Rule[] = [
  ...PAUSE_RULES,
  ...allDifferent("_NODE_PORT", "NodePorts must differ"),
  ...allDifferent(
    "_BUCKET",
    "buckets must differ, because each program deletes what it does not know",
  ),
  ...Object.keys(SETTINGS).flatMap((name) => {
    const limit = name.replace(/_REQUEST$/, "_LIMIT");
    if (limit === name || !(limit in SETTINGS)) return [];
    return [compared(`${name} > ${limit}`, `${name} must not exceed ${limit}`)];
  }),
  {
    names: ["NODE_IP", "S3_ENDPOINT"],
    broken: (address, endpoint) => new URL(endpoint).hostname === address,
    because: "this is the address of the S3, which must not go down with a cluster",
  },
  {
    names: ["ADMIN_CIDR", "INGRESS", "TRAEFIK_IMAGE"],
    broken: (networks, ingress, image) =>
      !isEverywhere(networks.split(",")) && ingress === "traefik" &&
      isBefore(image, [3, 7]) !== false,
    because: "Traefik before 3.7 does not know source ranges, and would let everybody in",
  },
  {
    names: ["ADMIN_CIDR", "INGRESS", "NODE_NETWORKS"],
    broken: (networks, ingress, nodes) =>
      !isEverywhere(networks.split(",")) && ingress !== "existing" && nodes !== "",
    because:
      "doors that answer on every node see no address of a caller: close them by a firewall, " +
      "or with THANOS_UI_AUTH",
  },
  {
    names: ["LONGHORN_BACKUP_CRON", "TIMEZONE"],
    broken: (cron, zone) => cronInUtc(cron, zone, new Date()) === undefined,
    because:
      "Longhorn runs it by UTC, where this would be other days: take hours of the same day, or " +
      "every day",
  },
  {
    names: ["INGRESS", "TRAEFIK_IMAGE"],
    broken: (ingress, image) => ingress === "traefik" && isBefore(image, [3, 7, 11]) === true,
    because:
      "this Traefik has known holes, and a door whose login it cannot read may stand open: " +
      "env/README.md says from which on they are mended",
    warns: true,
  },
  ...Object.keys(SETTINGS).filter((name) => /_S3_ACCESS_KEY$/.test(name)).map((name) => ({
    names: [name, name.replace("ACCESS", "SECRET")],
    broken: (id: string, secret: string) => (id === "") !== (secret === ""),
    because: "a key has two parts: set both, or none to use S3_ACCESS_KEY",
  })),
  ...["ACCESS_KEY", "SECRET_KEY"].flatMap((part) => [
    expanded([`THANOS_S3_${part}`], (own) => own),
    expanded([`S3_${part}`, `THANOS_S3_${part}`], (site, own) => own === "" ? site : ""),
  ]),
  ...Object.keys(SETTINGS).filter((name) => /S3_(ACCESS|SECRET)_KEY$/.test(name)).map((name) => ({
    names: [name],
    broken: (value: string) => value === "minioadmin",
    because: "minioadmin is known to everybody: make a user of its own for these buckets",
  })),
  ...tabled("refused"),
  ...tabled("warned"),
];

/** A row of env/rules.json: its rule is broken where all of it is so. */
interface Row {
  /** Patterns that settings as a whole match. */
  when?: Record<string, string>;
  /** See {@link compared}. */
  amounts?: string;
  because: string;
}

function tabled(list: "refused" | "warned"): Rule[] {
  return (rules[list] as Row[]).map(({ when = {}, amounts, because }) => {
    const warns = list === "warned";
    if (amounts) return compared(amounts, because, warns);
    const names = Object.keys(when);
    const broken = (...values: string[]) =>
      isCase(Object.fromEntries(names.map((name, at) => [name, values[at]!])), when);
    return { names, broken, because, warns };
  });
}

/**
 * A rule that is broken where `A + B >= LIMIT` is true of durations, sizes or cores: settings, or such as `6h`. What
 * is empty has no amount, and breaks none.
 */
function compared(amounts: string, because: string, warns = false): Rule {
  const [, sum, sign, limit] = /^(.+) ([<>]=?) (\w+)$/.exec(amounts)!;
  const terms = [...sum!.split(" + "), limit!];
  const names = [...new Set(terms)].filter((term) => term in SETTINGS);
  const measure = measureOf(SETTINGS[names.at(-1)!]!);
  const broken = (...values: string[]) => {
    const measured = terms.map((term) => measure(values[names.indexOf(term)] ?? term));
    const most = measured.pop()!, all = measured.reduce((one, other) => one + other);
    const isSo = { ">": all > most, ">=": all >= most, "<": all < most, "<=": all <= most };
    return isSo[sign as keyof typeof isSo];
  };
  return { names, broken, because, warns };
}

/** One rule for each pair of settings that end so. */
function allDifferent(end: string, because: string): Rule[] {
  const all = Object.keys(SETTINGS).filter((name) => name.endsWith(end));
  return all.flatMap((one, index) =>
    all.slice(index + 1).map((other) => (
      { names: [one, other], broken: (a: string, b: string) => a === b, because }
    ))
  );
}

/** A text of these that Thanos would look for variables in. */
function expanded(names: string[], read: (...values: string[]) => string): Rule {
  return {
    names,
    broken: (...values) => /\$\([A-Za-z0-9_]+\)/.test(read(...values)),
    because: "Thanos takes $(NAME) for a variable of its environment: make another key",
  };
}

/** Rules between the settings of one cluster; lines of `source  what is wrong`. */
export function clusterProblems(draft: Candidate): { problems: string[]; warnings: string[] } {
  const found: { problems: string[]; warnings: string[] } = { problems: [], warnings: [] };
  for (const { names, broken, because, warns } of RULES) {
    if (names.some((name) => draft.bad.has(name))) continue;
    if (!broken(...names.map((name) => String(draft.vars[name])))) continue;
    const where = names.map((name) => draft.sources[name]!).find((source) => source !== "default");
    const subject = names.map((name) => isSecret(name) ? name : `${name} is ${draft.vars[name]}`);
    // A default is every cluster's: told once for all of them.
    const line = `${where ?? (warns ? "default" : draft.file)}  ${subject.join(", ")}: ${because}`;
    (warns ? found.warnings : found.problems).push(line);
  }
  if (!draft.bad.has("CLUSTER_ID") && draft.vars.CLUSTER_ID !== draft.id) {
    found.problems.push(
      `${draft.sources.CLUSTER_ID}  CLUSTER_ID is ${draft.vars.CLUSTER_ID}: ` +
        `must be ${draft.id}, as in the name of the file`,
    );
  }
  return found;
}

/** Most bytes that the readers of S3_CA_FILE take, and the one that takes no more. */
export function caLimit(vars: Vars): [bytes: number, reader: string] {
  // Longhorn hands it to its programs as a variable, which Linux limits to 128 KiB.
  return vars.STORAGE === "longhorn" ? [128_000, "Longhorn takes"] : SECRET_LIMIT;
}

/** What a Secret holds: 1 MiB with all names. */
export const SECRET_LIMIT: [bytes: number, reader: string] = [1_000_000, "a Secret holds"];

/**
 * Whether an image is of an older version than that one; undefined where its tag (a registry's port and a digest are
 * none) does not say. What a tag leaves out is the newest: `3.7` is not before 3.7.11.
 */
function isBefore(image: string, version: number[]): boolean | undefined {
  const name = image.replace(/@.*/, "").split("/").at(-1)!;
  const own = /:v?(\d+(\.\d+)*)/.exec(name)?.[1];
  return own === undefined ? undefined : isOlder(own, version.join("."), Infinity);
}

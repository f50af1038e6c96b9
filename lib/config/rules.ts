// Settings of one cluster that must fit each other; what patterns and amounts can say of it is in env/rules.json.
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

function isClosed(networks?: string): boolean {
  return !isEverywhere(networks!.split(","));
}

/** Where Thanos would look for a variable. */
const EXPANDED = "[^]*\\$\\(\\w+\\)[^]*";

const RULES: Rule[] = [
  {
    names: ["PAUSED", "PAUSED_UNTIL"],
    broken: ({ PAUSED, PAUSED_UNTIL }) => (PAUSED === "") !== (PAUSED_UNTIL === ""),
    because: "set both, why and until which day, or none",
  },
  {
    names: ["PAUSED_UNTIL", "TIMEZONE"],
    broken: ({ PAUSED_UNTIL: day, TIMEZONE }) =>
      day !== "" && endOfDay(day!, TIMEZONE!) * 1000 <= Date.now(),
    because: "the pause is over, and the cluster counts again: take out PAUSED and PAUSED_UNTIL",
    warns: true,
  },
  ...allDifferent(/_NODE_PORT$/, "NodePorts must differ"),
  ...allDifferent(
    /_BUCKET$/,
    "buckets must differ, because each program deletes what it does not know",
  ),
  ...named(/_REQUEST$/).map((name) => [name, name.replace(/REQUEST$/, "LIMIT")])
    .filter(([, limit]) => limit! in SETTINGS)
    .map(([name, limit]) =>
      ruleOf({ amounts: `${name} > ${limit}`, because: `${name} must not exceed ${limit}` })
    ),
  {
    names: ["NODE_IP", "S3_ENDPOINT"],
    broken: ({ NODE_IP, S3_ENDPOINT }) => new URL(S3_ENDPOINT!).hostname === NODE_IP,
    because: "this is the address of the S3, which must not go down with a cluster",
  },
  {
    names: ["ADMIN_CIDR", "INGRESS", "TRAEFIK_IMAGE"],
    broken: ({ ADMIN_CIDR, INGRESS, TRAEFIK_IMAGE }) =>
      isClosed(ADMIN_CIDR) && INGRESS === "traefik" && isBefore(TRAEFIK_IMAGE!, [3, 7]) !== false,
    because: "Traefik before 3.7 does not know source ranges, and would let everybody in",
  },
  {
    names: ["ADMIN_CIDR", "INGRESS", "NODE_NETWORKS"],
    broken: ({ ADMIN_CIDR, INGRESS, NODE_NETWORKS }) =>
      isClosed(ADMIN_CIDR) && INGRESS !== "existing" && NODE_NETWORKS !== "",
    because:
      "doors that answer on every node see no address of a caller: close them by a firewall, " +
      "or with THANOS_UI_AUTH",
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
  ...named(/_S3_ACCESS_KEY$/).map((id): Rule => {
    const secret = id.replace("ACCESS", "SECRET");
    return {
      names: [id, secret],
      broken: (values) => (values[id] === "") !== (values[secret] === ""),
      because: "a key has two parts: set both, or none to use S3_ACCESS_KEY",
    };
  }),
  ...named(/^S3_(ACCESS|SECRET)_KEY$/).map((name) => [name, `THANOS_${name}`])
    .flatMap(([site, own]) => [{ [own!]: EXPANDED }, { [site!]: EXPANDED, [own!]: "" }])
    .map((when) =>
      ruleOf({
        when,
        because: "Thanos takes $(NAME) for a variable of its environment: make another key",
      })
    ),
  ...named(/S3_(ACCESS|SECRET)_KEY$/).map((name) =>
    ruleOf({
      when: { [name]: "minioadmin" },
      because: "minioadmin is known to everybody: make a user of its own for these buckets",
    })
  ),
  ...(rules.refused as Row[]).map(ruleOf),
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
  const name = image.replace(/@.*/, "").split("/").at(-1)!;
  const own = /:v?(\d+(\.\d+)*)/.exec(name)?.[1];
  return own === undefined ? undefined : isOlder(own, version.join("."), Infinity);
}

// What a schema cannot say: settings of one cluster that must fit each other, and clusters of one
// fleet that must not collide.
import type { Candidate } from "./merge.ts";
import { bytesOf, cores, durationSeconds } from "../core/quantity.ts";
import { isSecret, SETTINGS } from "./schema.ts";

interface Rule {
  names: string[];
  broken: (...values: string[]) => boolean;
  because: string;
  warns?: boolean;
}

const MIN_SECRET = 6;

const RULES: Rule[] = [
  ...allDifferent("_NODE_PORT", "NodePorts must differ"),
  ...allDifferent(
    "_BUCKET",
    "buckets must differ, because each program deletes what it does not know",
  ),
  {
    names: ["PROMETHEUS_RETENTION"],
    broken: (retention) => durationSeconds(retention) < durationSeconds("2h"),
    because: "must be at least 2h, the size of a block: a shorter one deletes blocks unseen",
  },
  {
    names: ["PROMETHEUS_RETENTION"],
    broken: (retention) =>
      durationSeconds(retention) >= durationSeconds("2h") &&
      durationSeconds(retention) < durationSeconds("6h"),
    because: "blocks are lost for good when S3 is away for longer; 6h or more is safe",
    warns: true,
  },
  atMost("SCRAPE_TIMEOUT", "SCRAPE_INTERVAL", durationSeconds),
  {
    names: ["RETENTION_RAW"],
    broken: (raw) => durationSeconds(raw) < durationSeconds("40h"),
    because: "must be at least 40h, or samples go before they are downsampled to 5 minutes",
  },
  {
    names: ["RETENTION_5M"],
    broken: (medium) => durationSeconds(medium) < durationSeconds("10d"),
    because: "must be at least 10d, or samples go before they are downsampled to 1 hour",
  },
  atMost("RETENTION_RAW", "RETENTION_5M", durationSeconds),
  atMost("RETENTION_5M", "RETENTION_1H", durationSeconds),
  ...Object.keys(SETTINGS).flatMap((name) => {
    const limit = name.replace(/_REQUEST$/, "_LIMIT");
    if (limit === name || !(limit in SETTINGS)) return [];
    return [atMost(name, limit, name.endsWith("_CPU_REQUEST") ? cores : bytesOf)];
  }),
  {
    names: ["STORE_INDEX_CACHE"],
    broken: (size) => bytesOf(size) < bytesOf("125MB"),
    because: "must be at least 125MB, the largest item it may hold, or Store does not start",
  },
  atMost("OPENSEARCH_HEAP", "OPENSEARCH_MEMORY_LIMIT", bytesOf),
  {
    names: ["OPENSEARCH_NODES"],
    broken: (nodes) => nodes === "2",
    because: "two nodes lose their quorum when one fails: take 1, or 3 and more",
  },
  {
    names: ["STORAGE", "STORAGE_CLASS"],
    broken: (storage, storageClass) => storage === "longhorn" && storageClass !== "longhorn",
    because: "Longhorn makes the class longhorn only; another class needs STORAGE=existing",
  },
  {
    names: ["ADMIN_CIDR", "INGRESS", "TRAEFIK_IMAGE"],
    broken: (networks, ingress, image) =>
      networks !== "0.0.0.0/0" && ingress === "traefik" &&
      !/:v?(3\.([7-9]|[1-9][0-9])|[4-9])/.test(image),
    because: "Traefik before 3.7 does not know source ranges, and would let everybody in",
  },
  {
    names: ["STAND_INS"],
    broken: (programs) => programs !== "",
    because: "programs replaced by stand-ins, so nothing that needs them is set up or shown",
    warns: true,
  },
  {
    names: ["LOG_SNAPSHOT_RETENTION", "LOG_RETENTION"],
    broken: (snapshot, local) => durationSeconds(snapshot) <= durationSeconds(local),
    because: "a snapshot must outlive the index it is taken from",
  },
  ...Object.keys(SETTINGS).filter((name) => /_S3_ACCESS_KEY$/.test(name)).map((name) => ({
    names: [name, name.replace("ACCESS", "SECRET")],
    broken: (id: string, secret: string) => (id === "") !== (secret === ""),
    because: "a key has two parts: set both, or none to use S3_ACCESS_KEY",
  })),
  ...Object.keys(SETTINGS).filter((name) => /S3_(ACCESS|SECRET)_KEY$/.test(name)).map((name) => ({
    names: [name],
    broken: (value: string) => value === "minioadmin",
    because: "minioadmin is known to everybody: make a user of its own for these buckets",
  })),
  {
    names: ["GRAFANA_ADMIN_PASSWORD"],
    broken: (password) => password === SETTINGS.GRAFANA_ADMIN_PASSWORD?.default,
    because: "the default is public knowledge: set your own in SECRET_FILE",
    warns: true,
  },
  {
    names: ["ALERT_WEBHOOK_URL"],
    broken: (url) => url === "",
    because: "alerts are sent nowhere until it is set in SECRET_FILE",
    warns: true,
  },
  ...Object.keys(SETTINGS).filter(isSecret).filter((name) => !/S3_ACCESS_KEY$/.test(name))
    .map((name) => ({
      names: [name],
      // Shorter texts cannot be masked in output without damaging it.
      broken: (value: string) => value !== "" && value.length < MIN_SECRET,
      because: `expected at least ${MIN_SECRET} characters`,
    })),
];

/** One rule for each pair of settings that end so. */
function allDifferent(end: string, because: string): Rule[] {
  const all = Object.keys(SETTINGS).filter((name) => name.endsWith(end));
  return all.flatMap((one, index) =>
    all.slice(index + 1).map((other) => (
      { names: [one, other], broken: (a: string, b: string) => a === b, because }
    ))
  );
}

function atMost(small: string, large: string, measure: (text: string) => number): Rule {
  return {
    names: [small, large],
    broken: (a, b) => measure(a) > measure(b),
    because: `${small} must not exceed ${large}`,
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
    const line = `${where ?? draft.file}  ${subject.join(", ")}: ${because}`;
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

const UNIQUE: Record<string, string> = {
  CLUSTER_ID: "log snapshots and backups overwrite each other under one S3 path",
  CLUSTER_NAME: "equal external labels make the Compactor merge and corrupt their blocks",
  KUBE_CONTEXT: "one is deployed over the other",
  DOMAIN: "two clusters answer to the same host names",
  NODE_IP: "metrics of one are taken for the other's and corrupt its history",
};

/** Rules between the clusters of a fleet; lines of `source  what is wrong`. */
export function fleetProblems(drafts: Candidate[]): string[] {
  const problems: string[] = [];
  for (const [name, because] of Object.entries(UNIQUE)) {
    const owners = new Map<string, Candidate>();
    for (const draft of drafts.filter(({ bad }) => !bad.has(name))) {
      const value = String(draft.vars[name]);
      const first = owners.get(value);
      if (!first) {
        owners.set(value, draft);
        continue;
      }
      const where = `${draft.sources[name]}  ${name} is "${value}", as in ${first.sources[name]}`;
      problems.push(`${where}: must be unique, or ${because}`);
    }
  }
  return [...problems, ...unequalProblems(drafts), ...centralProblem(drafts)];
}

/** Settings that have one value in the whole fleet. */
const EQUAL: Record<string, string> = {
  SIDECAR_NODE_PORT: "the centre dials every edge at one port",
  THANOS_GRPC_MTLS: "the centre dials every edge in one way",
};

function unequalProblems(drafts: Candidate[]): string[] {
  return Object.entries(EQUAL).flatMap(([name, because]) => {
    const [first, ...others] = drafts.filter(({ bad }) => !bad.has(name));
    const other = others.find(({ vars }) => vars[name] !== first?.vars[name]);
    if (!first || !other) return [];
    // The one to look at is the one that somebody wrote.
    const [odd, rest] = other.sources[name] === "default" ? [first, other] : [other, first];
    return [
      `${odd.sources[name]}  ${name} is ${odd.vars[name]}, elsewhere ${
        rest.vars[name]
      }: ${because}`,
    ];
  });
}

function centralProblem(drafts: Candidate[]): string[] {
  const centrals = drafts.filter(({ vars }) => vars.CLUSTER_ROLE === "central");
  // A role that cannot be read may be the missing one.
  const unsure = drafts.some(({ bad }) => bad.has("CLUSTER_ROLE"));
  if (centrals.length === 1 || drafts.length === 0 || (centrals.length === 0 && unsure)) return [];
  const found = centrals.map(({ sources }) => sources.CLUSTER_ROLE);
  const state = found.length === 0
    ? "it is in none"
    : `it is in ${found.join(" and ")}, and two Compactors corrupt the bucket`;
  const where = found.at(-1) ?? drafts.at(-1)!.file;
  return [`${where}  CLUSTER_ROLE must be central in exactly one file: ${state}`];
}

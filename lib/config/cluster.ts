// The env files as typed clusters; everything is checked together before anything is contacted.
import lock from "../../manifests/upstream.lock.json" with { type: "json" };
import versions from "../../manifests/versions.json" with { type: "json" };
import { basePathOf, type Cluster, fillIn, text, type Vars } from "../core/cluster.ts";
import { configError } from "../core/error.ts";
import { keyedHash, sealedHash } from "../core/hash.ts";
import { endOfDay } from "../core/time.ts";
import { durationSeconds } from "../core/quantity.ts";
import { counted } from "../core/short_list.ts";
import { DOORS, MUTUAL, readPair, readS3Ca } from "./certificates.ts";
import { readPins } from "./files.ts";
import { type Candidate, type FleetOptions, loadCandidates } from "./merge.ts";
import { clusterProblems, fleetProblems, sidecarOf } from "./rules.ts";
import { isSecret, SETTINGS } from "./schema.ts";

/** Every cluster of `env/`; exit 2 with all problems of all files, exit 4 when git tracks the secrets. */
export async function loadFleet(options: FleetOptions = {}): Promise<Cluster[]> {
  const { root, drafts, problems } = await loadCandidates(options);
  for (const draft of drafts) {
    problems.push(...clusterProblems(draft));
    draft.s3Ca = await readS3Ca(root, draft, problems);
    draft.grpcIdentity = await readPair(MUTUAL, root, draft, problems);
    draft.doorCertificate = await readPair(DOORS, root, draft, problems);
  }
  problems.push(...fleetProblems(drafts));
  const pinned = drafts.find(({ vars }) => "IMAGE_PINS_FILE" in vars)?.vars.IMAGE_PINS_FILE;
  const digests = pinned ? await readPins(root, String(pinned), problems) : undefined;
  if (problems.length > 0) {
    // What is wrong in a shared file is found once for each cluster.
    const where = [...new Set(problems)];
    const unfilled = drafts.find(({ vars, missing }) => missing.length > 0 && vars.SECRET_FILE);
    throw configError(`Cannot load the clusters of env: ${counted(where.length, "problem")}`, {
      where,
      fix: unfilled
        ? fillIn(String(unfilled.vars.SECRET_FILE))
        : "correct the lines above; env/README.md lists every setting",
    });
  }

  const centre = drafts.find(({ vars }) => vars.CLUSTER_ROLE === "central")?.vars;
  const centralDoor = centre ? `${centre.DOMAIN}:${centre.HTTP_NODE_PORT}` : "";
  const fleet: Cluster[] = [];
  fleet.push(...drafts.map((draft): Cluster => {
    const { vars } = draft;
    const networks = [`${vars.NODE_IP}/32`, ...String(vars.NODE_NETWORKS).split(",")];
    complete(draft, centralDoor);
    return {
      ...draft,
      name: String(vars.CLUSTER_NAME),
      role: vars.CLUSTER_ROLE as Cluster["role"],
      sidecar: sidecarOf(vars),
      nodes: [...new Set(networks)].filter(Boolean),
      pause: pauseIn(vars),
      fleet,
      digests,
    };
  }));
  return fleet;
}

function pauseIn({ PAUSED, PAUSED_UNTIL, TIMEZONE }: Vars): Cluster["pause"] {
  if (PAUSED === "") return undefined;
  const until = String(PAUSED_UNTIL);
  return { reason: String(PAUSED), until, end: endOfDay(until, String(TIMEZONE)) };
}

type Fact = [name: string, value: string | number | boolean, source: string];

function complete({ id, vars, sources, missing, s3Ca = "" }: Candidate, centralDoor: string): void {
  const computed: Vars = vars.S3_KEY_PER_CLUSTER && missing.length === 0 ? ownKeys(id, vars) : {};
  Object.assign(computed, {
    S3_HOST: new URL(String(vars.S3_ENDPOINT)).host,
    S3_BASE_PATH: basePathOf(id),
    RATE_WINDOW: rateWindow(String(vars.SCRAPE_INTERVAL)),
    CENTRAL_DOOR: centralDoor,
    // Local keeps the address of who calls, and is silent on every node but that of the pod.
    NODE_PORT_POLICY: vars.NODE_NETWORKS === "" ? "Local" : "Cluster",
    // One shard has all blocks whatever it goes by, and keeps the words that deployed ones run with.
    STORE_SHARD_LABELS: vars.STORE_REPLICAS === 1 ? "__block_id" : "cluster",
  });
  // Only pods of the centre carry it.
  if (missing.length === 0 && vars.CLUSTER_ROLE === "central") {
    computed.S3_CHECKSUM = s3Checksum({ ...vars, ...computed }, s3Ca);
  }
  if (vars.API_HOST === "") computed.API_HOST = vars.NODE_IP!;
  if (sources.RUNBOOK_URL === "default") {
    const url = String(vars.RUNBOOK_URL);
    computed.RUNBOOK_URL = url.replace(/\$\{(\w+)\}/g, (_, name: string) => String(vars[name]));
  }
  const facts = Object.entries(computed).map(([name, value]): Fact => [name, value, "computed"]);
  for (const [name, value, source] of [...facts, ...versionsOf(vars, sources)]) {
    vars[name] = value;
    sources[name] = source;
  }
}

/** Each program of a cluster gets a key made of the one it would have; who has it can make no other of it. */
function ownKeys(id: string, vars: Vars): Vars {
  const names = Object.keys(SETTINGS).filter((name) => /._S3_ACCESS_KEY$/.test(name));
  return Object.fromEntries(names.flatMap((name) => {
    const secretName = name.replace("ACCESS", "SECRET");
    const keyId = `${vars[name] || vars.S3_ACCESS_KEY}-${id}`;
    const secret = keyedHash(String(vars[secretName] || vars.S3_SECRET_KEY), keyId);
    return [[name, keyId], [secretName, secret]];
  }));
}

/** `X_VERSION` of every program (the tag of its image), and `X_SEMVER`: the same without the v, for a number. */
export function versionsOf(settings: Vars, sources: Record<string, string>): Fact[] {
  const file = "manifests/versions.json";
  const images = Object.keys(settings).filter((name) => name.endsWith("_IMAGE"));
  return [
    ...Object.entries(versions).flatMap(([name, version]): Fact[] => [
      [name, version, file],
      [name.replace(/VERSION$/, "SEMVER"), version.replace(/^v/, ""), file],
    ]),
    ...lock.bundles.map(({ name, version }): Fact => {
      const program = name.toUpperCase().replaceAll("-", "_");
      return [`${program}_VERSION`, version, "manifests/upstream.lock.json"];
    }),
    ...images.map((name): Fact => {
      const tag = /:([\w.-]+)(@|$)/.exec(String(settings[name]))![1]!;
      return [name.replace(/IMAGE$/, "VERSION"), tag, sources[name]!];
    }),
  ];
}

/** Five minutes, or four scrapes: a rate needs two samples, and some get lost. */
function rateWindow(interval: string): string {
  const seconds = Math.max(300, Math.ceil(4 * durationSeconds(interval)));
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

/** Changes with anything that pods of Thanos read of the S3 at start only, so that they restart for it. */
function s3Checksum(vars: Vars, s3Ca: string): string {
  // Thanos alone carries it; the key of the others may change without it.
  const id = vars.THANOS_S3_ACCESS_KEY || vars.S3_ACCESS_KEY;
  const secret = vars.THANOS_S3_SECRET_KEY || vars.S3_SECRET_KEY;
  const content = JSON.stringify([vars.S3_ENDPOINT, id, secret, s3Ca]);
  return sealedHash(content, "S3_CHECKSUM").slice(0, 16);
}

/** The clusters that these words choose (ids, groups, `edges`, `all`), in the order asked, each once; else exit 2. */
export function chooseClusters(fleet: Cluster[], words: string[]): Cluster[] {
  const groups = [...new Set(fleet.flatMap(groupsOf))].sort();
  refuseUnknown(fleet.map(({ id }) => id), groups, words);
  const isMeant = (cluster: Cluster, word: string) =>
    word === "all" || word === cluster.id || word === "edges" && cluster.role === "edge" ||
    groupsOf(cluster).includes(word);
  return [...new Set(words.flatMap((word) => fleet.filter((one) => isMeant(one, word))))];
}

function groupsOf(cluster: Cluster): string[] {
  return text(cluster, "GROUPS").split(" ").filter(Boolean);
}

/** Throws exit 2, naming what is known, when one of `words` chooses no cluster or none is given. */
export function refuseUnknown(ids: string[], groups: string[], words: string[]): void {
  const unknown = words.filter((word) => ![...ids, ...groups, "edges", "all"].includes(word));
  if (unknown.length === 0 && words.length > 0) return;
  const what = words.length > 0
    ? `Cannot find ${unknown.join(", ")}: no cluster and no group is called so`
    : "Cannot choose a cluster: none is named";
  const known = groups.length > 0 ? [`known groups: ${groups.join(", ")}`] : [];
  throw configError(what, {
    where: [`known clusters: ${ids.join(", ")}`, ...known],
    fix: "name a known one, edges or all; or add env/cluster-<id>.env, or GROUPS to one",
  });
}

// Shorter ones would damage other text; the schema allows none.
const MASKABLE = 6;

/** Values to mask in output, longest first; the hash in UI_BASIC_AUTH and the lines of keys on their own too. */
export function secretsOf(cluster: Cluster): string[] {
  // The id of a key is none: it tells people which key a line is about.
  const names = Object.keys(SETTINGS).filter((name) =>
    isSecret(name) && SETTINGS[name]!.kind !== "access-key"
  );
  const values = names.map((name) => String(cluster.vars[name] ?? ""));
  const hashes = values.flatMap((value) => /^[^:\s]+:(\S+)$/.exec(value)?.[1] ?? []);
  const keys = [cluster.grpcIdentity?.key ?? "", cluster.doorCertificate?.key ?? ""];
  const lines = keys.flatMap((key) => key.split("\n")).filter((line) => !line.startsWith("-----"));
  return [...new Set([...values, ...hashes, ...keys, ...lines])]
    .filter(({ length }) => length >= MASKABLE)
    .sort((a, b) => b.length - a.length);
}

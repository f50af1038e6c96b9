// The env files as typed clusters; everything is checked together before anything is contacted.
import { DOORS, MUTUAL, readAuthorities, readPairs } from "./certificates.ts";
import {
  basePathOf,
  type Cluster,
  fillIn,
  projectPath,
  type Role,
  text,
  type Vars,
} from "../core/cluster.ts";
import { keyedHash, sealedHash } from "../core/hash.ts";
import { durationSeconds } from "../core/quantity.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { type Candidate, loadCandidates, type PlannedFile } from "./merge.ts";
import { fleetProblems, sidecarOf } from "./fleet_rules.ts";
import { readPins } from "./pins.ts";
import { pauseIn } from "./pause.ts";
import { counted } from "../core/short_list.ts";
import { clusterProblems } from "./rules.ts";
import { isKeyId, isSecret, SETTINGS } from "./schema.ts";
import { type Fact, versionsOf } from "./versions.ts";

export interface FleetOptions {
  /** Folder that has `env/`, and that relative paths in settings start at. */
  root?: string;
  /** Instead of the process environment. */
  environment?: Record<string, string>;
  /** One more cluster, whose file is not written yet. */
  planned?: PlannedFile;
  /** true: secrets may be missing; using one that is missing ends with 2. */
  withoutSecrets?: boolean;
}

/**
 * Loads every cluster of `env/`: schema defaults < common.env < cluster-<id>.env < profile <
 * SECRET_FILE < environment.
 * @throws {DeployError} exit 2 with all problems of all files; exit 4 when git tracks the secrets.
 */
export async function loadFleet(options: FleetOptions = {}): Promise<Cluster[]> {
  const { root = projectPath("."), environment = Deno.env.toObject() } = options;
  const { drafts, problems } = await loadCandidates(root, environment, options.planned);
  for (const draft of drafts) {
    if (!options.withoutSecrets) problems.push(...draft.missing.values());
    const found = clusterProblems(draft);
    problems.push(...found.problems);
    draft.warnings.push(...found.warnings);
  }
  problems.push(...fleetProblems(drafts));
  const authorities = await readAuthorities(root, drafts, problems);
  const digests = await readPins(root, drafts, problems);
  const identities = await readPairs(MUTUAL, root, drafts, problems);
  const doors = await readPairs(DOORS, root, drafts, problems);
  if (problems.length > 0) throw refusal(problems, drafts);
  drafts.filter(({ vars }) => vars.S3_KEY_PER_CLUSTER === true).forEach(takeOwnKeys);

  const centre = drafts.find(({ vars }) => vars.CLUSTER_ROLE === "central")?.vars;
  const door = centre ? `${centre.DOMAIN}:${centre.HTTP_NODE_PORT}` : "";
  const fleet: Cluster[] = [];
  fleet.push(...drafts.map((draft) => ({
    id: draft.id,
    name: String(draft.vars.CLUSTER_NAME),
    role: draft.vars.CLUSTER_ROLE as Role,
    sidecar: sidecarOf(draft.vars),
    nodes: nodesOf(draft.vars),
    pause: pauseIn(draft.vars),
    ...withComputed(draft, door, authorities.get(String(draft.vars.S3_CA_FILE))),
    fleet,
    digests,
    s3Ca: authorities.get(String(draft.vars.S3_CA_FILE)),
    grpcIdentity: identities.get(draft.id),
    doorCertificate: doors.get(draft.id),
    warnings: draft.warnings,
    missing: [...draft.missing.keys()],
  })));
  return fleet;
}

function refusal(problems: string[], drafts: Candidate[]): DeployError {
  // What is wrong in a shared file is found once for each cluster.
  const where = [...new Set(problems)];
  const count = counted(where.length, "problem");
  const unfilled = drafts.find(({ missing }) => missing.size > 0);
  return new DeployError(`Cannot load the clusters of env: ${count}`, {
    exitCode: ExitCode.config,
    where,
    fix: unfilled
      ? fillIn(unfilled.secretFile)
      : "correct the lines above; env/README.md lists every setting",
  });
}

function nodesOf({ NODE_IP, NODE_NETWORKS }: Vars): string[] {
  return [...new Set([`${NODE_IP}/32`, ...String(NODE_NETWORKS).split(",")])].filter(Boolean);
}

/** Settings with the key id of a program. */
const KEY_IDS = Object.keys(SETTINGS).filter((name) => /._S3_ACCESS_KEY$/.test(name));

/** Each program of a cluster gets a key made of the one it would have; who has it can make no other of it. */
function takeOwnKeys({ id, vars, sources, missing }: Candidate): void {
  if (missing.size > 0) return;
  for (const name of KEY_IDS) {
    const secretName = name.replace("ACCESS", "SECRET");
    const keyId = `${vars[name] || vars.S3_ACCESS_KEY}-${id}`;
    vars[secretName] = keyedHash(String(vars[secretName] || vars.S3_SECRET_KEY), keyId);
    vars[name] = keyId;
    sources[name] = sources[secretName] = "computed";
  }
}

function withComputed(
  { id, vars, sources, missing }: Candidate,
  centralDoor: string,
  s3Ca = "",
): Pick<Cluster, "vars" | "sources"> {
  const computed: Vars = {
    S3_HOST: new URL(String(vars.S3_ENDPOINT)).host,
    S3_BASE_PATH: basePathOf(id),
    RATE_WINDOW: rateWindow(String(vars.SCRAPE_INTERVAL)),
    CENTRAL_DOOR: centralDoor,
    // Local keeps the address of who calls, and is silent on every node but that of the pod.
    NODE_PORT_POLICY: vars.NODE_NETWORKS === "" ? "Local" : "Cluster",
    // One shard has all blocks whatever it goes by, and keeps the words that deployed ones run with.
    STORE_SHARD_LABELS: vars.STORE_REPLICAS === 1 ? "__block_id" : "cluster",
  };
  // Only pods of the centre carry it.
  if (missing.size === 0 && vars.CLUSTER_ROLE === "central") {
    computed.S3_CHECKSUM = s3Checksum(vars, s3Ca);
  }
  if (vars.API_HOST === "") computed.API_HOST = vars.NODE_IP!;
  if (sources.RUNBOOK_URL === "default") {
    const url = String(vars.RUNBOOK_URL);
    computed.RUNBOOK_URL = url.replace(/\$\{(\w+)\}/g, (_, name: string) => String(vars[name]));
  }
  const facts: Fact[] = [
    ...Object.entries(computed).map(([name, value]): Fact => [name, value, "computed"]),
    ...versionsOf(vars, sources),
  ];
  return {
    vars: { ...vars, ...Object.fromEntries(facts) },
    sources: { ...sources, ...Object.fromEntries(facts.map(([name, , source]) => [name, source])) },
  };
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

/**
 * The clusters that these words choose (ids, groups, `edges`, `all`), in the order asked, each once.
 * @throws {DeployError} exit 2 naming the known ids and groups.
 */
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
  throw new DeployError(
    words.length === 0
      ? "Cannot choose a cluster: none is named"
      : `Cannot find ${unknown.join(", ")}: no cluster and no group is called so`,
    {
      exitCode: ExitCode.config,
      where: [
        `known clusters: ${ids.join(", ")}`,
        ...groups.length > 0 ? [`known groups: ${groups.join(", ")}`] : [],
      ],
      fix: "name a known one, edges or all; or add env/cluster-<id>.env, or GROUPS to one",
    },
  );
}

// Shorter ones would damage other text; the schema allows none.
const MASKABLE = 6;

/**
 * Values to mask in output, longest first; the hash in UI_BASIC_AUTH and the lines of keys count on
 * their own too. Ids of keys are no secrets: they tell people which key a line is about.
 */
export function secretsOf(cluster: Cluster): string[] {
  const values = Object.keys(cluster.vars).filter((name) => isSecret(name) && !isKeyId(name))
    .map((name) => text(cluster, name));
  const hashes = values.flatMap((value) => /^[^:\s]+:(\S+)$/.exec(value)?.[1] ?? []);
  const keys = [cluster.grpcIdentity?.key ?? "", cluster.doorCertificate?.key ?? ""];
  const lines = keys.flatMap((key) => key.split("\n")).filter((line) => !line.startsWith("-----"));
  return [...new Set([...values, ...hashes, ...keys, ...lines])]
    .filter(({ length }) => length >= MASKABLE)
    .sort((a, b) => b.length - a.length);
}

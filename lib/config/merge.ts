// A cluster while it is loaded: schema, common.env, cluster-<id>.env, profile, SECRET_FILE, environment; later wins.
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { configError } from "../core/error.ts";
import { clusterFiles, type Given, type Layer, readLayer } from "./files.ts";
import { isSecret, SETTINGS, validate } from "./schema.ts";
import { type Cluster, projectPath } from "../core/cluster.ts";

/** A cluster before the rules that compare settings and clusters: its `vars` are those with a right value. */
export interface Candidate extends Omit<Cluster, "name" | "role" | "sidecar" | "nodes" | "fleet"> {
  file: string; // as shown to people
}

export interface FleetOptions {
  root?: string; // has `env/`, and relative paths in settings start at it
  environment?: Record<string, string>;
  planned?: { id: string; text: string }; // one more cluster, whose file is not written yet
  withoutSecrets?: boolean; // using one that is missing ends with 2
}

// A shell that happens to have one of these set must not turn every cluster into the same one.
const FILE_ONLY = ["CLUSTER_ID", "CLUSTER_NAME", "CLUSTER_ROLE", "KUBE_CONTEXT", "NODE_IP"]
  .concat("NODE_NETWORKS", "DOMAIN", "REGION", "API_HOST", "SIDECAR_ADDRESS", "CLUSTER_DOMAIN")
  .concat("GROUPS", "PAUSED", "PAUSED_UNTIL");

/** Every cluster of `env/` below `root` and the `planned` one; problems are lines of `file:line  what is wrong`. */
export async function loadCandidates(options: FleetOptions) {
  const { root = projectPath("."), environment = Deno.env.toObject(), planned } = options;
  const dir = resolve(root, "env");
  const { ids, strange } = await clusterFiles(dir);
  const problems = strange.map((name) => `env/${name}  expected a cluster-<number>.env`);
  if (ids.length === 0) problems.push("env  has no cluster-<number>.env");

  const known = new Map<string, Promise<Layer>>();
  const read = (path: string, options?: { secrets?: boolean; text?: string }) =>
    known.getOrInsertComputed(path, () => readLayer(root, path, problems, options));
  const common = await read(resolve(dir, "common.env"));
  const profiles = [];
  if (environment.PROFILE) profiles.push(await read(await profilePath(root, environment.PROFILE)));
  const overrides = environmentValues(environment, problems);
  const drafts: Candidate[] = [];
  for (const id of planned ? [...ids, planned.id] : ids) {
    const path = resolve(dir, `cluster-${id}.env`);
    const own = await read(path, id === planned?.id ? { text: planned.text } : {});
    const layers = [common, own, ...profiles];
    const files = layers.flatMap(({ entries }) => [...entries]);
    const secretPath = new Map([...files, ...overrides]).get("SECRET_FILE")?.value ||
      String(SETTINGS.SECRET_FILE!.default);
    const secrets = await read(resolve(root, secretPath), { secrets: true });
    const given = new Map([...files, ...secrets.entries, ...overrides]);
    const checked = check(given, [common.file, own.file, secrets.file], problems, options);
    const warnings = [...layers, secrets].flatMap(({ warnings }) => warnings);
    drafts.push({ id, file: own.file, warnings, ...checked });
  }
  return { root, drafts, problems };
}

/** The file of a profile: a name of `env/profiles/`, or the path of a file of its own kind. */
async function profilePath(root: string, profile: string): Promise<string> {
  const path = resolve(root, profile), folder = resolve(root, "env/profiles");
  if (profile.includes("/") && existsSync(path)) return path;
  const files = await readdir(folder).catch(() => []);
  const known = files.flatMap((name) => /^(.*)\.env$/.exec(name)?.[1] ?? []).sort();
  if (known.includes(profile)) return resolve(folder, `${profile}.env`);
  throw configError(`Cannot use the profile "${profile}": no such file, nor one in profiles/`, {
    where: `known profiles: ${known.join(", ") || "none"}`,
    fix: "set PROFILE to a known one or to a file, or unset it",
  });
}

function environmentValues(environment: Record<string, string>, problems: string[]) {
  const values = new Map<string, Given>();
  for (const name of Object.keys(SETTINGS).filter((name) => environment[name] !== undefined)) {
    if (!FILE_ONLY.includes(name)) {
      values.set(name, { value: environment[name]!, source: "environment" });
      continue;
    }
    const fix = `unset ${name}, or leave it out of the command; its place is env/`;
    problems.push(`environment  ${name} would hold for every cluster: ${fix}`);
  }
  return values;
}

function check(
  given: Map<string, Given>,
  [common, own, secrets]: string[],
  problems: string[],
  { withoutSecrets }: FleetOptions,
): Pick<Candidate, "vars" | "sources" | "missing"> {
  const texts = Object.fromEntries([...given].map(([name, { value }]) => [name, value]));
  const { vars, findings } = validate(texts);
  // Where a setting that nobody gave should be written.
  const home = (name: string) => isSecret(name) ? secrets : FILE_ONLY.includes(name) ? own : common;
  const source = (name: string) => texts[name] ? given.get(name)!.source : "default";
  const lacks = findings.filter(({ name, missing }) => missing && isSecret(name));
  const told = withoutSecrets ? findings.filter((one) => !lacks.includes(one)) : findings;
  problems.push(
    ...told.map(({ name, text }) => `${given.get(name)?.source ?? home(name)}  ${text}`),
  );
  return {
    vars,
    sources: Object.fromEntries(Object.keys(vars).map((name) => [name, source(name)])),
    missing: lacks.map(({ name }) => name),
  };
}

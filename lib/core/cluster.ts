// A cluster as everything else sees it: its settings, typed, and what it may know of the others.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { configError, DeployError, ExitCode } from "./error.ts";

/** Values of settings, typed by the schema. */
export type Vars = Record<string, string | number | boolean>;

export type Role = "central" | "edge";

/** Why an edge is left alone for a while, its last day, and when that is over in seconds since 1970. */
export type Pause = { reason: string; until: string; end: number };

export function isPaused({ pause }: { pause?: Pause }): boolean {
  return pause !== undefined && Date.now() < pause.end * 1000;
}

/** A pause in words, before the ids of those that have it. */
export function pauseWords({ reason, until }: Pause): string {
  return `paused until ${until} (${reason})`;
}

/** What a cluster shows to the others, and the CA by which it knows them; all PEM. */
type Identity = { authority: string; certificate: string; key: string };

/** One cluster: every setting after defaults, plus what is computed from the whole fleet. */
export interface Cluster {
  id: string;
  name: string;
  role: Role;
  sidecar: string; // HOST:PORT at which the centre dials it
  /** Where its connections come from, and its nodes are, in CIDR notation: NODE_IP, then NODE_NETWORKS. */
  nodes: string[];
  pause?: Pause;
  vars: Vars; // every setting, what is computed (end of env/README.md), versions; paths as written
  /** Who gave each: `env/cluster-197.env:4`, `default`, `environment`, `computed` or a file of manifests. */
  sources: Record<string, string>;
  fleet: Cluster[]; // all of them, this one included, by number
  /** Digests of images, by the image with its tag as it is rendered; undefined where nothing is pinned. */
  digests?: ReadonlyMap<string, string>;
  s3Ca?: string; // text of S3_CA_FILE
  grpcIdentity?: Identity; // only with THANOS_GRPC_MTLS
  doorCertificate?: Omit<Identity, "authority">; // only with INGRESS_TLS
  warnings: string[]; // accepted, but worth telling
  missing: string[]; // secrets that nobody gave, where the fleet was loaded without need of them
}

/** The folder of a cluster in the buckets of logs and of volumes. */
export function basePathOf(id: string): string {
  return `cluster-${id}`;
}

const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

/** A path of a setting (`*_FILE`) as an absolute one: relative paths start at the project folder. */
export function projectPath(path: string): string {
  return resolve(PROJECT, path);
}

/** Value of a setting as text; a bug (exit 1) when `name` is none, as of the next ones when it is of another type. */
export function text(cluster: Cluster, name: string): string {
  return String(value(cluster, name));
}

export function number(cluster: Cluster, name: string): number {
  const found = value(cluster, name);
  return typeof found === "number" ? found : bug(name, "a number");
}

export function flag(cluster: Cluster, name: string): boolean {
  const found = value(cluster, name);
  return typeof found === "boolean" ? found : bug(name, "true or false");
}

/** Items of a comma-separated setting; none when it is empty. */
export function list(cluster: Cluster, name: string): string[] {
  return text(cluster, name).split(",").filter(Boolean);
}

/** Whether the whole text of each of these settings is what its pattern says. */
export function isCase(vars: Vars, when: Record<string, string> = {}): boolean {
  return Object.entries(when).every(([name, pattern]) =>
    new RegExp(`^(?:${pattern})$`).test(String(vars[name]))
  );
}

function value({ id, missing, vars }: Cluster, name: string): string | number | boolean {
  if (vars[name] !== undefined) return vars[name];
  if (missing.length === 0) bug(name, "a setting");
  throw configError(`Cannot do this for ${id} without its secrets`, {
    where: `missing: ${missing.join(", ")}`,
    fix: fillIn(String(vars.SECRET_FILE)),
  });
}

/** A text for people whose kubectl commands have this cluster's context: the current one may be another. */
export function inContext(cluster: Cluster, words: string): string {
  const { KUBECONFIG_FILE: file } = cluster.vars;
  const config = file ? `--kubeconfig ${quoted(String(file))} ` : "";
  const target = `${config}--context ${text(cluster, "KUBE_CONTEXT")}`;
  const verbs = "-n|get|describe|logs|exec|rollout|delete|label|patch|auth";
  return words.replace(new RegExp(`\\bkubectl (?=(${verbs}) )`, "g"), `kubectl ${target} `);
}

/** A text as a shell reads it back: in quotes where it has more than plain characters. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** How a file of secrets comes about. */
export function fillIn(file: string): string {
  return `fill in ${file}; if it is not there: install -m 600 env/secret.env.example ${file}`;
}

function bug(name: string, wanted: string): never {
  throw new DeployError(`Cannot use the setting ${name}: it is not ${wanted}`, {
    exitCode: ExitCode.bug,
    where: "env/schema.json",
  });
}

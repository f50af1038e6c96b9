// What a step wants beside Kubernetes objects (a bucket, a user, a document), looked at by plan, drift and deploy.
import type { Cluster } from "./cluster.ts";
import { hashOf } from "./hash.ts";
import { isFields } from "./object.ts";

/** What a look has seen. */
export interface Look {
  state: "as wanted" | "missing" | "differs" | "not looked at";
  /** Where it differs, as `path: old -> new` without secret values; why it was not looked at. */
  fields?: string[];
  mark?: string; // hash of the whole difference
  warnings?: string[]; // what the operator should know, and no deploy changes
}

/** One thing that should be there; `Way` is what reaches it. */
export interface Resource<Way = unknown> {
  id: string; // Bucket/thanos, unique in a cluster
  /** Compares what is there with what is wanted; changes nothing. @throws {DeployError} when it cannot. */
  look(way: Way): Promise<Look>;
  /** Brings it about, tells `warn` what cannot be done now, and whether it changed anything: others may be faster. */
  put(way: Way, warn: (text: string) => void): Promise<boolean>;
}

/** Resources on one way, in the order in which they are put. */
export interface Resources<Way = unknown> {
  title: string; // of the phase that puts them
  live?: boolean; // they are in running pods (of `program`, where that may be a stand-in)
  program?: string;
  /** Opens the way (default: the cluster itself); `once`: for a look, which waits for nothing that is not there. */
  open?(cluster: Cluster, once?: boolean): Promise<Way & AsyncDisposable>;
  of(cluster: Cluster): Resource<Way>[];
}

/** Looks at a resource and puts it where it is not as wanted; `warn` is told what is left as it is. */
export async function ensure<Way>(
  resource: Resource<Way>,
  way: Way,
  warn: (text: string) => void = () => {},
): Promise<{ outcome: "created" | "configured" | "unchanged"; look: Look }> {
  const look = await resource.look(way);
  look.warnings?.forEach(warn);
  const isAstray = look.state === "missing" || look.state === "differs";
  if (!isAstray || !await resource.put(way, warn)) return { outcome: "unchanged", look };
  return { outcome: look.state === "missing" ? "created" : "configured", look };
}

/** Puts resources one after the other, as far as they are not as wanted; `warn` is told what is left as it is. */
export async function putResources(
  resources: Resources,
  cluster: Cluster,
  { warn, changed }: Record<"warn" | "changed", (text: string) => void>,
): Promise<void> {
  await using opened = await resources.open?.(cluster);
  const way = opened ?? cluster;
  const left = new Map<string, string[]>();
  for (const resource of resources.of(cluster)) {
    const { id } = resource;
    const { outcome, look: { state, fields = [] } } = await ensure(resource, way, warn);
    const why = fields.join("; ");
    if (state === "not looked at") left.set(why, [...left.get(why) ?? [], id]);
    else if (outcome !== "unchanged") changed(`${id} ${outcome}${why && `: ${why}`}`);
  }
  for (const [why, ids] of left) warn(`${why} (${ids.join(", ")})`);
}

/** What a server adds to what it was given: its value by `path.of[].items`, undefined for any. */
export type Added = Record<string, unknown>;

/** The look at something of which `live` is there, undefined for nothing: all of it, but for what was added. */
export function compared(live: unknown, wanted: unknown, added: Added = {}): Look {
  return live === undefined ? { state: "missing" } : differing(lacking(live, wanted, added));
}

/** The look that found these differences. */
export function differing(differences: Lack[]): Look {
  if (differences.length === 0) return { state: "as wanted" };
  const fields = differences.map(({ path, old, now }) => changeLine(path, old, now));
  return { state: "differs", fields, mark: hashOf(differences) };
}

export type Lack = { path: string; old: unknown; now: unknown };

/** What `live` does not say of `wanted` (numbers may be text), and with `added` what it says beyond that. */
export function lacking(live: unknown, wanted: unknown, added?: Added, path = ""): Lack[] {
  if (Array.isArray(wanted)) {
    const items = live ?? [];
    if (!Array.isArray(items) || items.length !== wanted.length) {
      return [{ path, old: shown(path, live), now: wanted }];
    }
    return wanted.flatMap((item, index) => lacking(items[index], item, added, `${path}[${index}]`));
  }
  if (isFields(wanted)) {
    if (!isFields(live)) return [{ path, old: live, now: wanted }];
    const more = Object.keys(added ? live : {}).filter((key) => !isEmpty(live[key]));
    return [...new Set([...Object.keys(wanted), ...more])].flatMap((key) => {
      const below = path ? `${path}.${key}` : key, name = below.replace(/\[\d+\]/g, "[]");
      const isAdded = added && !(key in wanted) && name in added;
      if (isAdded && added[name] === undefined) return [];
      return lacking(live[key], isAdded ? added[name] : wanted[key], added, below);
    });
  }
  if (String(live) === String(wanted)) return [];
  return [{ path, old: wanted === undefined ? shown(path, live) : live, now: wanted }];
}

/** What somebody else has put there, of which only plain words are told: it may hold a password, or lead to one. */
function shown(path: string, live: unknown): unknown {
  const isPlain = !/key|secret|password|token/i.test(path) &&
    [live].flat().every((one) => /^[\w.:*-]{0,60}$/.test(String(one)));
  return isPlain ? live : "(not shown)";
}

function isEmpty(value: unknown): boolean {
  return (value ?? null) === null || typeof value === "object" && Object.keys(value!).length === 0;
}

/** `spec.replicas: 1 -> 2`; long values are cut. */
export function changeLine(path: string, old: unknown, now: unknown): string {
  return `${path}: ${short(old)} -> ${short(now)}`;
}

/** A value as JSON, cut where it is long. */
export function short(value: unknown): string {
  const text = value === undefined ? "(none)" : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

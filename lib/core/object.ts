// A Kubernetes object as plain data, and pure functions over it.

/** Any Kubernetes object; only what every object has is typed. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    // deno-lint-ignore no-explicit-any
    [field: string]: any;
  };
  // deno-lint-ignore no-explicit-any
  [field: string]: any;
}

/** Keys and indices from an object down to one of its fields. */
export type Path = (string | number)[];

/** Field manager, managed-by label and marker name: how this deployer signs its work. */
export const OWNER = "thanos-multi-cluster";
/** Label of everything that this deployer manages, and the selector for it. */
export const OWNED_LABELS = { "app.kubernetes.io/managed-by": OWNER };
export const OWNED = `app.kubernetes.io/managed-by=${OWNER}`;
/** Label that names the step an object belongs to; the inventory is listed by it. */
export const STEP_LABEL = "deploy.miribit.lab/step";
/** Annotation: "live" on a ConfigMap or Secret that programs re-read by themselves. */
export const RELOAD_ANNOTATION = "deploy.miribit.lab/reload";

/** `Kind/namespace/name`, or `Kind/name` for a cluster-scoped object. */
export function idOf({ kind, metadata }: Manifest): string {
  return [kind, metadata.namespace, metadata.name].filter(Boolean).join("/");
}

export function namespacedName({ metadata: { namespace, name } }: Manifest): string {
  return `${namespace}/${name}`;
}

type OfKind = Pick<Manifest, "apiVersion" | "kind">;

/** `deployment.v1.apps`, `service.v1.`: the kind of an object as kubectl takes it. */
export function resourceOf({ apiVersion, kind }: OfKind): string {
  const [version, group = ""] = apiVersion.split("/").reverse();
  return `${kind.toLowerCase()}.${version}.${group}`;
}

export function kindsOf(objects: OfKind[]): string[] {
  return [...new Set(objects.map(resourceOf))].sort();
}

export function isOurs({ metadata: { labels } }: Manifest): boolean {
  return labels?.["app.kubernetes.io/managed-by"] === OWNER;
}

/** Whether the object is of a kind that came with a definition, so that an operator minds it. */
export function isCustom({ apiVersion }: Manifest): boolean {
  const [group] = apiVersion.split("/") as [string];
  return group.includes(".") && !group.endsWith(".k8s.io");
}

export function isDefinition({ kind }: Manifest): boolean {
  return kind === "CustomResourceDefinition";
}

/** Whether the first object is the definition of the other one's kind. */
export function defines({ spec }: Manifest, { apiVersion, kind }: Manifest): boolean {
  return spec?.names?.kind === kind && apiVersion.startsWith(`${spec.group}/`);
}

/** Definitions (namespaces, CRDs, classes) first: the rest can only be accepted after them. */
export function inWaves(objects: Manifest[]): [definitions: Manifest[], rest: Manifest[]] {
  const definitions = objects.filter((object) => DEFINITIONS.has(object.kind));
  const rest = objects.filter((object) => !DEFINITIONS.has(object.kind));
  return [definitions, rest.sort((a, b) => rank(a) - rank(b))];
}

const DEFINITIONS = new Set(["Namespace", "CustomResourceDefinition", "PriorityClass"]);
// What workloads refer to comes before them, what routes to them after.
const ORDER = ["ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"]
  .concat(["ConfigMap", "Secret", "PersistentVolumeClaim", "Service", "IngressClass"]);

function rank({ kind }: Manifest): number {
  const position = ORDER.indexOf(kind);
  return position < 0 ? ORDER.length : position;
}

type About = Pick<Manifest["metadata"], "labels" | "annotations">;

/** A Secret from plain text values; built in code so that no secret ever stands in a file. */
export function secret(
  name: string,
  namespace: string,
  values: Record<string, string>,
  { type = "Opaque", labels = {}, annotations }: About & { type?: string } = {},
): Manifest {
  const metadata = { name, namespace, labels, ...(annotations ? { annotations } : {}) };
  const coded = Object.entries(values).map(([key, value]) => [key, base64(value)]);
  return { apiVersion: "v1", kind: "Secret", metadata, type, data: Object.fromEntries(coded) };
}

/** A ConfigMap from texts that are computed (endpoint lists, generated configuration). */
export function configMap(
  name: string,
  namespace: string,
  data: Record<string, string>,
  { labels = {}, annotations = {} }: About = {},
): Manifest {
  const metadata = { name, namespace, labels, annotations };
  return { apiVersion: "v1", kind: "ConfigMap", metadata, data };
}

/** The labels that say what an object is; {@link signed} adds who manages it. */
export function labelsOf(
  { name, component, partOf, version }: Record<"name" | "component" | "partOf" | "version", string>,
): Record<string, string> {
  return {
    "app.kubernetes.io/name": name,
    "app.kubernetes.io/instance": "thanos",
    "app.kubernetes.io/component": component,
    "app.kubernetes.io/part-of": partOf,
    "app.kubernetes.io/version": version,
  };
}

/** The objects as one JSON `List`, the way kubectl takes many of them fastest. */
export function asList(items: Manifest[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

/** Signs the objects of a step, which change no more: who manages them, and which step they come from. */
export function signed(objects: Manifest[], step: string): Manifest[] {
  const known = signedBy.getOrInsertComputed(step, () => new WeakMap());
  const own = { "app.kubernetes.io/managed-by": OWNER, [STEP_LABEL]: step };
  return objects.map((object) =>
    known.getOrInsertComputed(object, ({ metadata }) => (
      { ...object, metadata: { ...metadata, labels: { ...metadata.labels, ...own } } }
    ))
  );
}

// The definitions of bundles are megabytes, and all clusters have the same.
const signedBy = new Map<string, WeakMap<Manifest, Manifest>>();

/** Calls `visit` for every value below `node`, with its key. */
export function walk(node: unknown, visit: (value: unknown, key: string) => void): void {
  if (!isObject(node)) return;
  for (const [key, value] of Object.entries(node)) {
    visit(value, key);
    walk(value, visit);
  }
}

/** The value itself, in which nothing can be changed from now on: many clusters may share it. */
export function frozen<T>(value: T): T {
  if (isObject(value)) Object.values(value).forEach(frozen);
  return Object.freeze(value);
}

/** A copy with the value at the path, which may be new; what does not lead there is shared with the copy. */
export function withValue<T>(node: T, [key, ...rest]: Path, value: unknown): T {
  if (key === undefined) return value as T;
  const below = withValue((node as Record<string, unknown> | undefined)?.[key], rest, value);
  return Array.isArray(node) ? node.with(Number(key), below) as T : { ...node, [key]: below };
}

/** Base64 of the UTF-8 bytes of a text, as Secrets carry it. */
export function base64(text: string): string {
  return new TextEncoder().encode(text).toBase64();
}

/** Whether a value has fields: neither a list nor a scalar. */
export function isFields(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Array.isArray(value);
}

/** Whether a value has fields or items. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** What a text of JSON says; undefined for any other text. */
// deno-lint-ignore no-explicit-any
export function parsedJson(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// A directory of manifests plus a cluster become objects: kustomize, strict ${NAME}, checksums, images of the registry.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { type Cluster, projectPath, text, type Vars } from "../core/cluster.ts";
import { configError } from "../core/error.ts";
import { sealedHash } from "../core/hash.ts";
import { isTagged } from "../core/image.ts";
import { frozen, idOf, isCustom, isObject, walk, withValue } from "../core/object.ts";
import { type Manifest, RELOAD_ANNOTATION } from "../core/object.ts";
import { counted } from "../core/short_list.ts";
import { substitute, type Template, templatesIn } from "./template.ts";

/** The objects of `manifests/<component>[/<role>]` for a cluster, and `add`; exit 2 with every problem at once. */
export async function render(
  component: string,
  cluster: Cluster,
  { add = [], root = projectPath("manifests") }: { add?: Manifest[]; root?: string } = {},
): Promise<Manifest[]> {
  const plain = join(root, component);
  const folder = existsSync(join(plain, "kustomization.yaml")) ? plain : join(plain, cluster.role);
  const templates = await templatesIn(root, folder);
  asked.getOrInsertComputed(cluster, () => new Map()).set(folder, templates);
  const whole = [...filledIn(component, cluster, templates), ...add];
  refuseDuplicates(whole);
  return rewriteImages(withChecksums(whole), cluster);
}

function filledIn(what: string, { id, vars }: Cluster, templates: Omit<Template, "folder">[]) {
  const problems: string[] = [];
  const objects = templates.map((template) => substitute(template, vars, problems));
  if (problems.length === 0) return objects;
  throw configError(`Cannot render ${what} for ${id}: ${counted(problems.length, "problem")}`, {
    where: problems,
    fix: `name it in env/schema.json, and set it in env/common.env or env/cluster-${id}.env; ` +
      "a version in manifests/versions.json",
  });
}

/** The object of a file below manifests/ that is in no kustomization, with settings and `computed` values. */
export function renderFile(path: string, cluster: Cluster, computed: Vars = {}): Manifest {
  const read = () => readFileSync(projectPath(join("manifests", path)), "utf8");
  const object = files.getOrInsertComputed(path, () => frozen(parse(read()) as Manifest));
  const filled = { ...cluster, vars: { ...cluster.vars, ...computed } };
  return filledIn(path, filled, [{ object, file: path }])[0]!;
}

// They are the same for every cluster.
const files = new Map<string, Manifest>();

// By the folders that each cluster has had its objects from so far.
const asked = new WeakMap<Cluster, Map<string, Template[]>>();

/** The objects of every folder that {@link render} was asked for on behalf of this cluster. */
export function templatesOf(cluster: Cluster): Template[] {
  return [...asked.get(cluster)?.values() ?? []].flat();
}

/** Refuses (exit 2) lists in which a key stands twice: server-side apply does not take them (kubernetes#113482). */
export function refuseDuplicates(objects: Manifest[]): void {
  const where = objects.flatMap((object) =>
    duplicates(object.spec, "spec").map((line) => `${idOf(object)}  ${line}`)
  );
  if (where.length === 0) return;
  throw configError("Cannot apply lists that name a thing twice", {
    where,
    fix: "leave one of the two out of the manifest or the patch",
  });
}

function duplicates(node: unknown, path: string): string[] {
  if (!isObject(node)) return [];
  return Object.entries(node).flatMap(([field, value]) => {
    const name = isObject(value) && value.name || field;
    const below = Array.isArray(node) ? `${path}[${name}]` : `${path}.${field}`;
    const keys = Array.isArray(value) ? Map.groupBy(value, (item) => keyIn(field, item)) : [];
    const twice = [...keys].filter(([key, items]) => key !== undefined && items.length > 1);
    return [...twice.map(([key]) => `${below}: ${key} twice`), ...duplicates(value, below)];
  });
}

/** What tells an item of a list apart for the API server. */
function keyIn(field: string, item: Record<string, unknown> | null): unknown {
  const { name, mountPath, containerPort, port = containerPort, protocol = "TCP" } = item ?? {};
  if (field === "ports") return `${port}/${protocol}`;
  if (field === "volumeMounts") return mountPath;
  if (["containers", "initContainers", "volumes", "env"].includes(field)) return name;
}

/** Marks pod templates with a checksum of the ConfigMaps and Secrets that they read, but for those that reload live. */
export function withChecksums(objects: Manifest[]): Manifest[] {
  const read = objects.filter(({ kind, metadata: { annotations } }) =>
    (kind === "ConfigMap" || kind === "Secret") && annotations?.[RELOAD_ANNOTATION] !== "live"
  );
  const sources = new Map(read.map((object) => [idOf(object), object]));
  return objects.map((object) => {
    const used = references(object).flatMap((id) => sources.get(id) ?? []).map(contentOf);
    if (used.length === 0) return object;
    const template = isCustom(object) ? ["podMetadata"] : ["template", "metadata"];
    const path = ["spec", ...template, "annotations", "deploy.miribit.lab/config-checksum"];
    const hash = createHash("sha256").update(used.sort().join("\n")).digest("hex");
    return withValue(object, path, hash.slice(0, 16));
  });
}

/** What tells one version of a ConfigMap or Secret from another, and nothing of what is secret. */
function contentOf(object: Manifest): string {
  const content = JSON.stringify([object.data, object.stringData]);
  return object.kind === "Secret" ? sealedHash(content, idOf(object)) : content;
}

const WORKLOADS = new Set(["Deployment", "StatefulSet", "DaemonSet", "Prometheus", "Alertmanager"]);

function references(object: Manifest): string[] {
  if (!WORKLOADS.has(object.kind)) return [];
  const found = new Set<string>(), { namespace } = object.metadata;
  walk(object.spec, (value, key) => {
    if (!isObject(value)) return;
    const { name, secretName } = value, secret = name ?? secretName;
    if (/^configMap/.test(key) && name) found.add(`ConfigMap/${namespace}/${name}`);
    if (/^secret/.test(key) && secret) found.add(`Secret/${namespace}/${secret}`);
  });
  return [...found];
}

const PUBLIC_IMAGE =
  /^(--[\w-]+=)?(?:(?:quay\.io|docker\.io|ghcr\.io|registry\.k8s\.io|cr\.fluentbit\.io)\/|(?=longhornio\/))(?=[\w./-]+:)/;

const FLAG = /^--[\w-]+=/;

/** The objects with every public image, also in arguments, taken from IMAGE_REGISTRY if set, and pinned by digest. */
export function rewriteImages(objects: Manifest[], cluster: Cluster): Manifest[] {
  const registry = text(cluster, "IMAGE_REGISTRY"), { digests } = cluster;
  if (!registry && !digests) return objects;
  const rewritten = (text: string) => {
    const image = registry ? text.replace(PUBLIC_IMAGE, `$1${registry}/`) : text;
    const digest = digests?.get(image.replace(FLAG, ""));
    return digest ? `${image}@${digest}` : image;
  };
  const visit = (_: string, value: unknown) => typeof value === "string" ? rewritten(value) : value;
  return JSON.parse(JSON.stringify(objects), visit);
}

/** The images of a cluster's objects that have a tag and no digest, also those in arguments; each once. */
export function imagesIn(objects: Manifest[], cluster: Cluster): string[] {
  const registry = text(cluster, "IMAGE_REGISTRY"), found = new Set<string>();
  walk(objects, (value, key) => {
    if (typeof value !== "string") return;
    const image = value.replace(FLAG, "");
    const isImage = key === "image" || PUBLIC_IMAGE.test(value) ||
      registry !== "" && image.startsWith(`${registry}/`);
    if (isImage && isTagged(image)) found.add(image);
  });
  return [...found].sort();
}

// A directory of manifests plus a cluster become objects: kustomize, then strict ${NAME}.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { type Cluster, projectPath, text, type Vars } from "../core/cluster.ts";
import { refuseDuplicates } from "./validate.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { withChecksums } from "../core/checksums.ts";
import { isTagged } from "../core/image.ts";
import { counted } from "../core/short_list.ts";
import { frozen, type Manifest } from "../core/object.ts";
import { substitute } from "./substitute.ts";
import { type Template, templatesIn } from "./kustomize.ts";

/**
 * The objects of `manifests/<component>/<role>`, or of `manifests/<component>` when that is a kustomization, and `add`.
 * Pods that read a ConfigMap or Secret of them carry its checksum. @throws {DeployError} exit 2 with every problem.
 */
export async function render(
  component: string,
  cluster: Cluster,
  { add = [], root = projectPath("manifests") }: { add?: Manifest[]; root?: string } = {},
): Promise<Manifest[]> {
  const plain = join(root, component);
  const folder = existsSync(join(plain, "kustomization.yaml")) ? plain : join(plain, cluster.role);
  const templates = await templatesIn(root, folder), problems: string[] = [];
  asked.getOrInsertComputed(cluster, () => new Map()).set(folder, templates);
  const objects = templates.map((template) => substitute(template, cluster.vars, problems));
  if (problems.length > 0) throw unrendered(component, cluster, problems);
  const whole = [...objects, ...add];
  refuseDuplicates(whole);
  return rewriteImages(withChecksums(whole), cluster);
}

function unrendered(what: string, cluster: Cluster, problems: string[]): DeployError {
  const count = counted(problems.length, "problem");
  return new DeployError(`Cannot render ${what} for ${cluster.id}: ${count}`, {
    exitCode: ExitCode.config,
    where: problems,
    fix:
      `name it in env/schema.json, and set it in env/common.env or env/cluster-${cluster.id}.env; ` +
      "a version in manifests/versions.json",
  });
}

/**
 * The object of a file below manifests/ that is in no kustomization: not every cluster has it, or code computes values
 * for it, beside the settings. @throws {DeployError} exit 2 with every problem.
 */
export function renderFile(path: string, cluster: Cluster, computed: Vars = {}): Manifest {
  const read = () => readFileSync(projectPath(join("manifests", path)), "utf8");
  const object = files.getOrInsertComputed(path, () => frozen(parse(read()) as Manifest));
  const problems: string[] = [];
  const result = substitute({ object, file: path }, { ...cluster.vars, ...computed }, problems);
  if (problems.length > 0) throw unrendered(path, cluster, problems);
  return result;
}

// They are the same for every cluster.
const files = new Map<string, Manifest>();

// By the folders that each cluster has had its objects from so far.
const asked = new WeakMap<Cluster, Map<string, Template[]>>();

/** The objects of every folder that {@link render} was asked for on behalf of this cluster. */
export function templatesOf(cluster: Cluster): Template[] {
  return [...asked.get(cluster)?.values() ?? []].flat();
}

const PUBLIC_IMAGE =
  /^(--[\w-]+=)?(?:(?:quay\.io|docker\.io|ghcr\.io|registry\.k8s\.io|cr\.fluentbit\.io)\/|(?=longhornio\/))(?=[\w./-]+:)/;

/** What may stand before an image in an argument. */
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
  const visit = (node: unknown): unknown => {
    if (typeof node === "string") return rewritten(node);
    if (Array.isArray(node)) return node.map(visit);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, visit(value)]));
  };
  return objects.map((object) => visit(object) as Manifest);
}

/** The images of a cluster's objects that have a tag and no digest, also those in arguments; each once. */
export function imagesIn(objects: Manifest[], cluster: Cluster): string[] {
  const registry = text(cluster, "IMAGE_REGISTRY"), found = new Set<string>();
  const isImage = (key: string, value: string) =>
    key === "image" || PUBLIC_IMAGE.test(value) ||
    registry !== "" && value.replace(FLAG, "").startsWith(`${registry}/`);
  const visit = (node: unknown, key = "") => {
    if (typeof node === "string") {
      const image = node.replace(FLAG, "");
      if (isImage(key, node) && isTagged(image)) found.add(image);
    } else for (const [key, value] of Object.entries(node ?? {})) visit(value, key);
  };
  visit(objects);
  return [...found].sort();
}

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
import { frozen, type Manifest, walk } from "../core/object.ts";
import { substitute } from "./substitute.ts";
import { type Template, templatesIn } from "./kustomize.ts";

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

function filledIn(
  what: string,
  { id, vars }: Cluster,
  templates: Pick<Template, "object" | "file">[],
  computed: Vars = {},
): Manifest[] {
  const problems: string[] = [], values = { ...vars, ...computed };
  const objects = templates.map((template) => substitute(template, values, problems));
  if (problems.length === 0) return objects;
  throw new DeployError(`Cannot render ${what} for ${id}: ${counted(problems.length, "problem")}`, {
    exitCode: ExitCode.config,
    where: problems,
    fix: `name it in env/schema.json, and set it in env/common.env or env/cluster-${id}.env; ` +
      "a version in manifests/versions.json",
  });
}

/** The object of a file below manifests/ that is in no kustomization, with settings and `computed` values. */
export function renderFile(path: string, cluster: Cluster, computed: Vars = {}): Manifest {
  const read = () => readFileSync(projectPath(join("manifests", path)), "utf8");
  const object = files.getOrInsertComputed(path, () => frozen(parse(read()) as Manifest));
  return filledIn(path, cluster, [{ object, file: path }], computed)[0]!;
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

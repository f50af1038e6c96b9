// A directory of manifests plus a cluster become objects: kustomize, then strict ${NAME}.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { isMap, parse, parseAllDocuments } from "yaml";
import { builtOnce } from "./built.ts";
import { type Cluster, projectPath, text, type Vars } from "./cluster.ts";
import { refuseDuplicates } from "./duplicates.ts";
import { DeployError, ExitCode } from "./error.ts";
import { kustomize } from "./kubectl.ts";
import { idOf, type Manifest, SUBSTITUTE_ANNOTATION, withChecksums } from "./manifest.ts";
import { nearest } from "./settings.ts";

const ORIGIN = "config.kubernetes.io/origin";

/**
 * The objects of `manifests/<component>/<role>` (or of `manifests/<component>` when that is itself a
 * kustomization) for one cluster, together with `add`, the objects built in code. Pods that read a
 * ConfigMap or Secret of the result carry its checksum. Throws exit 2 with every problem at once.
 */
export async function render(
  component: string,
  cluster: Cluster,
  { add = [], root = projectPath("manifests") }: { add?: Manifest[]; root?: string } = {},
): Promise<Manifest[]> {
  const plain = join(root, component);
  const folder = existsSync(join(plain, "kustomization.yaml")) ? plain : join(plain, cluster.role);
  noteFolder(cluster, folder, root);
  const problems: string[] = [];
  const objects = (await built(root, folder)).map((object) =>
    substitute(object, cluster.vars, problems)
  );
  if (problems.length > 0) {
    throw new DeployError(
      `Cannot render ${component} for ${cluster.id}: ${problems.length} ` +
        (problems.length === 1 ? "problem" : "problems"),
      {
        exitCode: ExitCode.config,
        where: problems,
        fix:
          `name it in env/schema.json, and set it in env/common.env or env/cluster-${cluster.id}.env`,
      },
    );
  }
  const whole = [...objects, ...add];
  refuseDuplicates(whole);
  return rewriteImages(withChecksums(whole), cluster);
}

/** An object before `${NAME}`, and the folder that kustomize built it from. */
export interface Template {
  object: Manifest;
  folder: string;
}

// The folders that each cluster has had its objects from so far, and their roots.
const folders = new WeakMap<Cluster, Map<string, string>>();

function noteFolder(cluster: Cluster, folder: string, root: string): void {
  folders.set(cluster, (folders.get(cluster) ?? new Map()).set(folder, root));
}

/** The objects of every folder that {@link render} was asked for on behalf of this cluster. */
export async function templatesOf(cluster: Cluster): Promise<Template[]> {
  const asked = [...folders.get(cluster) ?? []];
  const objects = asked.map(async ([folder, root]) =>
    (await built(root, folder)).map((object) => ({ object, folder }))
  );
  return (await Promise.all(objects)).flat();
}

// Kustomize output does not depend on the cluster: built once per folder and process.
const cache = new Map<string, Promise<Manifest[]>>();

function built(root: string, folder: string): Promise<Manifest[]> {
  let result = cache.get(folder);
  if (!result) cache.set(folder, result = builtOnce(root, folder, () => build(folder)));
  return result;
}

async function build(folder: string): Promise<Manifest[]> {
  const yaml = await kustomize(folder);
  const objects = parseAllDocuments(yaml).map((document) => document.toJS() as Manifest);
  await refuseUnmatchedPatches(folder, objects);
  return objects;
}

/** kustomize ignores a patch whose target matches nothing; we do not (fault A71). */
async function refuseUnmatchedPatches(folder: string, objects: Manifest[]): Promise<void> {
  const file = join(folder, "kustomization.yaml");
  const kustomization = parse(await readFile(file, "utf8")) ?? {};
  for (const { path, patch, target } of kustomization.patches ?? []) {
    const content: string = patch ?? await readFile(join(folder, path), "utf8");
    const where = `${shortPath(file)}  ${path ?? "inline patch"}`;
    if (/\$patch:\s*delete/.test(content)) {
      throw new DeployError("Cannot check a patch that deletes", {
        exitCode: ExitCode.config,
        where,
        fix: "leave the object out of this role's resources instead",
      });
    }
    if (!target || objects.some((object) => matches(object, target))) continue;
    const wanted = [target.kind, target.namespace, target.name].filter(Boolean).join("/");
    const near = nearest(wanted, objects.map(idOf));
    throw new DeployError("Cannot apply a patch: its target matches no object", {
      exitCode: ExitCode.config,
      where: `${where}  target ${wanted}${near ? `: did you mean ${near}?` : ""}`,
      fix: "name an object that exists, or remove the patch",
    });
  }
  const parents = [...kustomization.resources ?? [], ...kustomization.components ?? []]
    .map((entry: string) => join(folder, entry))
    .filter((entry) => existsSync(join(entry, "kustomization.yaml")));
  for (const parent of parents) await refuseUnmatchedPatches(parent, objects);
}

/** What the patch of a kustomization is for. */
export interface Target {
  group?: string;
  version?: string;
  kind?: string;
  name?: string;
  namespace?: string;
  labelSelector?: string;
}

/** Whether a patch with this target is for the object. */
export function matches(object: Manifest, target: Target): boolean {
  const [group, version] = object.apiVersion.includes("/")
    ? object.apiVersion.split("/")
    : ["", object.apiVersion];
  const same = (wanted: string | undefined, actual = "") =>
    wanted === undefined || new RegExp(`^(${wanted})$`).test(actual);
  const labels = target.labelSelector?.split(",").map((pair) => pair.split("=")) ?? [];
  return same(target.group, group) && same(target.version, version) &&
    same(target.kind, object.kind) && same(target.name, object.metadata.name) &&
    same(target.namespace, object.metadata.namespace) &&
    labels.every(([key, value]) => object.metadata.labels?.[key!] === value);
}

/** `${NAME}` in a text; after one more `$` it stays as it is. */
export const VARIABLE = /(\$?)\$\{([^}]*)\}/g;
// Kubernetes wants text here, whatever type the setting has.
const ALWAYS_TEXT =
  /(\.|^)(annotations|labels|matchLabels|data|stringData|args|command|parameters|externalLabels)[.[]|\.env\[\d+\]\.value$/;
// A variable here would change what an object is, not what it says.
const FIXED = /^(apiVersion|kind|metadata\.name|metadata\.namespace)$|selector(\.|$)|matchLabels/i;

/**
 * A copy of the object with every `${NAME}` of its values replaced. A value that is exactly one
 * variable takes the setting's type; `$${NAME}` stays as `${NAME}`. Problems (unknown names,
 * variables where none may stand) are added to `problems`, one line each.
 */
export function substitute(object: Manifest, vars: Vars, problems: string[]): Manifest {
  const origin = originOf(object);
  const copy = structuredClone(object);
  if (copy.metadata.annotations?.[ORIGIN]) {
    delete copy.metadata.annotations[ORIGIN];
    if (Object.keys(copy.metadata.annotations).length === 0) delete copy.metadata.annotations;
  }
  if (copy.metadata.annotations?.[SUBSTITUTE_ANNOTATION] === "disabled") return copy;

  const problem = (path: string, what: string) =>
    problems.push(`${idOf(object)}  ${path}${origin && `  (${origin})`}  ${what}`);

  function replaced(value: string, path: string): unknown {
    if (FIXED.test(path) && /\$\{/.test(value)) {
      problem(path, `${value}: no variable may stand here`);
      return value;
    }
    const lookUp = (name: string): unknown => {
      if (Object.hasOwn(vars, name)) return vars[name];
      const near = nearest(name, Object.keys(vars));
      problem(path, `\${${name}}: ${near ? `did you mean ${near}?` : "unknown name"}`);
      return "";
    };
    const whole = /^\$\{([^}]*)\}$/.exec(value);
    if (whole && !ALWAYS_TEXT.test(path)) return lookUp(whole[1]!);
    return value.replace(
      VARIABLE,
      (all, dollar, name) => dollar ? all.slice(1) : String(lookUp(name)),
    );
  }

  function visit(node: unknown, path: string): unknown {
    if (typeof node === "string") return replaced(node, path);
    if (Array.isArray(node)) return node.map((item, index) => visit(item, `${path}[${index}]`));
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(
      Object.entries(node).map(([key, value]) => {
        const below = path ? `${path}.${key}` : key;
        if (/\$\{/.test(key)) problem(below, "no variable may stand in a key");
        return [key, visit(value, below)];
      }),
    );
  }

  return visit(copy, "") as Manifest;
}

const PUBLIC_IMAGE =
  /^(--[\w-]+=)?(?:(?:quay\.io|docker\.io|ghcr\.io|registry\.k8s\.io|cr\.fluentbit\.io)\/|(?=longhornio\/))(?=[\w./-]+:)/;

/** The objects with every public image, also in arguments, taken from IMAGE_REGISTRY when it is set. */
export function rewriteImages(objects: Manifest[], cluster: Cluster): Manifest[] {
  const registry = text(cluster, "IMAGE_REGISTRY");
  if (!registry) return objects;
  const visit = (node: unknown): unknown => {
    if (typeof node === "string") return node.replace(PUBLIC_IMAGE, `$1${registry}/`);
    if (Array.isArray(node)) return node.map(visit);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, visit(value)]));
  };
  return objects.map((object) => visit(object) as Manifest);
}

function originOf(object: Manifest): string {
  const document = parseAllDocuments(object.metadata.annotations?.[ORIGIN] ?? "")[0];
  const path = document && isMap(document.contents) ? document.get("path") : undefined;
  return typeof path === "string" ? path.replace(/^(\.\.\/)+/, "") : "";
}

function shortPath(file: string): string {
  return relative(dirname(projectPath("manifests")), file);
}

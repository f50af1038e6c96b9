// Objects of which a field cannot change: deleted and created in its place, but only those that the
// operator names, only where the loss is small, and only when the new one is sure to be accepted.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Cluster, projectPath, text } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../core/error.ts";
import { kubectl } from "../kube/kubectl.ts";
import type { KubectlError } from "../kube/kubectl_error.ts";
import { idOf, isCustom, type Manifest, resourceOf } from "../core/object.ts";
import type { Tell } from "./inventory.ts";
import { byId } from "./live.ts";
import { deleted } from "./prune.ts";
import { DRY_RUN, sendList } from "./send.ts";
import { nearest } from "../core/nearest.ts";

/** Whether an object was refused for a field that cannot change while it is there: each kind has its own words. */
export function cannotChange({ stderr }: KubectlError): boolean {
  return /immutable|may not change once set|may not be changed|cannot change roleRef|updates to .* (are|is) forbidden/
    .test(stderr);
}

// With them goes data, or what a controller or other people keep there.
const DATA = ["Namespace", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition"]
  .concat("Secret");

/** Why an object is never replaced, as the end of a sentence; undefined when it may be. */
export function neverReplaced(object: Manifest): string | undefined {
  const { kind } = object;
  if (kind === "StatefulSet") return "its pods need not go: it can be deleted alone";
  if (DATA.includes(kind)) return `what is in a ${kind} would go with it`;
  if (isCustom(object)) return "its operator would delete what it stands for";
}

/**
 * The ids (`words`, split by blanks) that may be replaced.
 * @throws {DeployError} exit 2 for one that is none of the `objects` (if they are known), 4 for one that never is.
 */
export function chosenToReplace(words: string, objects?: Manifest[]): Set<string> {
  const ids = new Set(words.split(/\s+/).filter(Boolean));
  if (!objects) return ids;
  const wanted = byId(objects);
  for (const id of ids) {
    const object = wanted.get(id);
    if (!object) {
      const near = nearest(id, wanted.keys());
      throw new DeployError(`Cannot replace ${id}: no step wants it on these clusters`, {
        exitCode: ExitCode.config,
        fix: near ? `did you mean ${near}?` : "name it as make plan does: Kind/namespace/name",
      });
    }
    const reason = neverReplaced(object);
    if (reason) {
      throw new DeployError(`Refused: ${id} is never replaced: ${reason}`, {
        exitCode: ExitCode.refused,
        fix: "leave it out of REPLACE: the deploy says what can be done",
      });
    }
  }
  return ids;
}

/** What an operator can do about an object that cannot change. */
export function wayOut(cluster: Cluster, object: Manifest): string {
  const { kind, metadata: { name, namespace } } = object;
  if (!neverReplaced(object)) {
    return `a deploy with REPLACE=${idOf(object)} deletes it and creates it anew`;
  }
  if (kind !== "StatefulSet") return "change it back, or move its content and delete it by hand";
  return `kubectl --context ${text(cluster, "KUBE_CONTEXT")} delete statefulset ${name} ` +
    `--namespace ${namespace} --cascade=orphan leaves its pods and volumes; then run again`;
}

/**
 * Deletes an object and applies the wanted one; keeps in a file what it was.
 * @throws {DeployError} exit 6, with nothing touched, when it would not be accepted under another name either.
 */
export async function replaced(cluster: Cluster, object: Manifest, say: Tell): Promise<void> {
  await sendList(cluster, [proof(object)], DRY_RUN);
  const { name, namespace } = object.metadata;
  const target = [resourceOf(object), name, ...namespace ? ["--namespace", namespace] : []];
  const live = JSON.parse(await kubectl(["get", ...target, "-o", "json"], { cluster }));
  const file = await saved(cluster, live);
  const undo = `kubectl --context ${text(cluster, "KUBE_CONTEXT")} replace --force -f ${file}`;
  say(`replacing ${idOf(object)}; back to what it was: ${undo}`);
  await deleted(cluster, [live], say);
  try {
    await sendList(cluster, [object]);
  } catch (cause) {
    throw new DeployError(`Cannot create ${idOf(object)} after it was deleted`, {
      exitCode: ExitCode.rejected,
      where: messageOf(cause),
      fix: `run again; or, back to what it was: ${undo}`,
      cause,
    });
  }
}

/** The object under a name that nobody has, without what only one object at a time can have. */
function proof(object: Manifest): Manifest {
  const copy = structuredClone(object), { kind, metadata, spec } = copy;
  metadata.name += "-proof";
  if (kind !== "Service") return copy;
  // "None" is no address but a kind of Service.
  if (spec.clusterIP !== "None") delete spec.clusterIP;
  delete spec.clusterIPs;
  delete spec.healthCheckNodePort;
  for (const port of spec.ports ?? []) delete port.nodePort;
  return copy;
}

/** Writes an object without what the server adds to it to `.replaced/196/...json` of the project; gives the path. */
async function saved({ id }: Cluster, { status: _, ...object }: Manifest): Promise<string> {
  const { name, namespace, labels, annotations } = object.metadata;
  const folder = projectPath(join(".replaced", id));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "");
  const path = join(folder, `${time}-${idOf(object).replaceAll("/", "-")}.json`);
  const kept = { ...object, metadata: { name, namespace, labels, annotations } };
  await writeFile(path, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  return path;
}

// Which objects of a List the API server (or a webhook that is away) refuses, why, and what may be done about it. One of
// which a field cannot change is deleted and created in its place only where the operator names it and the loss is small.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Cluster, projectPath, text } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf } from "../core/error.ts";
import { nearest } from "../core/nearest.ts";
import { idOf, isCustom, type Manifest } from "../core/object.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import type { Inventory } from "./inventory.ts";
import type { ById } from "./live.ts";
import { byId, deleted, DRY_RUN, namedOf, rejectedOf, sendList, sendOnce } from "./live.ts";
import { mayBeTaken } from "./managers.ts";

/** Applies the refused of a List one by one, by force over people; exit 6 with those still refused, else `cause`. */
export async function applyRefused(inventory: Inventory, objects: Manifest[], cause: unknown) {
  if (!(cause instanceof KubectlError) || cause.exitCode !== ExitCode.rejected) throw cause;
  const { cluster } = inventory;
  // What the List has waited for need not be waited for again with each of them.
  const send = cause.transient ? sendOnce : sendList;
  const after: ById = new Map(), refusals: string[] = [];
  let refused = 0;
  for (const object of await rejectedOf(cluster, objects)) {
    try {
      const found = await applyOrTakeBack(inventory, object, [], send)
        .catch((error) => replaceNamed(inventory, object, error));
      for (const [id, one] of found) after.set(id, one);
    } catch (error) {
      if (!(error instanceof KubectlError)) throw error;
      const [words, ...advice] = whyRefused(cluster, object, error);
      const webhooks = await webhooksBehind(cluster, error.stderr);
      refusals.push(`${idOf(object)}: ${words}`, ...advice.map((text) => `  ${text}`), ...webhooks);
      refused++;
    }
  }
  inventory.refresh();
  // Of definitions the list shows the name alone.
  if (refusals.length === 0) return new Map([...await inventory.live(), ...after]);
  throw new DeployError(`Cannot apply ${refused} of ${objects.length} objects on ${cluster.id}`, {
    exitCode: ExitCode.rejected,
    where: [...new Set(refusals)],
    fix: "correct what the API server refused, then run again; the other objects are applied",
    cause,
  });
}

/** The API server's words, and the way out where there is one. */
export function whyRefused(cluster: Cluster, object: Manifest, error: KubectlError): string[] {
  const others = conflictsIn(error).filter((who) => !mayBeTaken(who));
  const take = others.map((who) => `--take=${who}`).join(" ");
  const way = `end that, leave it out of manifests/, or take it: ARGS="${take}"`;
  return [
    error.stderr,
    ...cannotChange(error) ? [wayOut(cluster, object)] : [],
    ...others.length > 0 ? [`${others.join(", ")} writes that field: ${way}`] : [],
  ];
}

async function replaceNamed(inventory: Inventory, object: Manifest, error: unknown) {
  const { cluster, replace, say } = inventory;
  const mayBe = replace.has(idOf(object)) && !neverReplaced(object);
  if (!mayBe || !(error instanceof KubectlError) || !cannotChange(error)) throw error;
  // Throws, with nothing touched, when the new one would not be accepted under another name either.
  await sendList(cluster, [proof(object)], DRY_RUN);
  const live = (await namedOf(cluster, [object])).get(idOf(object));
  if (!live) throw error;
  const file = await saved(cluster, live);
  const undo = `kubectl --context ${text(cluster, "KUBE_CONTEXT")} replace --force -f ${file}`;
  say(`replacing ${idOf(object)}; back to what it was: ${undo}`);
  await deleted(cluster, [live], say);
  return await sendList(cluster, [object]).catch((cause) => {
    throw new DeployError(`Cannot create ${idOf(object)} after it was deleted`, {
      exitCode: ExitCode.rejected,
      where: messageOf(cause),
      fix: `run again; or, back to what it was: ${undo}`,
      cause,
    });
  });
}

/** Applies an object (by `flags`, only tries), once more by force where only people have fields that are wanted. */
export async function applyOrTakeBack(
  { cluster, say, takes }: Inventory,
  object: Manifest,
  flags: string[] = [],
  send = sendList,
): Promise<ById> {
  try {
    return await send(cluster, [object], flags);
  } catch (error) {
    if (!(error instanceof KubectlError)) throw error;
    const others = conflictsIn(error);
    if (others.length === 0 || !others.every((who) => takes(who) || mayBeTaken(who))) throw error;
    if (flags !== DRY_RUN) say(`taking ${idOf(object)} back from ${others.join(", ")}`);
    return await sendList(cluster, [object], [...flags, "--force-conflicts"]);
  }
}

function conflictsIn({ stderr }: KubectlError): string[] {
  const names = [...stderr.matchAll(/conflicts? with "([^"]+)"/g)].map(([, who]) => who!);
  return [...new Set(names)];
}

/** Each configuration that asks for the webhook of which kubectl complains: an old install may have left it. */
export async function webhooksBehind(cluster: Cluster, stderr: string): Promise<string[]> {
  const webhook = /failed calling webhook "([^"]+)"/.exec(stderr)?.[1];
  if (!webhook) return [];
  const kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
  const { items } = JSON.parse(await kubectl(["get", kinds, "-o", "json"], { cluster }));
  return items.flatMap(({ kind, metadata, webhooks = [] }: Manifest) =>
    webhooks.filter(({ name }: { name: string }) => name === webhook)
      .map(({ clientConfig: { service, url } }: Manifest) => {
        const asked = service ? `Service/${service.namespace}/${service.name}` : url;
        return `${kind}/${metadata.name} asks ${asked}; if an old install left it: ` +
          `kubectl --context ${text(cluster, "KUBE_CONTEXT")} delete ${kind} ${metadata.name}`;
      })
  );
}

// Each kind has its own words.
function cannotChange({ stderr }: KubectlError): boolean {
  return /immutable|may not change once set|may not be changed|cannot change roleRef|updates to .* (are|is) forbidden/
    .test(stderr);
}

// With them goes data, or what a controller or other people keep there.
const DATA = ["Namespace", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition"]
  .concat("Secret");

/** Why an object is never replaced, as the end of a sentence. */
function neverReplaced(object: Manifest): string | undefined {
  const { kind } = object;
  if (kind === "StatefulSet") return "its pods need not go: it can be deleted alone";
  if (DATA.includes(kind)) return `what is in a ${kind} would go with it`;
  if (isCustom(object)) return "its operator would delete what it stands for";
}

/** The ids in `words` that may be replaced; exit 2 for one that is none of the `objects`, 4 for one that never is. */
export function chosenToReplace(words: string, objects?: Manifest[]): Set<string> {
  const ids = new Set(words.split(/\s+/).filter(Boolean));
  if (!objects) return ids;
  const wanted = byId(objects);
  for (const id of ids) {
    const object = wanted.get(id), near = object ? undefined : nearest(id, wanted.keys());
    const reason = object ? neverReplaced(object) : "no step wants it on these clusters";
    if (!reason) continue;
    const way =
      "leave it out of REPLACE: the deploy says what can be done, make plan how it is named";
    throw new DeployError(`Cannot replace ${id}: ${reason}`, {
      exitCode: object ? ExitCode.refused : ExitCode.config,
      fix: near ? `did you mean ${near}?` : way,
    });
  }
  return ids;
}

function wayOut(cluster: Cluster, object: Manifest): string {
  const { kind, metadata: { name, namespace } } = object;
  if (!neverReplaced(object)) {
    return `a deploy with REPLACE=${idOf(object)} deletes it and creates it anew`;
  }
  if (kind !== "StatefulSet") return "change it back, or move its content and delete it by hand";
  return `kubectl --context ${text(cluster, "KUBE_CONTEXT")} delete statefulset ${name} ` +
    `--namespace ${namespace} --cascade=orphan leaves its pods and volumes; then run again`;
}

/** One that is accepted where the object would be: under another name, without what only one at a time can have. */
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

/** Writes an object, without what the server adds to it, to `.replaced/196/...json` of the project. */
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

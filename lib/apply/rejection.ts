// Which objects of a List the API server (or a webhook that is away) refuses, why, and what may be done about it.
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import type { Inventory, Tell } from "./inventory.ts";
import type { ById } from "./live.ts";
import { mayBeTaken } from "./managers.ts";
import { cannotChange, neverReplaced, replaced, wayOut } from "./replace.ts";
import { rejectedOf, sendList, sendOnce } from "./send.ts";

/**
 * Applies the refused ones of a List one by one, taking back what people have, and gives all of it as it is then.
 * @throws {DeployError} exit 6 with every object that is still refused; `cause` when the List was lost, not refused.
 */
export async function applyRefused(
  inventory: Inventory,
  objects: Manifest[],
  cause: unknown,
): Promise<ById> {
  if (!(cause instanceof KubectlError) || cause.exitCode !== ExitCode.rejected) throw cause;
  const { cluster, say } = inventory;
  // What the List has waited for need not be waited for again with each of them.
  const options = { say, send: cause.transient ? sendOnce : sendList };
  const after: ById = new Map(), refusals: string[][] = [];
  for (const object of await rejectedOf(cluster, objects)) {
    try {
      const found = await applyOrTakeBack(inventory, object, options)
        .catch((error) => replaceNamed(inventory, object, error));
      for (const [id, one] of found) after.set(id, one);
    } catch (error) {
      if (!(error instanceof KubectlError)) throw error;
      const [words, ...advice] = whyRefused(cluster, object, error);
      const webhooks = await webhooksBehind(cluster, error.stderr);
      refusals.push([
        `${idOf(object)}: ${words}`,
        ...advice.map((text) => `  ${text}`),
        ...webhooks,
      ]);
    }
  }
  inventory.refresh();
  // Of definitions the list shows the name alone.
  if (refusals.length === 0) return new Map([...await inventory.live(), ...after]);
  throw new DeployError(
    `Cannot apply ${refusals.length} of ${objects.length} objects on ${cluster.id}`,
    {
      exitCode: ExitCode.rejected,
      where: [...new Set(refusals.flat())],
      fix: "correct what the API server refused, then run again; the other objects are applied",
      cause,
    },
  );
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

async function replaceNamed(
  { cluster, replace, say }: Inventory,
  object: Manifest,
  error: unknown,
): Promise<ById> {
  const mayBe = replace.has(idOf(object)) && !neverReplaced(object);
  if (!mayBe || !(error instanceof KubectlError) || !cannotChange(error)) throw error;
  await replaced(cluster, object, say);
  return new Map();
}

/** Applies an object (by `flags`, only tries), once more by force where only people have fields that are wanted. */
export async function applyOrTakeBack(
  { cluster, takes }: Inventory,
  object: Manifest,
  { say = () => {}, send = sendList, flags = [] }: {
    say?: Tell;
    send?: typeof sendList;
    flags?: string[];
  } = {},
): Promise<ById> {
  try {
    return await send(cluster, [object], flags);
  } catch (error) {
    if (!(error instanceof KubectlError)) throw error;
    const others = conflictsIn(error);
    if (others.length === 0 || !others.every((who) => takes(who) || mayBeTaken(who))) throw error;
    say(`taking ${idOf(object)} back from ${others.join(", ")}`);
    return await sendList(cluster, [object], [...flags, "--force-conflicts"]);
  }
}

/** Who else has fields that are wanted. */
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

// Wanted objects, and fields of them, that somebody else has: a person's become ours, a deployer's stay its own.
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { idOf, type Manifest, OWNED, resourceOf } from "../core/object.ts";
import { shortList } from "../core/short_list.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError, retried } from "../kube/kubectl_error.ts";
import type { Inventory } from "./inventory.ts";
import { type ById, namedOf } from "./live.ts";
import { entriesOf, ownFields, withPeoplesFields } from "./managers.ts";

// As deployers sign the fields that they write; the label managed-by stays where people apply files of a Helm chart.
const DEPLOYERS =
  /^(argocd|cdk8s|flux|fleet|hashicorp|helm|kapp|kluctl|kustomize|pulumi|rancher|tanka|terraform|timoni)/i;

/** Why an object is left alone, and the two ways on; undefined where it may become ours. */
export function whyForeign(cluster: Cluster, object: Manifest): string[] | undefined {
  const deployer = entriesOf(object).find(({ manager, subresource }) =>
    !subresource && DEPLOYERS.test(manager)
  )?.manager;
  const { kind, metadata: { name, namespace } } = object;
  // Many may use a namespace.
  if (!deployer || kind === "Namespace") return undefined;
  const where = namespace ? ` --namespace ${namespace}` : "";
  return [
    `it is there already, and ${deployer} has it`,
    `remove it with ${deployer}; or hand it over: ` +
    `kubectl --context ${text(cluster, "KUBE_CONTEXT")} label ${kind.toLowerCase()} ${name}` +
    `${where} ${OWNED} --overwrite`,
  ];
}

/** Says which objects, there without our label, are ours from now on; exit 6 when another deployer has one. */
export function adopt({ cluster, say }: Inventory, others: ById): void {
  const refusals = [...others].flatMap(([id, object]) => {
    const [reason, ...advice] = whyForeign(cluster, object) ?? [];
    return reason ? [`${id}: ${reason}`, ...advice.map((text) => `  ${text}`)] : [];
  });
  if (refusals.length > 0) {
    throw new DeployError(`Refused: another deployer has what is wanted on ${cluster.id}`, {
      exitCode: ExitCode.rejected,
      where: refusals,
      fix: "one deployer to an object: do one of the two, then run again",
    });
  }
  for (const [id, object] of others) {
    // One of ours may have lost its label, and its line in what is kept.
    if (!ownFields(object)) say(`${id} was here before, and is ours from now on`);
  }
}

/** Makes ours what people have added to live objects, so that an apply takes it away; gives those to be applied. */
export async function takeOver(
  inventory: Inventory,
  objects: Manifest[],
  live: ById,
): Promise<Manifest[]> {
  const taken: Manifest[] = [];
  for (const object of objects) {
    const id = idOf(object), found = live.get(id);
    if (!found || !ownFields(found)) continue;
    const added = inventory.judge(found, object).others.filter(({ isTaken }) => isTaken);
    if (added.length === 0) continue;
    for (const [who, those] of Map.groupBy(added, ({ manager, time }) => `${manager}, ${time}`)) {
      inventory.say(`taking ${shortList(those.map(({ path }) => path))} (${who}) from ${id}`);
    }
    await retried(() => takeFields(inventory, object));
    taken.push(object);
  }
  return taken;
}

async function takeFields({ cluster, takes }: Inventory, wanted: Manifest): Promise<void> {
  const { name, namespace } = wanted.metadata;
  const where = namespace ? ["--namespace", namespace] : [];
  for (let tries = 1;; tries++) {
    const live = (await namedOf(cluster, [wanted])).get(idOf(wanted));
    // Gone meanwhile: it is made anew.
    if (!live) return;
    const patch = [
      { op: "replace", path: "/metadata/managedFields", value: withPeoplesFields(live, takes) },
      // Refused when somebody else has written meanwhile.
      { op: "replace", path: "/metadata/resourceVersion", value: live.metadata.resourceVersion },
    ];
    // Of many fields it is longer than an argument can be.
    const flags = ["--type=json", "--patch-file=/dev/stdin"], input = JSON.stringify(patch);
    try {
      await kubectl(["patch", resourceOf(wanted), name, ...where, ...flags], { cluster, input });
      return;
    } catch (error) {
      // A controller writes its status just now.
      const passes = error instanceof KubectlError && /\((Conflict|NotFound)\)/.test(error.stderr);
      if (!passes || tries === 10) throw error;
    }
  }
}

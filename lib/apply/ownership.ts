// Wanted objects that are on the cluster already and do not carry our label: a person's become ours, those
// of another deployer stay its own.
import { type Cluster, text } from "../core/cluster.ts";
import { entriesOf, ownFields, withPeoplesFields } from "./managers.ts";
import type { Inventory } from "./inventory.ts";
import { namedOf } from "./live.ts";
import { kubectl } from "../kube/kubectl.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import { idOf, type Manifest, OWNED, resourceOf } from "../core/object.ts";
import { DeployError, ExitCode } from "../core/error.ts";

/** The names by which deployers sign the fields that they write. */
const DEPLOYERS =
  /^(argocd|cdk8s|flux|fleet|hashicorp|helm|kapp|kluctl|kustomize|pulumi|rancher|tanka|terraform|timoni)/i;

/**
 * The deployer that has the object, as it signs itself; undefined for one that a person or a controller
 * made, and for a namespace, which many may use. The label managed-by tells nothing: people apply files
 * that were made with Helm.
 */
function deployerOf(object: Manifest): string | undefined {
  if (object.kind === "Namespace") return undefined;
  const managers = entriesOf(object).filter(({ subresource }) => !subresource)
    .map(({ manager }) => manager);
  return managers.find((manager) => DEPLOYERS.test(manager));
}

/** Why an object is left alone, and the two ways on; undefined where it may become ours. */
export function whyForeign(cluster: Cluster, object: Manifest): string[] | undefined {
  const deployer = deployerOf(object);
  if (!deployer) return undefined;
  const { kind, metadata: { name, namespace } } = object;
  const where = namespace ? ` --namespace ${namespace}` : "";
  return [
    `it is there already, and ${deployer} has it`,
    `remove it with ${deployer}; or hand it over: ` +
    `kubectl --context ${text(cluster, "KUBE_CONTEXT")} label ${kind.toLowerCase()} ${name}` +
    `${where} ${OWNED} --overwrite`,
  ];
}

/** What an apply finds. */
export interface Before {
  /** What is there, by id: ours, and what is ours from now on. */
  live: Map<string, Manifest>;
  /** Those whose kinds are not served; where its definition is there, by a run that was cut off, one is in a moment. */
  unserved: Manifest[];
}

/**
 * Looks at what is there, and says what was a person's and is ours from now on.
 * @throws {DeployError} exit 6, before anything is sent, when another deployer has something.
 */
export async function thereBefore(
  inventory: Inventory,
  objects: Manifest[],
): Promise<Before> {
  const { cluster, say } = inventory;
  const live = await inventory.live();
  const { there: found, unserved } = await inventory.others(objects);
  const refusals = [...found].flatMap(([id, object]) => {
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
  for (const [id, object] of found) {
    // One of ours may have lost its label, and its line in what is kept.
    if (!ownFields(object)) say(`${id} was here before, and is ours from now on`);
  }
  return { live: new Map([...live, ...found]), unserved };
}

/**
 * Makes the fields that people have written ours, so that the next apply takes away those that are not wanted;
 * what stays with people is left to them. Nothing of the object itself changes.
 */
export async function takeOver({ cluster, takes }: Inventory, wanted: Manifest): Promise<void> {
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
    const words = ["patch", resourceOf(wanted), name, ...where];
    const flags = ["--type=json", "--patch-file=/dev/stdin"];
    try {
      await kubectl([...words, ...flags], { cluster, input: JSON.stringify(patch) });
      return;
    } catch (error) {
      if (!(error instanceof KubectlError) || tries === TRIES) throw error;
      // A controller writes its status just now.
      if (!/\((Conflict|NotFound)\)/.test(error.stderr)) throw error;
    }
  }
}

const TRIES = 10;

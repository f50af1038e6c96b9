// Wanted objects that are on the cluster already and do not carry our label: a person's become ours, those
// of another deployer stay its own.
import { type Cluster, text } from "../core/cluster.ts";
import { byId } from "./inventory.ts";
import { kindsOf, printedName } from "../kube/kinds.ts";
import { kubectl } from "../kube/kubectl.ts";
import { asList, type Manifest, OWNED } from "../core/object.ts";

/** The names by which deployers sign the fields that they write. */
const DEPLOYERS =
  /^(argocd|cdk8s|flux|fleet|hashicorp|helm|kapp|kluctl|kustomize|pulumi|rancher|tanka|terraform|timoni)/i;

/** Those of the objects, none of which is ours yet, that are there, by id; kinds must be served. */
export async function foreignAmong(
  cluster: Cluster,
  objects: Manifest[],
): Promise<Map<string, Manifest>> {
  if (objects.length === 0) return new Map();
  // The server makes this table of names: a fraction of the time of whole objects. With a selector the
  // first list of a kind that was defined a moment ago takes a second: the server has no cache of it yet.
  const words = ["get", kindsOf(objects).join(","), "--all-namespaces", "--show-kind"];
  const rows = await kubectl([...words, "--no-headers"], { cluster });
  const there = new Set(rows.split("\n").map(nameOf));
  const found = objects.filter((object) => there.has(nameIn(object)));
  if (found.length === 0) return new Map();
  const input = asList(found.map(({ apiVersion, kind, metadata: { name, namespace } }) => (
    { apiVersion, kind, metadata: { name, namespace } }
  )));
  const flags = ["--ignore-not-found", "--show-managed-fields", "--output", "json"];
  const answer = await kubectl(["get", "--filename", "-", ...flags], { cluster, input });
  // Gone meanwhile.
  if (!answer.trim()) return new Map();
  const whole = JSON.parse(answer);
  return byId(whole.items ?? [whole]);
}

/** `[namespace] kind.group/name` of a row. */
function nameOf(row: string): string {
  const [first = "", second = ""] = row.trim().split(/\s+/);
  return first.includes("/") ? first : `${first} ${second}`;
}

function nameIn(object: Manifest): string {
  return [object.metadata.namespace, printedName(object)].filter(Boolean).join(" ");
}

/**
 * The deployer that has the object, as it signs itself; undefined for one that a person or a controller
 * made, and for a namespace, which many may use. The label managed-by tells nothing: people apply files
 * that were made with Helm.
 */
function deployerOf({ kind, metadata }: Manifest): string | undefined {
  if (kind === "Namespace") return undefined;
  const managers: string[] = (metadata.managedFields ?? [])
    .filter(({ subresource }: { subresource?: string }) => !subresource)
    .map(({ manager }: { manager: string }) => manager);
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

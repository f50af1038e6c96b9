// Objects that go: deleted by us or by somebody else, waited for, and what goes with them.
import type { Cluster } from "../core/cluster.ts";
import { asList, defines, idOf, type Manifest } from "../core/object.ts";
import { until } from "../io/wait.ts";
import { kubectl } from "../kube/kubectl.ts";
import type { Condition } from "../kube/list.ts";
import { namedOf } from "./live.ts";

/** Whether an object is gone when the first one is: what is in a namespace, or of a kind that it defines. */
export function goesWith(gone: Manifest, object: Manifest): boolean {
  return gone.kind === "Namespace"
    ? object.metadata.namespace === gone.metadata.name
    : defines(gone, object);
}

/** Deletes live objects, and waits as {@link awaitGone} does. */
export async function deleted(
  cluster: Cluster,
  objects: Manifest[],
  say?: (text: string) => void,
): Promise<void> {
  if (objects.length === 0) return;
  // No more of them is needed.
  const names = objects.map(({ apiVersion, kind, metadata: { name, namespace } }) => (
    { apiVersion, kind, metadata: { name, namespace } }
  ));
  const words = ["delete", "--ignore-not-found", "--wait=false", "--filename", "-"];
  await kubectl(words, { cluster, input: asList(names) });
  await awaitGone(cluster, objects, say);
}

/**
 * Waits until live objects, which are being deleted, are gone or others of their name.
 * @throws {DeployError} exit 7 after two minutes, with what holds them.
 */
export async function awaitGone(
  cluster: Cluster,
  objects: Manifest[],
  say?: (text: string) => void,
): Promise<void> {
  await until("objects to be gone", async () => {
    const live = await namedOf(cluster, objects);
    return objects.flatMap((object) => {
      const now = live.get(idOf(object));
      const isSame = now && now.metadata.uid === object.metadata.uid;
      return isSame ? [`${idOf(object)}: is being deleted, held by ${holdersOf(now)}`] : [];
    });
  }, { seconds: 120, every: 2, say });
}

/** What is left in a namespace or of a kind, in the API server's words; else the finalizers. */
function holdersOf(object: Manifest): string {
  const { finalizers = [] } = object.metadata;
  const conditions: Condition[] = object.status?.conditions ?? [];
  const left = conditions.filter(({ type, status }) =>
    status === "True" && /Remaining|Terminating|Failure$/.test(type)
  );
  const words = left.map(({ message, reason }) => message || reason);
  return [...finalizers, ...words].join(", ") || "nothing known";
}

// Which of the objects that a deploy wants are there.
import { resources } from "./apply.ts";
import type { Cluster } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";
import { idOf, type Manifest, OWNER } from "./manifest.ts";

/** Ids of the objects that the cluster does not have, or has from somebody else. */
export async function absent(cluster: Cluster, objects: Manifest[]): Promise<string[]> {
  if (objects.length === 0) return [];
  const fields = '{.kind}{"\\t"}{.metadata.namespace}{"\\t"}{.metadata.name}{"\\n"}';
  const list = await kubectl(
    ["get", resources(objects), "--all-namespaces", "--ignore-not-found"]
      .concat("--selector", `app.kubernetes.io/managed-by=${OWNER}`)
      .concat("-o", `jsonpath={range .items[*]}${fields}{end}`),
    { cluster },
  );
  const live = new Set(
    list.split("\n").map((line) => line.split("\t").filter(Boolean).join("/")),
  );
  return objects.map(idOf).filter((id) => !live.has(id));
}

// Why Longhorn may not be taken off a cluster by deleting its objects.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import type { Manifest } from "../../../lib/core/object.ts";

/** The reason as a sentence. There is always one: without its own Job Longhorn leaves a stuck namespace. */
export async function keepsFromPrune(cluster: Cluster): Promise<string | undefined> {
  const list = await kubectl(["get", "persistentvolumes", "-o", "json"], { cluster });
  const volumes =
    JSON.parse(list).items.filter((volume: Manifest) =>
      volume.spec?.csi?.driver === "driver.longhorn.io"
    ).length;
  if (volumes === 1) return "1 volume is still there";
  if (volumes > 0) return `${volumes} volumes are still there`;
  return "Longhorn is uninstalled by its own Job: docs/longhorn.md#uninstall-longhorn";
}

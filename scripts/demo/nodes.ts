// What a simulated cluster has besides its control plane: a node, a StorageClass, volumes.
import { sendList } from "../../lib/apply/send.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { renderFile } from "../../lib/render/render.ts";

// More than the claims of a cluster.
const VOLUMES = 20;

/**
 * The cluster's one node, with the address of its env file, its StorageClass (which the storage
 * system would make if it ran) and volumes of it.
 */
export async function createNodes(cluster: Cluster): Promise<void> {
  const items = Array.from({ length: VOLUMES }, (_, INDEX): Manifest[] => {
    const [node, storageClass, volume] =
      renderFile("demo/simulated.yaml", cluster, { INDEX }).items;
    return INDEX === 0 ? [node, storageClass, volume] : [volume];
  }).flat();
  const words = ["get", "nodes,storageclasses,persistentvolumes", "-o", "name"];
  const there = await kubectl(words, { cluster });
  const names = new Set(there.split("\n").map((line) => line.split("/")[1]));
  if (items.every(({ metadata }) => names.has(metadata.name))) return;
  await sendList(cluster, items);
}

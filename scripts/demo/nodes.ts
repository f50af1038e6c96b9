// What a simulated cluster has besides its control plane: a node, a StorageClass, volumes.
import { APPLY } from "../../lib/apply/send.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { asList, type Manifest } from "../../lib/core/object.ts";

// More than the claims of a cluster.
const VOLUMES = 20;

/**
 * The cluster's one node, with the address of its env file, its StorageClass (which the storage
 * system would make if it ran) and volumes of it.
 */
export async function createNodes(cluster: Cluster): Promise<void> {
  const volumes = Array.from({ length: VOLUMES }, (_, index) => volume(cluster, index));
  const items = [node(cluster), storageClass(cluster), ...volumes];
  const words = ["get", "nodes,storageclasses,persistentvolumes", "-o", "name"];
  const there = await kubectl(words, { cluster });
  const names = new Set(there.split("\n").map((line) => line.split("/")[1]));
  if (items.every(({ metadata }) => names.has(metadata.name))) return;
  await kubectl([...APPLY, "-f", "-"], { cluster, input: asList(items) });
}

function node(cluster: Cluster): Manifest {
  const name = text(cluster, "KUBE_CONTEXT");
  const capacity = { cpu: "16", memory: "64Gi", pods: "500", "ephemeral-storage": "500Gi" };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      annotations: { "kwok.x-k8s.io/node": "fake" },
      labels: {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/control-plane": "",
      },
    },
    status: {
      addresses: [
        { type: "InternalIP", address: text(cluster, "NODE_IP") },
        { type: "Hostname", address: name },
      ],
      capacity,
      allocatable: capacity,
    },
  };
}

function storageClass(cluster: Cluster): Manifest {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: text(cluster, "STORAGE_CLASS"),
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "Immediate",
  };
}

function volume(cluster: Cluster, index: number): Manifest {
  const name = `simulated-${index}`;
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: {
      storageClassName: text(cluster, "STORAGE_CLASS"),
      capacity: { storage: "100Gi" },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      hostPath: { path: `/simulated/${index}` },
    },
  };
}

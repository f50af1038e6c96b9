// The prometheus-operator of the demo: its pod only pretends, so the program runs beside the cluster.
import type { Cluster } from "../../lib/core/cluster.ts";
import { startDaemon } from "./daemon.ts";
import type { Access } from "./control_plane.ts";
import { targetArgs } from "../../lib/kube/kubectl.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { prometheus } from "../20-prometheus.ts";

// Like a kubelet: starts the program when its pod is, and again when it ends. It looks for its
// definitions and rights at its start only; the pod comes after them.
const KUBELET = `
  kubectl=$1 name=$2 namespace=$3 kubeconfig=$4 context=$5
  shift 5
  target() {
    "$kubectl" "$kubeconfig" "$context" -n "$namespace" wait "deployment/$name" "$@"
  }
  while :; do
    target --for=create --timeout=24h && target --for=condition=Available --timeout=24h && "$@"
    sleep 1
  done`;

/**
 * Starts the operator with the arguments and as the ServiceAccount of its Deployment, so that these
 * are tried as well.
 */
export async function startOperator(
  folder: string,
  tools: Record<string, string>,
  cluster: Cluster,
  access: Access,
): Promise<void> {
  const { metadata, spec } = await deployment(cluster);
  const { containers, serviceAccountName } = spec.template.spec;
  const { name, namespace } = metadata;
  const command = [
    tools["prometheus-operator"]!,
    `--apiserver=${access.server}`,
    `--ca-file=${access.ca}`,
    `--cert-file=${access.certificate}`,
    `--key-file=${access.key}`,
    `--as=system:serviceaccount:${namespace}:${serviceAccountName}`,
    "--web.listen-address=127.0.0.1:0",
    ...containers[0].args,
  ];
  const kubelet = [tools.kubectl!, name, namespace!, ...targetArgs(cluster)];
  await startDaemon(folder, {
    name: `prometheus-operator-${cluster.id}`,
    command: ["sh", "-c", KUBELET, "kubelet", ...kubelet, ...command],
  });
}

async function deployment(cluster: Cluster): Promise<Manifest> {
  const objects = await prometheus.objects(cluster);
  const found = objects.find(({ kind, metadata }) =>
    kind === "Deployment" && metadata.labels?.["app.kubernetes.io/name"] === "prometheus-operator"
  );
  if (found) return found;
  throw new Error(`20-prometheus has no Deployment of the operator on ${cluster.id}`);
}

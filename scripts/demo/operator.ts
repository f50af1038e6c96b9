// The prometheus-operator of the demo: its pod only pretends, so the program runs beside the cluster.
import { readFile } from "node:fs/promises";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { startDaemon } from "./daemon.ts";
import type { Access } from "./control_plane.ts";
import { targetArgs } from "../../lib/kube/kubectl.ts";
import { prometheus } from "../20-prometheus.ts";

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
  const objects = await prometheus.objects(cluster);
  const { metadata, spec } = objects.find(({ kind, metadata }) =>
    kind === "Deployment" && metadata.labels?.["app.kubernetes.io/name"] === "prometheus-operator"
  )!;
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
  const script = await readFile(projectPath("scripts/demo/kubelet.sh"), "utf8");
  const kubelet = [tools.kubectl!, name, namespace!, ...targetArgs(cluster)];
  await startDaemon(folder, {
    name: `prometheus-operator-${cluster.id}`,
    command: ["sh", "-c", script, "kubelet", ...kubelet, ...command],
  });
}

// Admission webhooks that do not answer: who asks for them, and the Service that nobody is behind.
import { type Cluster, text } from "../core/cluster.ts";
import { kubectl } from "../kube/kubectl.ts";

/**
 * One line for each configuration that asks for the webhook which kubectl's words complain of: the
 * server names the webhook alone, and an old install may have left it (fault A42). None for other words.
 */
export async function webhooksBehind(cluster: Cluster, stderr: string): Promise<string[]> {
  const webhook = /failed calling webhook "([^"]+)"/.exec(stderr)?.[1];
  if (!webhook) return [];
  const kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
  const { items } = JSON.parse(await kubectl(["get", kinds, "-o", "json"], { cluster }));
  const lines: string[] = [];
  for (const { kind, metadata, webhooks = [] } of items) {
    for (const { name, clientConfig: { service, url } } of webhooks) {
      if (name !== webhook) continue;
      const asked = service ? `Service/${service.namespace}/${service.name}` : url;
      lines.push(
        `${kind}/${metadata.name} asks ${asked}; if an old install left it: ` +
          `kubectl --context ${text(cluster, "KUBE_CONTEXT")} delete ${kind} ${metadata.name}`,
      );
    }
  }
  return lines;
}

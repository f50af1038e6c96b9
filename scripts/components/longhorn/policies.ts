// What Longhorn's own NetworkPolicies of 1.12.1 forget, with NETWORK_POLICIES; they stay then.
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest } from "../../../lib/core/object.ts";

/** Additions to the policies of the bundle; none without NETWORK_POLICIES. */
export function longhornPolicies(cluster: Cluster): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const namespace = (name: string) => ({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
  });
  const node = { ipBlock: { cidr: `${text(cluster, "NODE_IP")}/32` } };
  return [
    // Without it all its series vanish, and its alerts with them (longhorn#13740).
    policy("prometheus", { app: "longhorn-manager" }, 9500, [{
      ...namespace("monitoring"),
      podSelector: { matchLabels: { "app.kubernetes.io/name": "prometheus" } },
    }]),
    // The host logs in to its volumes by itself (longhorn#13802).
    policy("iscsi", { "longhorn.io/component": "instance-manager" }, 3260, [node]),
  ];
}

function policy(
  name: string,
  matchLabels: Record<string, string>,
  port: number,
  from: unknown[],
): Manifest {
  const labels = labelsOf({ name, component: "network", partOf: "storage", version: "v1" });
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: `allow-${name}`, namespace: "longhorn-system", labels },
    spec: {
      podSelector: { matchLabels },
      policyTypes: ["Ingress"],
      ingress: [{ from, ports: [{ port, protocol: "TCP" }] }],
    },
  };
}

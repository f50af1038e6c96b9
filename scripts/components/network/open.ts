// What the programs leave open to whoever reaches it, by the cluster's settings: told at the end of a deploy, by
// `make config`, and in docs/doors.md.
import { type Cluster, flag, list, number, text } from "../../../lib/core/cluster.ts";
import { isEverywhere } from "../../../lib/core/network.ts";
import type { OpenDoor } from "../../../lib/deploy/step.ts";

const POLICIES = "NETWORK_POLICIES=true, with a network plugin that enforces them";

type Doors = (OpenDoor | false)[];

/** Doors of 10-longhorn; upstream's policies leave its page alone. */
export function openOfLonghorn(cluster: Cluster): Doors {
  return [
    text(cluster, "STORAGE") === "longhorn" && {
      what: "to every pod: Longhorn, which deletes volumes (longhorn-frontend:80)",
      closedBy: "a NetworkPolicy of your own in longhorn-system",
    },
  ];
}

/** Doors of 20-prometheus. */
export function openOfPrometheus(cluster: Cluster): Doors {
  const policies = flag(cluster, "NETWORK_POLICIES");
  // A policy cannot tell callers whom another node passes on.
  const several = text(cluster, "NODE_NETWORKS") !== "";
  return [
    {
      what: "port 9100 of every node: metrics of the host",
      closedBy: "the host's firewall alone (docs/doors.md)",
    },
    cluster.role === "edge" && !flag(cluster, "THANOS_GRPC_MTLS") && (several || !policies) && {
      what: `port ${number(cluster, "SIDECAR_NODE_PORT")}: every metric of the edge`,
      closedBy: `THANOS_GRPC_MTLS=true${several ? "" : ", or NETWORK_POLICIES=true"}`,
    },
    !flag(cluster, "INGRESS_TLS") && {
      what: `port ${number(cluster, "HTTP_NODE_PORT")}: passwords cross the network unencrypted`,
      closedBy: `INGRESS_TLS=true, then https on port ${number(cluster, "HTTPS_NODE_PORT")}`,
    },
    !policies && {
      what: "to every pod: Prometheus, and Alertmanager, which takes silences",
      closedBy: POLICIES,
    },
  ];
}

/** Doors of 30-thanos, which are at the centre. */
export function openOfThanos(cluster: Cluster): Doors {
  if (cluster.role === "edge") return [];
  return [
    !flag(cluster, "THANOS_UI_AUTH") && isEverywhere(list(cluster, "ADMIN_CIDR")) && {
      what: "the page of Thanos Query: every metric of every cluster",
      closedBy: "THANOS_UI_AUTH=true, or ADMIN_CIDR",
    },
    !flag(cluster, "NETWORK_POLICIES") && {
      what: "to every pod: Thanos Query, Store, Ruler and Compactor",
      closedBy: POLICIES,
    },
  ];
}

/** Doors of 40-logging. */
export function openOfLogging(cluster: Cluster): Doors {
  return [
    !flag(cluster, "NETWORK_POLICIES") && {
      what: "to every pod: OpenSearch, which deletes logs (opensearch:9200)",
      closedBy: POLICIES,
    },
  ];
}

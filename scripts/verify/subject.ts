// What the checks of 50-verify look at.
import type { Cluster } from "../../lib/cluster.ts";
import type { Manifest } from "../../lib/manifest.ts";
import type { ClusterProxy } from "../../lib/proxy.ts";

export interface Subject {
  cluster: Cluster;
  /** All clusters of the site. */
  fleet: Cluster[];
  /** Objects of all steps. */
  objects: Manifest[];
  /** The way to the Services of the cluster; opened by the first check that needs it. */
  proxy: () => Promise<ClusterProxy>;
}

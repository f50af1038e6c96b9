// What the checks of 50-verify look at.
import type { Cluster } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import type { ClusterProxy } from "../../lib/probe/http.ts";

export interface Subject {
  cluster: Cluster;
  /** All clusters of the site. */
  fleet: Cluster[];
  /** Objects of all steps. */
  objects: Manifest[];
  /** The way to the Services of the cluster; opened by the first check that needs it. */
  proxy: () => Promise<ClusterProxy>;
}

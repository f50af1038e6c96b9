// 30-thanos: on central Query, Query Frontend, Store, Compactor and Ruler over the whole fleet; on
// an edge the alerts about its sidecar. Needs 20-prometheus (sidecars, bucket access, definitions).
// Safe to run again; a new edge changes two ConfigMaps and restarts nothing.
import type { Cluster } from "../lib/cluster.ts";
import { main } from "../lib/command.ts";
import type { Manifest } from "../lib/manifest.ts";
import { openProxy } from "../lib/proxy.ts";
import { render } from "../lib/render.ts";
import { step } from "../lib/step.ts";
import { until } from "../lib/wait.ts";
import { endpointsConfig, fleetAlerts, fleetRules } from "./thanos/fleet.ts";
import { missingEndpoints, readStores } from "./thanos/stores.ts";

export const thanos = step({
  name: "30-thanos",
  needs: ["20-prometheus"],
  objects: (cluster) => render("thanos", cluster, { add: fleetObjects(cluster) }),
  async run({ cluster, objects, phase, live, apply, ready, report }) {
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
    if (cluster.role === "central") {
      await live("Endpoints of Query", async () => {
        const say = (missing: string) => report.waiting(missing);
        for (const edge of await endpointsJoined(cluster, say)) report.warn(edge);
      });
    }
  },
});

/** What names the clusters of the fleet; only central knows the others. */
function fleetObjects(cluster: Cluster): Manifest[] {
  if (cluster.role === "edge") return [];
  return [endpointsConfig(cluster), fleetAlerts(cluster), fleetRules(cluster)];
}

// An edited endpoint file reaches the process after 90 s (kubelet), 30 s (reload) and 5 s (poll).
const EDGE_PATIENCE = 150_000;

/**
 * Waits until Query is in touch with every endpoint. Edges may be deployed later than central:
 * those that are missing after a while are given back, one line each.
 */
async function endpointsJoined(
  cluster: Cluster,
  say: (missing: string) => void,
): Promise<string[]> {
  await using proxy = await openProxy(cluster);
  const enough = Date.now() + EDGE_PATIENCE;
  let edges: string[] = [];
  await until("the endpoints of Thanos Query", async () => {
    const missing = missingEndpoints(await readStores(proxy), cluster);
    edges = missing.edges;
    return Date.now() < enough ? [...missing.own, ...edges] : missing.own;
  }, { seconds: 600, say });
  return edges;
}

if (import.meta.main) await main(thanos);

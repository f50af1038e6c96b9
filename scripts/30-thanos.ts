// 30-thanos: on central Query, Query Frontend, Store, Compactor and Ruler over the whole fleet; on
// an edge the alerts about its sidecar. Needs 20-prometheus (sidecars, bucket access, definitions).
// Safe to run again; a new edge changes two ConfigMaps and rules of central and restarts nothing.
import type { Cluster } from "../lib/cluster.ts";
import { main } from "../lib/command.ts";
import type { Manifest } from "../lib/manifest.ts";
import { render } from "../lib/render.ts";
import { type Step, step } from "../lib/step.ts";
import { fleetAlerts, fleetRules } from "./thanos/alerts.ts";
import { edgesOf, endpointsConfig } from "./thanos/fleet.ts";
import { grpcSecrets } from "./thanos/grpc.ts";
import { awaitEdges, awaitOwn } from "./thanos/stores.ts";

export const thanos = step({
  name: "30-thanos",
  needs: ["20-prometheus"],
  tellsCentral: fleetLists,
  objects: (cluster) => render("thanos", cluster, { add: fleetObjects(cluster) }),
  async run({ cluster, objects, phase, live, apply, ready, report }) {
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
    if (cluster.role === "edge") return;
    const say = (missing: string) => report.waiting(missing);
    await live("Endpoints of Query", async () => {
      await awaitOwn(cluster, say);
      for (const edge of await awaitEdges(cluster, edgesOf(cluster), say)) report.warn(edge);
    });
  },
});

/** The part of central that a deployed edge changes: Query reads its endpoints again by itself. */
function fleetLists(edges: string[]): Step {
  return step({
    name: "30-thanos",
    objects: (central) => Promise.resolve(fleetObjects(central)),
    async run({ cluster, objects, phase, live, apply, report }) {
      await phase("Lists of the fleet", () => apply(objects));
      const deployed = edgesOf(cluster).filter(({ id }) => edges.includes(id));
      await live(`Query sees ${edges.join(", ")}`, async () => {
        const say = (missing: string) => report.waiting(missing);
        for (const edge of await awaitEdges(cluster, deployed, say)) report.warn(edge);
      });
    },
  });
}

/** What names the clusters of the fleet, and how they are dialled; only central knows the others. */
function fleetObjects(cluster: Cluster): Manifest[] {
  if (cluster.role === "edge") return [];
  return [
    ...grpcSecrets(cluster),
    endpointsConfig(cluster),
    fleetAlerts(cluster),
    fleetRules(cluster),
  ];
}

if (import.meta.main) await main(thanos);

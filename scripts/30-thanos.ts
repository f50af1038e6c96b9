// 30-thanos: on central Query, Query Frontend, Store, Compactor and Ruler over the whole fleet; on an edge the alerts
// about its sidecar. Needs 20-prometheus. Safe to run again; a new edge changes lists of central and restarts nothing.
import "./needs.ts";
import { main } from "../lib/cli/deploy.ts";
import { LIVE } from "../lib/core/check.ts";
import { flag } from "../lib/core/cluster.ts";
import { type Step, step } from "../lib/deploy/step.ts";
import { render } from "../lib/render/render.ts";
import { compactor } from "./checks/metrics.ts";
import { clusters, criticalAlerts, endpoints, globalRules, stored } from "./checks/thanos.ts";
import { opensOf } from "./components/network/network.ts";
import { edgesOf, fleetObjects, grpcSecrets, loginSecret } from "./components/thanos/fleet.ts";
import { absenceOf, awaitEdges, awaitOwn, dialsOtherwise } from "./components/thanos/stores.ts";

const CENTRAL = { ...LIVE, role: "central" } as const;

export const thanos = step({
  name: "30-thanos",
  needs: ["20-prometheus"],
  checks: [
    { ...CENTRAL, name: "Thanos endpoints", hop: "Query -> sidecars", run: endpoints },
    { ...CENTRAL, name: "Clusters in Query", hop: "clusters -> Query", run: clusters },
    { ...CENTRAL, s3: true, name: "Compactor", hop: "S3 -> Compactor -> S3", run: compactor },
    { ...CENTRAL, s3: true, name: "Blocks in Store", hop: "S3 -> Store", run: stored },
    { ...CENTRAL, name: "Global rules", hop: "Ruler -> Alertmanager", run: globalRules },
    { ...LIVE, name: "Critical alerts", hop: "rules -> people", run: criticalAlerts },
  ],
  centralPart: fleetLists,
  opens: opensOf("30-thanos"),
  objects(cluster) {
    if (cluster.role === "edge") return render("thanos", cluster);
    const add = [...grpcSecrets(cluster), ...loginSecret(cluster), ...fleetObjects(cluster)];
    const folder = flag(cluster, "THANOS_UI_AUTH") ? "thanos/central-login" : "thanos";
    return render(folder, cluster, { add });
  },
  async run({ cluster, objects, phase, live, apply, ready, report }) {
    await phase("Apply", () => apply(objects));
    await phase("Ready", () => ready(objects));
    if (cluster.role === "edge") return;
    await live("Endpoints of Query", async () => {
      const stores = await awaitOwn(cluster, report.waiting);
      const { lost, notes } = await absenceOf(stores, edgesOf(cluster));
      notes.forEach(report.note);
      await awaitEdges(cluster, lost.map(({ edge }) => edge), report);
    });
  },
});

function fleetLists(edges: string[]): Step {
  return step({
    name: "30-thanos",
    objects: (central) => Promise.resolve(fleetObjects(central)),
    async run({ cluster, objects, phase, live, apply, report }) {
      if (await dialsOtherwise(cluster)) {
        report.warn("THANOS_GRPC_MTLS is being switched, which takes all clusters: make all");
        return;
      }
      await phase("Lists of the fleet", () => apply(objects));
      const deployed = edgesOf(cluster).filter(({ id }) => edges.includes(id));
      await live(`Query sees ${edges.join(", ")}`, () => awaitEdges(cluster, deployed, report));
    },
  });
}

if (import.meta.main) await main(thanos);

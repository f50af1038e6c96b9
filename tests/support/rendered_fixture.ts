// Everything we render for the three clusters, step by step, without upstream bundles.
import type { Cluster } from "../../lib/core/cluster.ts";
import { type Manifest, signed } from "../../lib/core/object.ts";
import { STEPS } from "../../scripts/steps.ts";
import { fixtureFleet } from "./cluster_fixture.ts";

export interface Rendered {
  cluster: Cluster;
  step: string;
  objects: Manifest[];
}

/** One entry per cluster and step that has objects. */
export async function renderedFleet(environment: Record<string, string> = {}): Promise<Rendered[]> {
  const fleet = await fixtureFleet(environment);
  const entries = await Promise.all(
    fleet.flatMap((cluster) =>
      STEPS.map(async (step) => ({
        cluster,
        step: step.name,
        objects: step.skips?.(cluster) ? [] : signed(await step.objects(cluster), step.name),
      }))
    ),
  );
  return entries.filter(({ objects }) => objects.length > 0);
}

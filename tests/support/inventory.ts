// Applies and plans on a cluster that a test has not connected to: each looks anew at the kinds of its objects.
import { apply } from "../../lib/apply/apply.ts";
import { Inventory, type Powers } from "../../lib/apply/inventory.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { configMap, kindsOf, type Manifest } from "../../lib/core/object.ts";
import { plan, type Planned } from "../../lib/deploy/plan.ts";
import type { Change } from "../../lib/io/report.ts";
import { KEPT } from "../../lib/kube/target.ts";

/** An inventory that looks at the kinds of these objects. */
export function inventoryOf(cluster: Cluster, objects: Manifest[], powers?: Powers): Inventory {
  const kinds = kindsOf(objects).join("\n");
  return new Inventory({ cluster, kept: configMap(KEPT, "kube-system", { kinds }) }, powers);
}

/** An apply of a run that has just begun. */
export function applyTo(
  cluster: Cluster,
  objects: Manifest[],
  powers?: Powers,
): Promise<Change[]> {
  return apply(inventoryOf(cluster, objects, powers), objects);
}

/** A plan of its own. */
export function planOf(
  cluster: Cluster,
  objects: Manifest[],
  steps?: { name: string }[],
): Promise<Planned[]> {
  return plan(inventoryOf(cluster, objects), objects, steps);
}

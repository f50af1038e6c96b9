// Labels of the objects of Thanos that are built in code.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { labelsOf } from "../../../lib/core/object.ts";

/** Labels of an object of `name`, with the version of Thanos' image. */
export function thanosLabels(
  cluster: Cluster,
  name: string,
  component: string,
): Record<string, string> {
  return labelsOf({ name, component, partOf: "metrics", version: text(cluster, "THANOS_VERSION") });
}

// Labels of the objects of Thanos that are built in code.
import { labelsOf } from "../../lib/manifest.ts";

/** Labels of an object of `name`, with the version of Thanos' image. */
export function thanosLabels(name: string, component: string): Record<string, string> {
  return labelsOf({ name, component, partOf: "metrics", version: "v0.42.4" });
}

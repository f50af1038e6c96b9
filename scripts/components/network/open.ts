// What the programs leave open to whoever reaches it, by the cluster's settings (manifests/doors.yaml).
import { type Cluster, isCase } from "../../../lib/core/cluster.ts";
import type { OpenDoor } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";

/** A row of the table. */
interface Row extends OpenDoor {
  step: string;
  when?: Record<string, string>;
}

/** Gives the doors of a step that a cluster leaves open. */
export function opensOf(step: string): (cluster: Cluster) => OpenDoor[] {
  return (cluster) => {
    const { doors }: { doors: Row[] } = renderFile("doors.yaml", cluster).spec;
    return doors.filter((door) => door.step === step && isCase(cluster.vars, door.when));
  };
}

// What the suite and its drills may touch: the laboratory, or a site that was named on the command line.
// A site that people rely on may have the laboratory's very addresses, so it is asked before a packet is sent.
import { statSync } from "node:fs";
import process from "node:process";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";

/** The mark of a cluster of the laboratory. */
const MARK = ["configmap", "laboratory", "--namespace", "kube-system"];

/** Whether this process is in the network namespace of the laboratory's operator. */
export function atSeat({ LAB_SEAT: seat } = process.env): boolean {
  const network = (path: string) => statSync(path, { throwIfNoEntry: false })?.ino;
  return seat !== undefined && network(seat) === network("/proc/self/ns/net");
}

/**
 * Throws exit 4 unless these clusters may be broken: at the laboratory's seat, each with its mark; or of
 * the region that was typed as SITE.
 */
export async function guard(fleet: Cluster[], environment = process.env): Promise<void> {
  const site = environment.SITE;
  if (site !== undefined) {
    const other = fleet.find((cluster) => text(cluster, "REGION") !== site);
    if (other) refuse(`SITE=${site}, and ${other.id} is of the region ${text(other, "REGION")}`);
  } else if (!atSeat(environment)) refuse("this is not the laboratory");
  else {
    for (const cluster of fleet) {
      const name = await kubectl(["get", ...MARK, "--ignore-not-found", "--output=name"], {
        cluster,
      });
      if (!name.trim()) refuse(`${cluster.id} does not carry the laboratory's mark: no ${MARK[1]}`);
    }
  }
}

function refuse(why: string): never {
  throw new DeployError("Refused: what this would break may be a site that people rely on", {
    exitCode: ExitCode.refused,
    where: why,
    fix: "`make lab`, then `make e2e`; another site: its REGION typed behind make, SITE=…",
  });
}

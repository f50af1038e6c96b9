// From one version of Longhorn to the next: its data has a format that only goes forward, minor by minor.
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import type { Manifest } from "../../../lib/core/object.ts";

const MANAGER = ["daemonset", "longhorn-manager", "--namespace", "longhorn-system"];

/**
 * Refuses (exit 4) a bundle that the cluster's Longhorn cannot be upgraded to. Gives a note for the
 * operator when the version changes; undefined when it does not, or nothing is there yet.
 */
export async function checkUpgrade(
  cluster: Cluster,
  objects: Manifest[],
): Promise<string | undefined> {
  const answer = await kubectl(["get", ...MANAGER, "--ignore-not-found", "--output", "json"], {
    cluster,
  });
  const wanted = versionOf(
    objects.find(({ kind, metadata }) =>
      kind === "DaemonSet" && metadata.name === "longhorn-manager"
    ),
  );
  const live = answer.trim() ? versionOf(JSON.parse(answer)) : undefined;
  if (!live || !wanted || live === wanted) return undefined;
  const why = obstacle(live, wanted);
  if (!why) {
    return `Longhorn goes from ${live} to ${wanted}; attached volumes keep their old engine until ` +
      "they are upgraded (docs/longhorn.md#upgrade-longhorn)";
  }
  throw new DeployError(`Refused: Longhorn cannot go from ${live} to ${wanted}`, {
    exitCode: ExitCode.refused,
    where: `${why}; the cluster is ${cluster.id}`,
    fix: "pin the next minor in manifests/upstream.lock.json, deploy, and go on from there",
  });
}

/** Why Longhorn does not go from one version to the other; undefined when it does. */
export function obstacle(live: string, wanted: string): string | undefined {
  const [from, to] = [live, wanted].map((text) => /^v?(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1));
  if (!from || !to) return undefined;
  const [major, minor, patch] = to.map((part, index) => Number(part) - Number(from[index]));
  if (major! < 0 || (major === 0 && (minor! < 0 || (minor === 0 && patch! < 0)))) {
    return "it cannot go back: volumes and objects are of the newer format";
  }
  if (major! > 0 || minor! > 1) return "it goes up by one minor version at a time";
}

function versionOf(manager: Manifest | undefined): string | undefined {
  const image: string = manager?.spec.template.spec.containers[0].image ?? "";
  return /:([^:@/]+)(@|$)/.exec(image)?.[1];
}

// Which version of each program runs. It is said in one place: manifests/versions.json, the lock of the
// upstream bundle that the program comes in, or the setting of its image.
import lock from "../../manifests/upstream.lock.json" with { type: "json" };
import versions from "../../manifests/versions.json" with { type: "json" };
import type { Vars } from "../core/cluster.ts";

/** Names for manifests and code, and who gave each. */
export interface Versions {
  vars: Record<string, string>;
  sources: Record<string, string>;
}

/**
 * `X_VERSION` of every program, the tag of its image, on a cluster with these settings. `X_SEMVER` is the
 * same without the v, for what reads it as a number.
 */
export function versionsOf(settings: Vars, sources: Record<string, string>): Versions {
  const all: Versions = { vars: {}, sources: {} };
  function add(name: string, version: string, source: string): void {
    all.vars[name] = version;
    all.sources[name] = source;
  }
  for (const [name, version] of Object.entries(versions)) {
    add(name, version, "manifests/versions.json");
    add(name.replace(/VERSION$/, "SEMVER"), version.replace(/^v/, ""), "manifests/versions.json");
  }
  for (const { name, version } of lock.bundles) {
    const program = name.toUpperCase().replaceAll("-", "_");
    add(`${program}_VERSION`, version, "manifests/upstream.lock.json");
  }
  for (const [name, image] of Object.entries(settings)) {
    if (!name.endsWith("_IMAGE")) continue;
    add(name.replace(/IMAGE$/, "VERSION"), tagOf(String(image)), sources[name]!);
  }
  return all;
}

/** The tag of an image, which may have a digest behind it. */
function tagOf(image: string): string {
  return /:([\w.-]+)(@|$)/.exec(image)![1]!;
}

// Which version of each program runs. It is said in one place: manifests/versions.json, the lock of the
// upstream bundle that the program comes in, or the setting of its image.
import lock from "../../manifests/upstream.lock.json" with { type: "json" };
import versions from "../../manifests/versions.json" with { type: "json" };
import type { Vars } from "../core/cluster.ts";

/** A name for manifests and code, its value, and who gave it. */
export type Fact = [name: string, value: string | number | boolean, source: string];

/**
 * `X_VERSION` of every program, the tag of its image, on a cluster with these settings. `X_SEMVER` is the
 * same without the v, for what reads it as a number.
 */
export function versionsOf(settings: Vars, sources: Record<string, string>): Fact[] {
  const pinned = Object.entries(versions).flatMap(([name, version]): Fact[] => [
    [name, version, "manifests/versions.json"],
    [name.replace(/VERSION$/, "SEMVER"), version.replace(/^v/, ""), "manifests/versions.json"],
  ]);
  const bundled = lock.bundles.map(({ name, version }): Fact => {
    const program = name.toUpperCase().replaceAll("-", "_");
    return [`${program}_VERSION`, version, "manifests/upstream.lock.json"];
  });
  const images = Object.keys(settings).filter((name) => name.endsWith("_IMAGE"));
  return [
    ...pinned,
    ...bundled,
    ...images.map((name): Fact => {
      // There may be a digest behind the tag.
      const tag = /:([\w.-]+)(@|$)/.exec(String(settings[name]))![1]!;
      return [name.replace(/IMAGE$/, "VERSION"), tag, sources[name]!];
    }),
  ];
}

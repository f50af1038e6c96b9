// Pods restart when what they read has changed: a checksum of it stands on their template.
import { createHash } from "node:crypto";
import { sealedHash } from "./hash.ts";
import { idOf, type Manifest, RELOAD_ANNOTATION, walk, withValue } from "./object.ts";

const CHECKSUM_ANNOTATION = "deploy.miribit.lab/config-checksum";

/**
 * Puts a checksum of the ConfigMaps and Secrets that a workload mounts or reads on its pod
 * template, so that a changed configuration restarts it. Objects annotated
 * `deploy.miribit.lab/reload: live` are left out.
 */
export function withChecksums(objects: Manifest[]): Manifest[] {
  const sources = new Map(
    objects
      .filter(({ kind }) => kind === "ConfigMap" || kind === "Secret")
      .filter(({ metadata }) => metadata.annotations?.[RELOAD_ANNOTATION] !== "live")
      .map((object) => [idOf(object), object]),
  );
  return objects.map((object) => {
    const used = references(object).flatMap((id) => sources.get(id) ?? []).map(contentOf);
    if (used.length === 0) return object;
    const metadata = object.kind === "Prometheus" || object.kind === "Alertmanager"
      ? ["podMetadata"]
      : ["template", "metadata"];
    const path = ["spec", ...metadata, "annotations", CHECKSUM_ANNOTATION];
    const hash = createHash("sha256").update(used.sort().join("\n")).digest("hex");
    return withValue(object, path, hash.slice(0, 16));
  });
}

/** What tells one version of a ConfigMap or Secret from another, and nothing of what is secret. */
function contentOf(object: Manifest): string {
  const content = JSON.stringify([object.data, object.stringData]);
  return object.kind === "Secret" ? sealedHash(content, idOf(object)) : content;
}

const WORKLOADS = new Set(["Deployment", "StatefulSet", "DaemonSet", "Prometheus", "Alertmanager"]);

/** Ids of the ConfigMaps and Secrets that a workload's pods refer to, anywhere in their spec. */
function references(object: Manifest): string[] {
  if (!WORKLOADS.has(object.kind)) return [];
  const found = new Set<string>();
  const namespace = object.metadata.namespace;
  walk(object.spec, (value, key) => {
    if (typeof value !== "object" || value === null) return;
    // deno-lint-ignore no-explicit-any
    const { name, secretName } = value as any;
    if (/^configMap/.test(key) && name) found.add(`ConfigMap/${namespace}/${name}`);
    if (/^secret/.test(key) && (name ?? secretName)) {
      found.add(`Secret/${namespace}/${name ?? secretName}`);
    }
  });
  return [...found];
}

// Pods restart when what they read has changed: a checksum of it stands on their template.
import { createHash } from "node:crypto";
import { sealedHash } from "./hash.ts";
import { idOf, isCustom, type Manifest, RELOAD_ANNOTATION, walk, withValue } from "./object.ts";

const CHECKSUM_ANNOTATION = "deploy.miribit.lab/config-checksum";

/** Marks pod templates with a checksum of the ConfigMaps and Secrets that they read, but for those that reload live. */
export function withChecksums(objects: Manifest[]): Manifest[] {
  const read = objects.filter(({ kind, metadata: { annotations } }) =>
    (kind === "ConfigMap" || kind === "Secret") && annotations?.[RELOAD_ANNOTATION] !== "live"
  );
  const sources = new Map(read.map((object) => [idOf(object), object]));
  return objects.map((object) => {
    const used = references(object).flatMap((id) => sources.get(id) ?? []).map(contentOf);
    if (used.length === 0) return object;
    const template = isCustom(object) ? ["podMetadata"] : ["template", "metadata"];
    const path = ["spec", ...template, "annotations", CHECKSUM_ANNOTATION];
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
  const found = new Set<string>(), { namespace } = object.metadata;
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

// The upstream bundle of Longhorn, changed for one cluster. Every change must find its object.
import { parse } from "yaml";
import { type Cluster, flag, number, text } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { idOf, type Manifest, withValue } from "../../../lib/core/object.ts";
import { nearest } from "../../../lib/core/nearest.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { longhornKey } from "./objects.ts";

/** Changes a copy of the object; undefined leaves the object out. */
type Change = (object: Manifest) => Manifest | undefined;

/**
 * The bundle for one cluster, its volumes with so many replicas; an empty bundle (one that could not
 * be had) stays empty. Throws exit 2 naming every object or field that upstream no longer has.
 */
export function patchLonghorn(
  objects: Manifest[],
  cluster: Cluster,
  replicas: number,
): Manifest[] {
  if (objects.length === 0) return [];
  const changes: Record<string, Change> = {
    // Ours has the Pod Security labels (manifests/longhorn/base/namespace.yaml).
    "Namespace/longhorn-system": () => undefined,
    "Service/longhorn-system/longhorn-frontend": withoutNodePort,
    "Deployment/longhorn-system/longhorn-ui": (ui) => withValue(ui, ["spec", "replicas"], 1),
    "Deployment/longhorn-system/longhorn-driver-deployer": smallDriver,
    "ConfigMap/longhorn-system/longhorn-default-setting": (object) =>
      withText(object, (values) => ({ ...values, ...settings(cluster, replicas) })),
    "ConfigMap/longhorn-system/longhorn-default-resource": (object) =>
      withText(object, () => wantedTarget(cluster)),
    "ConfigMap/longhorn-system/longhorn-storageclass": (object) =>
      withText(object, (values) => storageClass(values, replicas)),
  };
  const ids = objects.map(idOf);
  const unmatched = Object.keys(changes).filter((id) => !ids.includes(id));
  if (unmatched.length > 0) throw mismatch(unmatched.map((id) => near(id, ids)));
  // Without NETWORK_POLICIES all traffic is allowed. Where a CNI enforces them upstream's would cut Prometheus off from
  // port 9500, silently (longhorn#13740), and the host from iSCSI on 3260 (longhorn#13802).
  const fenced = flag(cluster, "NETWORK_POLICIES");
  return objects.filter(({ kind }) => fenced || kind !== "NetworkPolicy").flatMap((object) => {
    const change = changes[idOf(object)];
    return change ? change(structuredClone(object)) ?? [] : object;
  });
}

function withoutNodePort(service: Manifest): Manifest {
  // An explicit null, which server-side apply may take for a wish.
  const port = found(service, "port", service.spec.ports, "http");
  delete port.nodePort;
  return service;
}

function smallDriver(deployment: Manifest): Manifest {
  const name = "longhorn-driver-deployer";
  const containers = deployment.spec.template.spec.containers;
  const { env } = found(deployment, "container", containers, name);
  // Three replicas of each sidecar on one node protect from nothing.
  for (const sidecar of ["ATTACHER", "PROVISIONER", "RESIZER", "SNAPSHOTTER"]) {
    found(deployment, "variable", env, `CSI_${sidecar}_IMAGE`);
    env.push({ name: `CSI_${sidecar}_REPLICA_COUNT`, value: "1" });
  }
  // Said, it need not be looked for by a privileged probe pod.
  env.push({ name: "KUBELET_ROOT_DIR", value: "/var/lib/kubelet" });
  return deployment;
}

function settings(cluster: Cluster, replicas: number): Record<string, string> {
  const ENGINE_CPU = perEngine(number(cluster, "LONGHORN_ENGINE_CPU"));
  return renderFile("longhorn/settings.yaml", cluster, {
    REPLICAS: perEngine(replicas),
    ENGINE_CPU,
  }).data;
}

/** The form in which Longhorn stores a setting of each data engine; plain values are rewritten. */
function perEngine(value: number): string {
  return JSON.stringify({ v1: String(value), v2: String(value) });
}

/** Where backups go, by the names of Longhorn's settings. */
export function wantedTarget(cluster: Cluster) {
  const bucket = `${text(cluster, "LONGHORN_BUCKET")}@${text(cluster, "S3_REGION")}`;
  return {
    // A path of its own: clusters on one URL list and delete each other's backups (longhorn#6856).
    "backup-target": `s3://${bucket}/${text(cluster, "S3_BASE_PATH")}/`,
    "backup-target-credential-secret": longhornKey.name,
    "backupstore-poll-interval": "300",
  };
}

function storageClass(upstream: Manifest, replicas: number): Manifest {
  if (upstream.metadata?.name !== "longhorn" || !upstream.parameters?.numberOfReplicas) {
    throw mismatch(["storageclass.yaml: no class longhorn with the parameter numberOfReplicas"]);
  }
  const mark = "storageclass.kubernetes.io/is-default-class";
  const marked = withValue(upstream, ["metadata", "annotations", mark], "true");
  return withValue(marked, ["parameters", "numberOfReplicas"], String(replicas));
}

/** Changes the file in the ConfigMap `longhorn-x`, which is called `x.yaml`. */
// deno-lint-ignore no-explicit-any
function withText(configMap: Manifest, change: (values: any) => unknown): Manifest {
  const key = `${configMap.metadata.name.replace("longhorn-", "")}.yaml`;
  if (configMap.data?.[key] === undefined) throw mismatch([`${idOf(configMap)}: no key ${key}`]);
  const values = change(parse(configMap.data[key]) ?? {});
  // Bare true and numbers are no texts to Longhorn, and a text it cannot read stops its manager.
  const format = { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" } as const;
  return withValue(configMap, ["data", key], toYaml(values, { ...format, lineWidth: 0 }));
}

/** The entry (`what`: port, container) of a list with this name; a list without it is an upstream change. */
// deno-lint-ignore no-explicit-any
function found(object: Manifest, what: string, list: any[] = [], name: string): any {
  const entry = list.find((entry) => entry.name === name);
  if (!entry) throw mismatch([`${idOf(object)}: no ${what} ${name}`]);
  return entry;
}

function near(id: string, ids: string[]): string {
  const name = nearest(id, ids);
  return `${id}: no such object${name ? `; did you mean ${name}?` : ""}`;
}

function mismatch(where: string[]): DeployError {
  return new DeployError("Cannot patch the bundle longhorn: upstream has changed", {
    exitCode: ExitCode.config,
    where,
    fix:
      "fit scripts/components/longhorn/patch.ts to the pinned version of manifests/upstream.lock.json",
  });
}

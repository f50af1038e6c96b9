// Objects of Longhorn: the upstream bundle, changed for one cluster, and what is built in code beside it.
import { parse } from "yaml";
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { configError, type DeployError } from "../../../lib/core/error.ts";
import { idOf, labelsOf, type Manifest, secret, withValue } from "../../../lib/core/object.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { keyOf } from "../../../lib/s3/client.ts";

/** Where Longhorn lives, with all objects of its own. */
export const LONGHORN_NAMESPACE = "longhorn-system";

/** Where the manager finds the key of its bucket. */
export const longhornKey: S3KeyHolder = {
  program: "LONGHORN",
  keeps: "volumes",
  namespace: LONGHORN_NAMESPACE,
  name: "longhorn-s3-secret",
  read: (values) => ({
    accessKey: values.AWS_ACCESS_KEY_ID,
    secretKey: values.AWS_SECRET_ACCESS_KEY,
  }),
};

/** Access to the backup bucket, without which the manager does not start; the password of the UI; policies. */
export function longhornObjects(cluster: Cluster): Manifest[] {
  const { accessKey, secretKey } = keyOf(cluster, longhornKey.program);
  const access = {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_ENDPOINTS: text(cluster, "S3_ENDPOINT"),
    VIRTUAL_HOSTED_STYLE: "false",
    // Longhorn refuses a value that ends with a newline, as every PEM file does.
    ...(cluster.s3Ca ? { AWS_CERT: cluster.s3Ca.trim() } : {}),
  };
  const login = { auth: text(cluster, "UI_BASIC_AUTH") }; // the ingress wants this key
  const version = text(cluster, "LONGHORN_VERSION");
  const about = { name: "longhorn", partOf: "storage", version };
  const [backup, ui] = ["backup", "ui"].map((component) => labelsOf({ ...about, component }));
  return [
    secret(longhornKey.name, LONGHORN_NAMESPACE, access, { labels: backup }),
    secret("longhorn-basic-auth", LONGHORN_NAMESPACE, login, { labels: ui }),
    ...longhornPolicies(cluster),
  ];
}

/** Additions to the policies of the bundle of 1.12.1, which stay then; none without NETWORK_POLICIES. */
export function longhornPolicies(cluster: Cluster): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const nodes = cluster.nodes.map((cidr) => ({ ipBlock: { cidr } }));
  const iscsi = renderFile("longhorn/allow-iscsi.yaml", cluster);
  return [
    renderFile("longhorn/allow-prometheus.yaml", cluster),
    withValue(iscsi, ["spec", "ingress", 0, "from"], nodes),
  ];
}

/** The bundle for one cluster. Throws exit 2 naming the objects that are changed and upstream no longer has. */
export function patchLonghorn(objects: Manifest[], cluster: Cluster, replicas: number): Manifest[] {
  if (objects.length === 0) return [];
  const settings = renderFile("longhorn/settings.yaml", cluster, { REPLICAS: replicas });
  const changes: Record<string, (object: Manifest) => Manifest> = {
    "Service/longhorn-system/longhorn-frontend": withoutNodePorts,
    "Deployment/longhorn-system/longhorn-ui": (ui) => withValue(ui, ["spec", "replicas"], 1),
    "Deployment/longhorn-system/longhorn-driver-deployer": smallDriver,
    "ConfigMap/longhorn-system/longhorn-default-setting": inText((upstream) => (
      { ...upstream, ...settings.data }
    )),
    "ConfigMap/longhorn-system/longhorn-default-resource": inText(() => wantedTarget(cluster)),
    "ConfigMap/longhorn-system/longhorn-storageclass": inText((upstream) =>
      withValue(upstream, ["parameters", "numberOfReplicas"], String(replicas))
    ),
  };
  const gone = Object.keys(changes).filter((id) => !objects.some((object) => idOf(object) === id));
  if (gone.length > 0) throw mismatch(gone.map((id) => `${id}: no such object`));
  // Alone upstream's would cut Prometheus off from port 9500 (longhorn#13740), and the host from iSCSI (longhorn#13802).
  const fenced = flag(cluster, "NETWORK_POLICIES");
  // Our namespace has the Pod Security labels (manifests/longhorn/base/namespace.yaml).
  return objects.filter(({ kind }) => kind !== "Namespace" && (fenced || kind !== "NetworkPolicy"))
    .map((object) => changes[idOf(object)]?.(object) ?? object);
}

// They are an explicit null, which server-side apply may take for a wish.
function withoutNodePorts(service: Manifest): Manifest {
  const ports: { nodePort: null }[] = service.spec.ports;
  return withValue(service, ["spec", "ports"], ports.map(({ nodePort: _, ...port }) => port));
}

function smallDriver(deployment: Manifest): Manifest {
  const { containers } = deployment.spec.template.spec, name = "longhorn-driver-deployer";
  const at = containers.findIndex((one: { name: string }) => one.name === name);
  if (!containers[at]?.env) throw mismatch([`${idOf(deployment)}: no variables of ${name}`]);
  return withValue(deployment, ["spec", "template", "spec", "containers", at, "env"], [
    ...containers[at].env,
    // Three replicas of each sidecar on one node protect from nothing.
    ...["ATTACHER", "PROVISIONER", "RESIZER", "SNAPSHOTTER"]
      .map((sidecar) => ({ name: `CSI_${sidecar}_REPLICA_COUNT`, value: "1" })),
    // Said, it need not be looked for by a privileged probe pod.
    { name: "KUBELET_ROOT_DIR", value: "/var/lib/kubelet" },
  ]);
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

// What is in the one file of a ConfigMap: `x.yaml` of `longhorn-x`.
// deno-lint-ignore no-explicit-any
function inText(change: (upstream: any) => unknown): (configMap: Manifest) => Manifest {
  // Bare true and numbers are no texts to Longhorn, and a text it cannot read stops its manager.
  const format = { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" } as const;
  return (configMap) => {
    const key = `${configMap.metadata.name.replace("longhorn-", "")}.yaml`;
    const text = configMap.data?.[key];
    if (text === undefined) throw mismatch([`${idOf(configMap)}: no key ${key}`]);
    const changed = toYaml(change(parse(text) ?? {}), { ...format, lineWidth: 0 });
    return withValue(configMap, ["data", key], changed);
  };
}

function mismatch(where: string[]): DeployError {
  const fix =
    "fit scripts/components/longhorn/objects.ts to the version in manifests/upstream.lock.json";
  const what = "Cannot patch the bundle longhorn: upstream has changed";
  return configError(what, { where, fix });
}

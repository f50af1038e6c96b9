// Objects of Longhorn that are built in code: Secrets, and what its own NetworkPolicies of 1.12.1 forget.
import { type Cluster, flag, text } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest, secret, withValue } from "../../../lib/core/object.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { renderFile } from "../../../lib/render/render.ts";
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

/** Access to the backup bucket, without which the manager does not start; the password of the UI. */
export function longhornSecrets(cluster: Cluster): Manifest[] {
  const { accessKey, secretKey } = keyOf(cluster, longhornKey.program);
  const access = {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_ENDPOINTS: text(cluster, "S3_ENDPOINT"),
    VIRTUAL_HOSTED_STYLE: "false",
    ...(cluster.s3Ca ? { AWS_CERT: cluster.s3Ca } : {}),
  };
  // Longhorn refuses a value that ends with a newline, as every PEM file does.
  const trimmed = Object.entries(access).map(([key, value]) => [key, value.trim()]);
  const login = { auth: text(cluster, "UI_BASIC_AUTH") }; // the ingress wants this key
  const version = text(cluster, "LONGHORN_VERSION");
  const [backup, ui] = ["backup", "ui"].map((component) => (
    { labels: labelsOf({ name: "longhorn", component, partOf: "storage", version }) }
  ));
  return [
    secret(longhornKey.name, LONGHORN_NAMESPACE, Object.fromEntries(trimmed), backup),
    secret("longhorn-basic-auth", LONGHORN_NAMESPACE, login, ui),
  ];
}

/** Additions to the policies of the bundle, which stay then; none without NETWORK_POLICIES. */
export function longhornPolicies(cluster: Cluster): Manifest[] {
  if (!flag(cluster, "NETWORK_POLICIES")) return [];
  const nodes = cluster.nodes.map((cidr) => ({ ipBlock: { cidr } }));
  const iscsi = renderFile("longhorn/allow-iscsi.yaml", cluster);
  return [
    renderFile("longhorn/allow-prometheus.yaml", cluster),
    withValue(iscsi, ["spec", "ingress", 0, "from"], nodes),
  ];
}

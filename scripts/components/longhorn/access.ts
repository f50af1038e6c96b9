// Secrets of Longhorn: access to the bucket of backups, and the password of the UI.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { labelsOf, type Manifest, secret } from "../../../lib/core/object.ts";
import type { S3KeyHolder } from "../../../lib/deploy/step.ts";
import { keyOf } from "../../../lib/s3/client.ts";

const NAMESPACE = "longhorn-system";

/** Where the manager finds the key of its bucket. */
export const longhornKey: S3KeyHolder = {
  program: "LONGHORN",
  keeps: "volumes",
  namespace: NAMESPACE,
  name: "longhorn-s3-secret",
  read: (values) => ({
    accessKey: values.AWS_ACCESS_KEY_ID,
    secretKey: values.AWS_SECRET_ACCESS_KEY,
  }),
};

/** Access to the backup bucket. It must be right before the manager starts, or it does not start. */
export function backupSecret(cluster: Cluster): Manifest {
  const { accessKey, secretKey } = keyOf(cluster, longhornKey.program);
  const values = {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_ENDPOINTS: text(cluster, "S3_ENDPOINT"),
    VIRTUAL_HOSTED_STYLE: "false",
    ...(cluster.s3Ca ? { AWS_CERT: cluster.s3Ca } : {}),
  };
  // Longhorn refuses a value that ends with a newline, as every PEM file does.
  const trimmed = Object.entries(values).map(([key, value]) => [key, value.trim()]);
  return secret(longhornKey.name, NAMESPACE, Object.fromEntries(trimmed), {
    labels: labels(cluster, "backup"),
  });
}

/** The password of the UI; the ingress wants the key `auth`. */
export function loginSecret(cluster: Cluster): Manifest {
  return secret(
    "longhorn-basic-auth",
    NAMESPACE,
    { auth: text(cluster, "UI_BASIC_AUTH") },
    {
      labels: labels(cluster, "ui"),
    },
  );
}

function labels(cluster: Cluster, component: string): Record<string, string> {
  const version = text(cluster, "LONGHORN_VERSION");
  return labelsOf({ name: "longhorn", component, partOf: "storage", version });
}

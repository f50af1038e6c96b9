// A bucket as Thanos is told of it.
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import type { S3Key } from "../../../lib/s3/client.ts";

/** The file for `--objstore.config-file`, with the key; `caFile`: where a private CA lies, `prefix`: a `folder/`. */
export function objstoreConfig(
  cluster: Cluster,
  bucket: string,
  { accessKey, secretKey }: S3Key,
  { caFile, prefix }: { caFile: string; prefix?: string },
): string {
  const config = {
    type: "S3",
    config: {
      bucket,
      endpoint: text(cluster, "S3_HOST"),
      region: text(cluster, "S3_REGION"),
      access_key: accessKey,
      secret_key: secretKey,
      insecure: false, // plain HTTP, that is; certificates are always checked
      bucket_lookup_type: "path",
      ...(cluster.s3Ca ? { http_config: { tls_config: { ca_file: caFile } } } : {}),
    },
    ...prefix ? { prefix } : {},
  };
  return toYaml(config);
}

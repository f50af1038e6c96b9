// A bucket as Thanos is told of it.
import { stringify } from "yaml";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import type { S3Key } from "../../../lib/s3/client.ts";

export interface ObjstoreOptions {
  /** Where the certificates lie that the program shall trust; used when the site has a private CA. */
  caFile: string;
}

/** The file for `--objstore.config-file`; it holds the key. */
export function objstoreConfig(
  cluster: Cluster,
  bucket: string,
  { accessKey, secretKey }: S3Key,
  { caFile }: ObjstoreOptions,
): string {
  return stringify({
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
  });
}

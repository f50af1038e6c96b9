// A bucket as Thanos is told of it.
import { stringify } from "yaml";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import type { S3Key } from "../../../lib/s3/client.ts";

/**
 * The file for `--objstore.config-file`; it holds the key. `caFile`: where the certificates lie that the program shall
 * trust, when the site has a private CA; `prefix`: a `folder/` of the bucket, in place of all.
 */
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
  const quoted = { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" } as const;
  return stringify(config, Object.values(config.config).some(readsOtherwise) ? quoted : {});
}

/** A text that Thanos' reader (YAML 1.1, twice) would give back as another: 0b10 as 2, 1_000 as 1000, yes as true. */
function readsOtherwise(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const digits = value.replaceAll("_", "").replace(/^[-+]/, "");
  return digits !== "" && !Number.isNaN(Number(digits)) || /^(y|yes|n|no|on|off)$/i.test(value);
}
